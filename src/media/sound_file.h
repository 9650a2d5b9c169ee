// A sound in a file or in memory, or the sound track of a clip → samples.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "media/limits.h"
#include "media/source.h"

namespace culet {

struct Sound {
  std::vector<float> samples;    // mono, 16 kHz, nominally in −1 … 1
  std::int64_t source_rate = 0;  // of the file, in hertz
  std::int64_t channels = 0;     // of the file; the samples are their mean
};

// WAV, MP3, FLAC, Ogg (Vorbis, Opus, FLAC), M4A, AAC, AIFF and the first sound track of MP4, WebM,
// Matroska and AVI files, by content, whatever the name. Channels are mixed by their mean, then the
// rate is changed by libsoxr's high quality where libswresample has it (as on Debian and Ubuntu).
//
// Throws Error naming the source: kNotFound, kIo, kCorrupt (empty, cut off, damaged, samples that
// are no numbers), kUnsupported (no sound, another format or codec), kResource (beyond `limits`).
// Any thread.
Sound LoadSound(MediaSource& source, const MediaLimits& limits = {});

// The sound track of a clip; nothing where it has none. `start_s`: the time of the clip's first
// frame, which the first sample is made to stand at.
std::optional<Sound> LoadSoundTrack(MediaSource& source, double start_s,
                                    const MediaLimits& limits = {});

}  // namespace culet
