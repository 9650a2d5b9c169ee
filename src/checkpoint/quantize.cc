#include "checkpoint/quantize.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"

namespace culet {
namespace {

// Groups of smaller numbers get this scale, the least normal bf16: its reciprocal is finite, and
// kernels may take subnormal numbers for zero.
constexpr float kLeastScale = 0x1p-126f;
constexpr std::uint32_t kInfinityBits = 0x7f800000;

// int4: the largest |w| of a group comes to lie at so many steps from zero; what is above 7 (8
// where the scale is turned so that it becomes negative) is cut off there. The first of each are
// exact fits; the more is cut off, the finer the rest is. On normal values in groups of 32 these
// sixteen and the fit after them leave an error 0.7% above that of the best of 400.
constexpr int kCandidates = 16;
constexpr std::array<float, kCandidates> kSteps = {-8.0f,  -7.5f,  -8.4f, -8.8f, -9.2f, -9.7f,
                                                   -10.3f, -11.2f, 7.0f,  7.3f,  7.6f,  8.0f,
                                                   8.4f,   8.9f,   9.6f,  10.5f};

// The nearest whole number to x, ties to even, cut off at the ends. A number added to 1.5 · 2^23 is
// rounded to a whole one, and the bits of such sums are ordered as the sums are: integer operations
// cut off, in loops that a compiler makes vectors of for any machine.
template <int kLow, int kHigh>
inline float RoundAndClamp(float x) {
  constexpr float kShift = 12582912.0f;
  constexpr auto kLowBits = std::bit_cast<std::int32_t>(kShift + kLow);
  constexpr auto kHighBits = std::bit_cast<std::int32_t>(kShift + kHigh);
  auto bits = std::bit_cast<std::int32_t>(x + kShift);
  bits = bits < kLowBits ? kLowBits : bits;
  bits = bits > kHighBits ? kHighBits : bits;
  return std::bit_cast<float>(bits) - kShift;
}

// `scale` as it is stored, and away from zero; its sign stays.
float StoredScale(float scale) {
  return std::copysign(std::max(std::fabs(RoundToBf16(scale)), kLeastScale), scale);
}

// values [count] → f32.
void Widen(DType dtype, const std::byte* values, std::int64_t count, float* out) {
  switch (dtype) {
    case DType::kF32: std::memcpy(out, values, static_cast<std::size_t>(count) * 4); return;
    case DType::kBF16:
      for (std::int64_t i = 0; i < count; ++i) {
        std::uint16_t bits = 0;
        std::memcpy(&bits, values + 2 * i, 2);
        out[i] = Bf16ToF32(bits);
      }
      return;
    default:
      for (std::int64_t i = 0; i < count; ++i) {
        out[i] = ElementAsF32(dtype, values, static_cast<std::size_t>(i));
      }
  }
}

// The largest |w|, as bits: an infinity or NaN is above every number.
std::uint32_t LargestBits(const float* w, std::int64_t count) {
  std::int32_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t bits = std::bit_cast<std::int32_t>(w[i]) & 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  return static_cast<std::uint32_t>(largest);
}

template <int kLow, int kHigh>
void RoundGroup(const float* w, std::int64_t count, float scale, float* q) {
  const float inverse = 1.0f / scale;
  for (std::int64_t i = 0; i < count; ++i) q[i] = RoundAndClamp<kLow, kHigh>(w[i] * inverse);
}

// Sums of a group, in eight lanes so that they need not be added one after the other.
constexpr std::int64_t kLanes = 8;
using Lanes = std::array<float, kLanes>;
float Sum(const Lanes& lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

// Σ weight · (w − q · scale)². `count` is a multiple of kLanes here and below.
float GroupError(const float* w, const float* weight, const float* q, float scale,
                 std::int64_t count) {
  Lanes error{};
  for (std::int64_t i = 0; i < count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const float difference = w[i + lane] - q[i + lane] * scale;
      error[lane] += weight[i + lane] * difference * difference;
    }
  }
  return Sum(error);
}

// The scale that fits these q best: Σ weight·w·q / Σ weight·q²; 0 where q is all zeros.
float FittingScale(const float* w, const float* weight, const float* q, std::int64_t count) {
  Lanes products{}, squares{};
  for (std::int64_t i = 0; i < count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const float weighted = weight[i + lane] * q[i + lane];
      products[lane] += weighted * w[i + lane];
      squares[lane] += weighted * q[i + lane];
    }
  }
  const float below = Sum(squares);
  return below > 0 ? Sum(products) / below : 0.0f;
}

// Chooses the scale of an int4 group whose largest |w| is `largest`, and its q.
float Int4Group(const float* w, const float* weight, std::int64_t count, float largest, float* q) {
  // The largest in size, with its sign: the first of them where there are two.
  float extreme = largest;
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::fabs(w[i]) != largest) continue;
    extreme = w[i];
    break;
  }
  std::array<float, kCandidates> scales, inverses, errors{};
  for (int c = 0; c < kCandidates; ++c) {
    scales[c] = StoredScale(extreme / kSteps[c]);
    inverses[c] = 1.0f / scales[c];
  }
  for (std::int64_t i = 0; i < count; ++i) {
    for (int c = 0; c < kCandidates; ++c) {
      const float rounded = RoundAndClamp<-8, 7>(w[i] * inverses[c]);
      const float difference = w[i] - rounded * scales[c];
      errors[c] += weight[i] * difference * difference;
    }
  }
  const auto best = std::min_element(errors.begin(), errors.end()) - errors.begin();
  float scale = scales[best];
  RoundGroup<-8, 7>(w, count, scale, q);
  const float fitting = FittingScale(w, weight, q, count);
  if (fitting == 0) return scale;
  const float refined = StoredScale(fitting);
  std::array<float, kQuantBlock> other;
  // Groups are longer than the buffer at times: compare piece by piece.
  float error = 0, refined_error = 0;
  for (std::int64_t i = 0; i < count; i += kQuantBlock) {
    RoundGroup<-8, 7>(w + i, kQuantBlock, refined, other.data());
    error += GroupError(w + i, weight + i, q + i, scale, kQuantBlock);
    refined_error += GroupError(w + i, weight + i, other.data(), refined, kQuantBlock);
  }
  if (!(refined_error < error)) return scale;
  RoundGroup<-8, 7>(w, count, refined, q);
  return refined;
}

