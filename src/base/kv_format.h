// How K or V of one position and head lies in the cache: `head_dim` values as f32 or bf16, or as
// int8 in groups of 64 with an f32 scale each:
//
//   [head_dim] int8, then [⌈head_dim / 64⌉] f32          value = q · scale of its group
//   scale = max|x| / 127 in the group, q = x / scale to nearest, ties to even
//
// A group with an infinity or a NaN has the scale NaN, so that it shows.
//
// Where V is the raw k projection (K=V layers) and K = rope(V ⊙ w), K differs from V ⊙ w only in
// the dimensions that the rotation turns. One row holds both, as `head_dim` + `turning` values:
//
//   [ V of the turning | V of the resting | K of the turning ]
//     ◄──────────── V ───────────────►
//                      ◄──────────── K ─────────────►          w stays to be multiplied into q
//
// Dimension j turns with j + head_dim/2 for j < turning/2.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/dtype.h"

namespace culet {

inline constexpr std::int64_t kKvGroup = 64;

// Bytes of one position and head, of K or of V. dtype: kF32, kBF16 or kI8.
inline std::int64_t KvRowBytes(DType dtype, std::int64_t head_dim) {
  if (dtype != DType::kI8) return head_dim * static_cast<std::int64_t>(DTypeBytes(dtype));
  return head_dim + (head_dim + kKvGroup - 1) / kKvGroup * static_cast<std::int64_t>(sizeof(float));
}

// The scale of column i of an int8 row, whose scales lie `scales` bytes behind its first value:
// head_dim where a row is K or V alone.
inline float KvScale(const std::byte* row, std::int64_t scales, std::int64_t i) {
  float scale;  // a row of odd head_dim leaves it unaligned
  std::memcpy(&scale, row + scales + i / kKvGroup * static_cast<std::int64_t>(sizeof(float)),
              sizeof(scale));
  return scale;
}

// x [head_dim] into an int8 row. One form on every level.
inline void QuantizeKvRow(const float* x, std::int64_t head_dim, std::byte* row) {
  for (std::int64_t begin = 0; begin < head_dim; begin += kKvGroup) {
    const std::int64_t end = std::min(head_dim, begin + kKvGroup);
    std::uint32_t largest = 0;  // of |x|, by bits: they order as the numbers do, NaN above all
    for (std::int64_t i = begin; i < end; ++i) {
      largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
    }
    const float max_abs = std::bit_cast<float>(largest);
    // Below 2^−100 the quotient may leave the range of f32.
    const bool zero = max_abs < 0x1p-100f || !std::isfinite(max_abs);
    float scale = zero ? 0.0f : max_abs / 127.0f;
    const float inverse = zero ? 0.0f : 127.0f / max_abs;
    for (std::int64_t i = begin; i < end; ++i) {
      const float q = zero ? 0.0f : std::nearbyint(x[i] * inverse);
      row[i] = static_cast<std::byte>(static_cast<std::int8_t>(q));
    }
    if (!std::isfinite(max_abs)) scale = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(row + head_dim + begin / kKvGroup * static_cast<std::int64_t>(sizeof(float)),
                &scale, sizeof(scale));
  }
}

}  // namespace culet
