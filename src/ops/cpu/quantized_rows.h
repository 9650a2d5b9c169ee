// Rows of x as products with integer weights read them: int8 values with a scale for each
// kScaleBlocks blocks of kQuantBlock columns.
//
//   x[r, k] ≈ q[r, k] · scale[r, k / 128]     scale = max|x| / 127 in the group, q = x / scale
//                                             rounded to nearest, ties to even: −127 … 127
//
// Where a model says the scale (Matrix::input_scale) it is that in every group, and q is x / scale
// rounded likewise and bounded to −128 … 127.
// A group whose largest value is below kSmallestGroup is zero; one that holds an infinity or a NaN
// gets the scale NaN, so that every sum over it shows (an infinity is a bound where the scale is
// given). The numbers do not depend on the level, only how they are computed does; a kernel may
// keep q wider, and the scale divided by a power of two where its sums are that much larger.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/weight_format.h"

namespace culet {

// 128 columns, as of weights in int8: each scale costs products that are made of tiles more than
// the tiles do. One for 128 normal values rounds them 1.20 times as coarsely as one for 32 (their
// largest is 2.82 standard deviations on average, and 2.35).
inline constexpr int kScaleBlocks = 4;
inline constexpr std::int64_t kScaleColumns = kScaleBlocks * kQuantBlock;

// Below it 127 / max|x| may leave the range of f32.
inline constexpr float kSmallestGroup = 0x1p-100f;

struct QuantGroup {
  float scale = 0;
  // −8·Σq over the columns with k % 4 in {0, 1}, and in {2, 3}: where sums of int4 weights begin,
  // as those are stored + 8. |start| ≤ 8 · 16 · 128.
  std::int16_t start[2] = {0, 0};
};

// The operand of `rows` rows: values [rows, padded k], then groups [rows, padded k / 32]. Values
// are int8, or int16 in a kernel's own order.
template <typename Value>
class QuantizedRowsOf {
 public:
  QuantizedRowsOf(std::byte* operand, std::int64_t rows, std::int64_t k)
      : width_(PaddedCols(k)),
        values_(reinterpret_cast<Value*>(operand)),
        groups_(reinterpret_cast<QuantGroup*>(operand + ValueBytes(rows, width_))) {}
  QuantizedRowsOf(const std::byte* operand, std::int64_t rows, std::int64_t k)
      : QuantizedRowsOf(const_cast<std::byte*>(operand), rows, k) {}

  static std::size_t Bytes(std::int64_t rows, std::int64_t k) {
    const std::int64_t width = PaddedCols(k);
    return ValueBytes(rows, width) +
           static_cast<std::size_t>(rows * (width / kQuantBlock)) * sizeof(QuantGroup);
  }

  std::int64_t width() const { return width_; }                 // padded k
  std::int64_t blocks() const { return width_ / kQuantBlock; }  // of a row
  Value* row(std::int64_t index) const { return values_ + index * width_; }
  QuantGroup* groups(std::int64_t index) const { return groups_ + index * blocks(); }

 private:
  static std::int64_t PaddedCols(std::int64_t k) {
    return (k + kQuantBlock - 1) / kQuantBlock * kQuantBlock;
  }
  static std::size_t ValueBytes(std::int64_t rows, std::int64_t width) {
    return (static_cast<std::size_t>(rows * width) * sizeof(Value) + 63) / 64 * 64;
  }

  std::int64_t width_;
  Value* values_;
  QuantGroup* groups_;
};
using QuantizedRows = QuantizedRowsOf<std::int8_t>;

inline void SetStart(const std::int8_t* q, QuantGroup* group) {
  int sums[2] = {0, 0};
  for (std::int64_t i = 0; i < kQuantBlock; ++i) sums[i % 4 / 2] += q[i];
  for (int p = 0; p < 2; ++p) group->start[p] = static_cast<std::int16_t>(-8 * sums[p]);
}

// The largest |x|, by bits: they order as the numbers do, NaN above all.
inline float MaxMagnitude(const float* x, std::int64_t count) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  }
  return std::bit_cast<float>(largest);
}

// One group of `count` ≤ 32 values into 32; what is beyond is zero. max_abs: of all that share its
// scale.
inline void QuantizeGroup(float max_abs, const float* x, std::int64_t count, std::int8_t* q,
                          QuantGroup* group) {
  *group = QuantGroup{};
  std::fill(q, q + kQuantBlock, std::int8_t{0});
  if (!std::isfinite(max_abs)) {
    group->scale = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  if (max_abs < kSmallestGroup) return;
  group->scale = max_abs / 127.0f;
  const float inverse = 127.0f / max_abs;
  for (std::int64_t i = 0; i < count; ++i) {
    q[i] = static_cast<std::int8_t>(std::nearbyint(x[i] * inverse));
  }
  SetStart(q, group);
}

// The same with a scale that is given.
inline void QuantizeGroupTo(float scale, const float* x, std::int64_t count, std::int8_t* q,
                            QuantGroup* group) {
  *group = QuantGroup{};
  group->scale = scale;
  std::fill(q, q + kQuantBlock, std::int8_t{0});
  for (std::int64_t i = 0; i < count; ++i) {
    const float steps = x[i] / scale;
    if (std::isnan(steps)) {
      group->scale = std::numeric_limits<float>::quiet_NaN();
    } else {
      q[i] = static_cast<std::int8_t>(std::nearbyint(std::clamp(steps, -128.0f, 127.0f)));
    }
  }
  SetStart(q, group);
}

// A kernel may read the scale of groups that share one in the first of them alone.
inline void ShareNan(std::int64_t count, QuantGroup* groups) {
  for (std::int64_t i = 1; i < count; ++i) {
    if (std::isnan(groups[i].scale)) groups[0].scale = groups[i].scale;
  }
}

// `count` values, in groups that share a scale: theirs, or a given one that is not 0.
inline void QuantizeGroups(const float* x, std::int64_t count, float scale, std::int8_t* q,
                           QuantGroup* groups) {
  const float max_abs = scale != 0 ? 0 : MaxMagnitude(x, count);
  std::int64_t group = 0;
  for (std::int64_t i = 0; i < count; i += kQuantBlock, ++group) {
    const std::int64_t there = std::min(kQuantBlock, count - i);
    scale != 0 ? QuantizeGroupTo(scale, x + i, there, q + i, groups + group)
               : QuantizeGroup(max_abs, x + i, there, q + i, groups + group);
  }
  ShareNan(group, groups);
}

}  // namespace culet
