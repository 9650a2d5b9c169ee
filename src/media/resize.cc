#include "media/resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/error.h"

namespace culet {
namespace {

constexpr int kMaxBits = 22;  // sums of 8-bit values then fit into 32 bits, overshoot included
constexpr double kSupport = 2.0;

double Cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// What each output of one axis is made of.
struct Axis {
  struct Window {
    std::int64_t first = 0;  // input
    std::int64_t taps = 0;
    std::size_t weights = 0;  // where its weights begin
  };
  std::vector<Window> windows;        // [out]
  std::vector<std::int32_t> weights;  // times 2^bits
  std::int64_t most_taps = 0;
  int bits = kMaxBits;
};

int Bits(double largest_weight, ResizeRule rule) {
  if (rule == ResizeRule::kPillow) return kMaxBits;
  int bits = 0;
  while (bits < kMaxBits && std::trunc(0.5 + std::ldexp(largest_weight, bits + 1)) < 32768.0) {
    ++bits;
  }
  return bits;
}

Axis MakeAxis(std::int64_t in, std::int64_t out, ResizeRule rule) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double filter_scale = std::max(scale, 1.0);
  const double support = kSupport * filter_scale;
  const double inverse = 1.0 / filter_scale;
  Axis axis;
  axis.windows.reserve(static_cast<std::size_t>(out));
  std::vector<double> weights;
  for (std::int64_t o = 0; o < out; ++o) {
    const double center = (static_cast<double>(o) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(center - support + 0.5));
    const auto end = std::min<std::int64_t>(in, static_cast<std::int64_t>(center + support + 0.5));
    axis.windows.push_back({first, end - first, weights.size()});
    axis.most_taps = std::max(axis.most_taps, end - first);
    double sum = 0.0;
    for (std::int64_t i = first; i < end; ++i) {
      weights.push_back(Cubic((static_cast<double>(i) - center + 0.5) * inverse));
      sum += weights.back();
    }
    if (sum == 0.0) continue;
    for (std::size_t i = axis.windows.back().weights; i < weights.size(); ++i) weights[i] /= sum;
  }
  axis.bits = Bits(*std::max_element(weights.begin(), weights.end()), rule);
  axis.weights.reserve(weights.size());
  for (const double weight : weights) {
    const double scaled = std::ldexp(weight, axis.bits);
    axis.weights.push_back(static_cast<std::int32_t>(scaled + (weight < 0.0 ? -0.5 : 0.5)));
  }
  return axis;
}

std::uint8_t Clamped(std::int32_t sum, int bits) {
  return static_cast<std::uint8_t>(std::clamp(sum >> bits, 0, 255));
}

// One row: `in` [in width, 3] → `out` [out width, 3].
void ResizeRow(const std::uint8_t* in, const Axis& axis, std::uint8_t* out) {
  const std::int32_t half = std::int32_t{1} << (axis.bits - 1);
  for (const Axis::Window& window : axis.windows) {
    const std::uint8_t* pixel = in + 3 * window.first;
    const std::int32_t* weight = axis.weights.data() + window.weights;
    std::int32_t red = half, green = half, blue = half;
    for (std::int64_t tap = 0; tap < window.taps; ++tap, pixel += 3) {
      red += weight[tap] * pixel[0];
      green += weight[tap] * pixel[1];
      blue += weight[tap] * pixel[2];
    }
    *out++ = Clamped(red, axis.bits);
    *out++ = Clamped(green, axis.bits);
    *out++ = Clamped(blue, axis.bits);
  }
}

// Rows of the input in their new width, made once each and kept while a window may ask for them.
class WideRows {
 public:
  // `kept`: rows that one output row sees.
  WideRows(const RgbImage& image, std::int64_t width, std::int64_t kept, ResizeRule rule)
      : image_(image), row_bytes_(static_cast<std::size_t>(3 * width)), kept_(kept) {
    if (width == image.size.width) return;  // read in place
    axis_ = MakeAxis(image.size.width, width, rule);
    ring_.resize(row_bytes_ * static_cast<std::size_t>(kept));
  }