float Int8Group(const float* w, std::int64_t count, float largest, float* q) {
  // To the nearest bf16 is good enough: it is at most 2^-8 too small, which makes 127.498 of 127.
  const float scale = StoredScale(largest / 127.0f);
  RoundGroup<-127, 127>(w, count, scale, q);
  return scale;
}

// q of one row into its places: `data` is the tile's, or the row's.
void PackInt8Tile(const std::int8_t* q, std::int64_t width, std::int64_t row, std::uint8_t* data) {
  for (std::int64_t col = 0; col < width; col += 4) {
    std::memcpy(data + col * kTileOutputs + row * 4, q + col, 4);
  }
}

// Low and high nibble of the byte of columns `low` and `low` + 16 of a block.
std::uint8_t Nibbles(const std::int8_t* q, std::int64_t low) {
  return static_cast<std::uint8_t>((q[low] + 8) | (q[low + 16] + 8) << 4);
}

void PackInt4Tile(const std::int8_t* q, std::int64_t width, std::int64_t row, std::uint8_t* data) {
  for (std::int64_t col = 0; col < width; col += kQuantBlock) {
    std::array<std::uint8_t, kQuantBlock / 2> bytes;
    for (std::int64_t i = 0; i < kQuantBlock / 2; ++i) bytes[i] = Nibbles(q + col, i);
    std::uint8_t* block = data + col * kTileOutputs / 2 + row * 4;
    for (std::int64_t line = 0; line < 4; ++line) {
      std::memcpy(block + line * 64, bytes.data() + line * 4, 4);
    }
  }
}

void PackInt4Row(const std::int8_t* q, std::int64_t width, std::uint8_t* data) {
  for (std::int64_t col = 0; col < width; col += kQuantBlock) {
    for (std::int64_t i = 0; i < kQuantBlock / 2; ++i) data[col / 2 + i] = Nibbles(q + col, i);
  }
}

// What one thread needs for a row.
struct RowBuffers {
  std::vector<float> w, q;
  std::vector<std::int8_t> integers;
};

class Quantizer {
 public:
  Quantizer(const WeightLayout& layout, const QuantizeRows& rows, std::span<std::uint8_t> data,
            std::span<std::uint16_t> scales)
      : layout_(layout),
        rows_(rows),
        data_(data.data()),
        scales_(scales.data()),
        width_(layout.padded_k()),
        column_weights_(static_cast<std::size_t>(width_)) {
    CULET_DCHECK(static_cast<std::int64_t>(data.size()) == QuantizedBytes(layout, rows.count));
    CULET_DCHECK(static_cast<std::int64_t>(scales.size()) == QuantizedScales(layout, rows.count));
    for (std::int64_t col = 0; col < layout.k; ++col) {
      column_weights_[static_cast<std::size_t>(col)] =
          rows.column_weights.empty() ? 1.0f : rows.column_weights[static_cast<std::size_t>(col)];
    }
  }

  RowBuffers Buffers() const {
    const auto width = static_cast<std::size_t>(width_);
    return {std::vector<float>(width), std::vector<float>(width), std::vector<std::int8_t>(width)};
  }

