#include "media/video_frames.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/error.h"

namespace culet {

std::vector<std::int64_t> ChooseFrames(std::int64_t total, std::int64_t wanted) {
  CULET_DCHECK(total >= 1 && wanted >= 1);
  std::vector<std::int64_t> frames(static_cast<std::size_t>(std::min(total, wanted)));
  std::iota(frames.begin(), frames.end(), std::int64_t{0});
  if (total <= wanted) return frames;
  // In integers: a product with total / wanted in floating point falls short of whole numbers.
  for (std::int64_t& frame : frames) frame = frame * total / wanted;
  return frames;
}

std::int64_t FramesAtRate(std::int64_t total, double clip_rate, double rate) {
  // This order of operations is the reference's.
  const double frames = static_cast<double>(total) / clip_rate * rate;
  return std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::min(frames, static_cast<double>(total))));
}

std::optional<double> ConstantRate(std::span<const double> times, double tolerance) {
  if (times.size() < 2) return std::nullopt;
  const double step = (times.back() - times.front()) / static_cast<double>(times.size() - 1);
  if (!(step > 0.0)) return std::nullopt;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double expected = times.front() + static_cast<double>(i) * step;
    if (std::fabs(times[i] - expected) > tolerance) return std::nullopt;
  }
  return 1.0 / step;
}

std::vector<std::int64_t> ChooseFramesByTime(std::span<const double> times, double end,
                                             std::int64_t wanted) {
  const std::int64_t total = static_cast<std::int64_t>(times.size());
  if (total <= wanted) return ChooseFrames(total, wanted);
  std::vector<std::int64_t> frames;
  const double length = end - times.front();
  for (std::int64_t i = 0; i < wanted; ++i) {
    const double time =
        times.front() + length * static_cast<double>(i) / static_cast<double>(wanted);
    const auto after = std::upper_bound(times.begin(), times.end(), time);
    const std::int64_t frame = std::max<std::int64_t>(0, after - times.begin() - 1);
    if (frames.empty() || frames.back() != frame) frames.push_back(frame);
  }
  return frames;
}

std::string TimestampText(double seconds) {
  const auto whole = static_cast<long long>(std::max(0.0, std::floor(seconds)));
  char text[32];
  std::snprintf(text, sizeof text, "%02lld:%02lld", whole / 60, whole % 60);
  return text;
}

}  // namespace culet