  // [width, 3]; valid until a row `kept` further on is asked for. Rows are asked for in order, as
  // windows go.
  const std::uint8_t* Row(std::int64_t row) {
    if (ring_.empty()) return image_.pixels.data() + row_bytes_ * static_cast<std::size_t>(row);
    for (; made_ <= row; ++made_) {
      // Rows that no window sees any more are passed over.
      if (made_ + kept_ <= row) continue;
      ResizeRow(image_.pixels.data() + static_cast<std::size_t>(3 * image_.size.width * made_),
                axis_, Slot(made_));
    }
    return Slot(row);
  }

 private:
  std::uint8_t* Slot(std::int64_t row) {
    return ring_.data() + row_bytes_ * static_cast<std::size_t>(row % kept_);
  }

  const RgbImage& image_;
  std::size_t row_bytes_;
  std::int64_t kept_;
  std::int64_t made_ = 0;
  Axis axis_;
  std::vector<std::uint8_t> ring_;  // [kept, width, 3]
};

// One output row of the other axis: rows of `image`'s kind, weighted and rounded. `row(i)` is input
// row i, [count]; `sums` is scratch of that size.
template <typename RowOf>
void MixRows(const Axis& axis, const Axis::Window& window, const RowOf& row,
             std::vector<std::int32_t>* sums, std::uint8_t* out) {
  std::int32_t* sum = sums->data();
  const std::size_t count = sums->size();
  std::fill(sums->begin(), sums->end(), std::int32_t{1} << (axis.bits - 1));
  const std::int32_t* weights = axis.weights.data() + window.weights;
  for (std::int64_t tap = 0; tap < window.taps; ++tap) {
    const std::uint8_t* in = row(window.first + tap);
    const std::int32_t weight = weights[tap];
    for (std::size_t i = 0; i < count; ++i) sum[i] += weight * in[i];
  }
  for (std::size_t i = 0; i < count; ++i) out[i] = Clamped(sum[i], axis.bits);
}

// Pillow goes down the rows first where that is much less work: pictures that lose more than twice
// as many rows as columns (found by trying it, as no paper of Pillow's says it).
bool RowsFirst(ImageSize from, ImageSize to, ResizeRule rule) {
  return rule == ResizeRule::kPillow && to.height < from.height && to.width != from.width &&
         from.height - to.height > 2 * (from.width - to.width);
}

}  // namespace

RgbImage ResizeBicubic(const RgbImage& image, ImageSize target, ResizeRule rule) {
  CULET_DCHECK(image.pixels.size() ==
               static_cast<std::size_t>(3 * image.size.height * image.size.width));
  if (target == image.size) return image;
  RgbImage result;
  result.size = target;
  result.pixels.resize(static_cast<std::size_t>(3 * target.height * target.width));
  const std::size_t out_bytes = static_cast<std::size_t>(3 * target.width);
  std::uint8_t* out = result.pixels.data();
  if (target.height == image.size.height) {
    WideRows rows(image, target.width, 1, rule);
    for (std::int64_t y = 0; y < target.height; ++y, out += out_bytes) {
      std::copy_n(rows.Row(y), out_bytes, out);
    }
    return result;
  }
  const Axis axis = MakeAxis(image.size.height, target.height, rule);
  if (RowsFirst(image.size, target, rule)) {
    const Axis columns = MakeAxis(image.size.width, target.width, rule);
    const std::size_t in_bytes = static_cast<std::size_t>(3 * image.size.width);
    std::vector<std::int32_t> sums(in_bytes);
    std::vector<std::uint8_t> mixed(in_bytes);
    const auto row = [&](std::int64_t y) {
      return image.pixels.data() + in_bytes * static_cast<std::size_t>(y);
    };
    for (const Axis::Window& window : axis.windows) {
      MixRows(axis, window, row, &sums, mixed.data());
      ResizeRow(mixed.data(), columns, out);
      out += out_bytes;
    }
    return result;
  }
  WideRows rows(image, target.width, axis.most_taps, rule);
  std::vector<std::int32_t> sums(out_bytes);
  for (const Axis::Window& window : axis.windows) {
    MixRows(
        axis, window, [&](std::int64_t y) { return rows.Row(y); }, &sums, out);
    out += out_bytes;
  }
  return result;
}

}  // namespace culet
