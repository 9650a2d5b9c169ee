// A clip in a file or in memory → the frames that a model is shown, and its sound.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "media/image.h"
#include "media/limits.h"
#include "media/processor_config.h"
#include "media/sound_file.h"
#include "media/source.h"

namespace culet {

struct ClipFrame {
  std::int64_t index = 0;  // in the clip, in the order of being shown
  double seconds = 0.0;    // from the first frame on; TimestampText writes it
  RgbImage image;          // resized to the settings' budget: CutPatches takes it. All of one size
};

struct Clip {
  std::vector<ClipFrame> frames;
  std::int64_t total_frames = 0;
  double seconds = 0.0;        // until the last frame goes
  std::optional<double> rate;  // frames a second; nothing where it varies
  std::optional<Sound> sound;  // where asked for and there
};

// MP4, QuickTime, WebM, Matroska, AVI and Ogg with H.264, HEVC, VP8, VP9, AV1, MPEG-4 and some
// older codecs, by content. Frames are chosen as `settings` say (media/video_frames.h): by index as
// the reference does where the rate is constant, else by time. The file is read twice: for the
// times of all frames, without decoding, then by seeking to the chosen ones; one frame at a time is
// in memory in full size. Turned as the file's rotation says.
//
// `with_sound`: also its first sound track, from the first frame on, with silence where it begins
// later. Throws Error naming the source, as LoadSound does. Any thread.
Clip LoadClip(MediaSource& source, const VideoSettings& settings, bool with_sound,
              const MediaLimits& limits = {});

}  // namespace culet
