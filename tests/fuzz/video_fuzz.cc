// A clip of any format: it is refused, or frames of one size in the order of their times, with
// finite sound.
#include <cmath>
#include <span>

#include "base/error.h"
#include "fuzz/fuzz.h"
#include "media/video_file.h"
#include "media/video_frames.h"

namespace culet::fuzz {

void FuzzOne(std::string_view input) {
  MediaLimits limits;
  limits.audio_seconds = 5.0;
  limits.video_frames = 500;
  limits.frame_pixels = 1 << 16;
  VideoSettings settings;
  const unsigned choice = TakeByte(&input);
  settings.num_frames = 1 + choice % 7;
  if (choice >= 128) {
    settings.num_frames.reset();
    settings.fps = 1.0 + choice % 7;
  }
  limits.shown_frames = 16;
  try {
    MediaSource source = MediaSource::Of(std::as_bytes(std::span(input)), "video");
    const Clip clip = LoadClip(source, settings, /*with_sound=*/true, limits);
    Require(!clip.frames.empty(), "a clip has frames");
    Require(std::isfinite(clip.seconds) && clip.seconds >= 0.0, "it has a length");
    const ClipFrame* before = nullptr;
    for (const ClipFrame& frame : clip.frames) {
      Require(frame.index >= 0 && frame.index < clip.total_frames, "frames are of the clip");
      Require(std::isfinite(frame.seconds), "frames have times");
      Require(frame.image.size == clip.frames.front().image.size, "frames are of one size");
      Require(frame.image.size.height % 48 == 0 && frame.image.size.width % 48 == 0,
              "frames are of whole tokens");
      Require(
          before == nullptr || (frame.index > before->index && frame.seconds >= before->seconds),
          "frames are in order");
      Require(!TimestampText(frame.seconds).empty(), "times can be written");
      before = &frame;
    }
    if (clip.sound) {
      for (const float sample : clip.sound->samples) {
        Require(std::isfinite(sample), "samples are numbers");
      }
    }
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