  // Row `row` of those given; beyond them a row of zeros, which pads the last tile. False where a
  // value is no number.
  bool Row(std::int64_t row, RowBuffers* buffers) const {
    float* w = buffers->w.data();
    const std::int64_t row_bytes = layout_.k * static_cast<std::int64_t>(DTypeBytes(rows_.dtype));
    const std::int64_t values = row < rows_.count ? layout_.k : 0;
    if (values > 0) Widen(rows_.dtype, rows_.values + row * row_bytes, values, w);
    std::fill(w + values, w + width_, 0.0f);
    for (std::int64_t group = 0; group < layout_.groups(); ++group) {
      const std::int64_t begin = group * layout_.group;
      const std::int64_t count = std::min(layout_.group, width_ - begin);
      float* q = buffers->q.data() + begin;
      const std::uint32_t bits = LargestBits(w + begin, count);
      if (bits >= kInfinityBits) return false;
      const float largest = std::bit_cast<float>(bits);
      float scale = 0;
      if (largest == 0) {
        std::fill(q, q + count, 0.0f);
      } else if (IsInt4(layout_.format)) {
        scale = Int4Group(w + begin, column_weights_.data() + begin, count, largest, q);
      } else {
        scale = Int8Group(w + begin, count, largest, q);
      }
      scales_[ScalePlace(row, group)] = F32ToBf16(scale);
    }
    for (std::int64_t col = 0; col < width_; ++col) {
      buffers->integers[static_cast<std::size_t>(col)] =
          static_cast<std::int8_t>(buffers->q[static_cast<std::size_t>(col)]);
    }
    Pack(row, buffers->integers.data());
    return true;
  }

  // The first value of the row that is no number.
  BadWeight FindBad(std::int64_t row, RowBuffers* buffers) const {
    const std::int64_t row_bytes = layout_.k * static_cast<std::int64_t>(DTypeBytes(rows_.dtype));
    Widen(rows_.dtype, rows_.values + row * row_bytes, layout_.k, buffers->w.data());
    BadWeight bad;
    bad.row = rows_.begin + row;
    while (std::isfinite(buffers->w[static_cast<std::size_t>(bad.col)])) ++bad.col;
    bad.value = buffers->w[static_cast<std::size_t>(bad.col)];
    return bad;
  }

 private:
  std::int64_t ScalePlace(std::int64_t row, std::int64_t group) const {
    if (!IsTiled(layout_.format)) return row * layout_.groups() + group;
    return (row / kTileOutputs * layout_.groups() + group) * kTileOutputs + row % kTileOutputs;
  }

  void Pack(std::int64_t row, const std::int8_t* q) const {
    const std::int64_t tile = row / kTileOutputs * kTileOutputs * width_;
    switch (layout_.format) {
      case WeightFormat::kInt8Tiles:
        PackInt8Tile(q, width_, row % kTileOutputs, data_ + tile);
        return;
      case WeightFormat::kInt4Tiles:
        PackInt4Tile(q, width_, row % kTileOutputs, data_ + tile / 2);
        return;
      case WeightFormat::kInt8Rows:
        std::memcpy(data_ + row * width_, q, static_cast<std::size_t>(width_));
        return;
      case WeightFormat::kInt4Rows: PackInt4Row(q, width_, data_ + row * width_ / 2); return;
      default: return;
    }
  }

  const WeightLayout& layout_;
  const QuantizeRows& rows_;
  std::uint8_t* data_;
  std::uint16_t* scales_;
  std::int64_t width_;
  std::vector<float> column_weights_;  // [padded k]
};

std::int64_t PaddedRows(const WeightLayout& layout, std::int64_t rows) {
  if (!IsTiled(layout.format)) return rows;
  return (rows + kTileOutputs - 1) / kTileOutputs * kTileOutputs;
}

}  // namespace

std::int64_t QuantizedBytes(const WeightLayout& layout, std::int64_t rows) {
  return PaddedRows(layout, rows) * layout.padded_k() / (IsInt4(layout.format) ? 2 : 1);
}

std::int64_t QuantizedScales(const WeightLayout& layout, std::int64_t rows) {
  return PaddedRows(layout, rows) * layout.groups();
}

std::optional<BadWeight> Quantize(const WeightLayout& layout, const QuantizeRows& rows,
                                  ThreadPool& pool, std::span<std::uint8_t> data,
                                  std::span<std::uint16_t> scales) {
  if (!rows.column_weights.empty() &&
      static_cast<std::int64_t>(rows.column_weights.size()) != layout.k) {
    throw Error(ErrorKind::kInternal, std::to_string(rows.column_weights.size()) +
                                          " column weights for rows of " +
                                          std::to_string(layout.k));
  }
  CULET_DCHECK(layout.group % kQuantBlock == 0);
  CULET_DCHECK(!IsTiled(layout.format) || rows.begin % kTileOutputs == 0);
  const Quantizer quantizer(layout, rows, data, scales);
  std::vector<RowBuffers> buffers;
  for (int thread = 0; thread < pool.threads(); ++thread) buffers.push_back(quantizer.Buffers());
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> first_bad = kNone;
  pool.ParallelFor(PaddedRows(layout, rows.count), kTileOutputs,
                   [&](std::int64_t begin, std::int64_t end, int thread) {
                     for (std::int64_t row = begin; row < end; ++row) {
                       if (quantizer.Row(row, &buffers[static_cast<std::size_t>(thread)])) continue;
                       std::int64_t known = first_bad;
                       while (row < known && !first_bad.compare_exchange_weak(known, row)) continue;
                       return;
                     }
                   });
  if (first_bad == kNone) return std::nullopt;
  return quantizer.FindBad(first_bad, &buffers.front());
}

}  // namespace culet
