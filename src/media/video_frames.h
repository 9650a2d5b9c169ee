// Which frames of a clip are shown to the model, and what time is written before each.
// Source: transformers, default_sample_indices_fn and Gemma4Processor.replace_video_token.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace culet {

// Indices ⌊i·total / wanted⌋ of a clip of `total` frames; all of them where no more are there (the
// reference refuses such a clip). Both at least 1.
std::vector<std::int64_t> ChooseFrames(std::int64_t total, std::int64_t wanted);

// Frames wanted at `rate` a second of a clip of `total` frames at `clip_rate`: at least 1.
std::int64_t FramesAtRate(std::int64_t total, double clip_rate, double rate);

// The rate of a clip whose frames stand at `times` (seconds, ascending) within `tolerance` of equal
// steps; nothing where they do not: its rate varies. `times` has at least one entry; one frame
// alone has no rate.
std::optional<double> ConstantRate(std::span<const double> times, double tolerance);

// For clips of varying rate: the frames that are on the screen at `wanted` equally spaced times,
// each once, so that a frame that stands long is not shown several times. `end`: when the last
// frame goes. Equals ChooseFrames where the rate is constant.
std::vector<std::int64_t> ChooseFramesByTime(std::span<const double> times, double end,
                                             std::int64_t wanted);

// "MM:SS", never rounded up, minutes beyond 99 in full: 3725.9 → "62:05". Negative times are 0.
std::string TimestampText(double seconds);

}  // namespace culet
