// A sound of any format: it is refused, or finite samples within the limit, of which mel features
// can be made.
#include <cmath>
#include <span>

#include "base/error.h"
#include "fuzz/fuzz.h"
#include "media/mel.h"
#include "media/sound_file.h"

namespace culet::fuzz {

void FuzzOne(std::string_view input) {
  MediaLimits limits;
  limits.audio_seconds = 5.0;
  try {
    MediaSource source = MediaSource::Of(std::as_bytes(std::span(input)), "sound");
    const Sound sound = LoadSound(source, limits);
    Require(sound.channels >= 1 && sound.source_rate >= 1, "a sound has channels and a rate");
    const auto samples = static_cast<std::int64_t>(sound.samples.size());
    // A resampler rounds up, and a frame may stand across the limit.
    Require(samples <= static_cast<std::int64_t>(limits.audio_seconds + 1.0) * kSampleRate,
            "the limit holds");
    for (const float sample : sound.samples) Require(std::isfinite(sample), "samples are numbers");
    if (MelFrames(samples) == 0) return;
    const MelFeatures mel = Mel(sound.samples, "sound");
    Require(mel.values.size() == static_cast<std::size_t>(mel.frames * kMelBins),
            "as many features as frames");
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
