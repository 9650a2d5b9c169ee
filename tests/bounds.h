// Bounds on the difference between a kernel and the plain (double) definition, each derived from
// sizes and from the magnitudes that entered, never chosen by feel; and how far whole results are
// apart.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu_features.h"
#include "base/dtype.h"

namespace culet {

// Unit roundoff of f32 (nearest) and of bf16.
inline constexpr double kF32Roundoff = 0x1p-24;
inline constexpr double kBf16Roundoff = 0x1p-8;

// Of the narrowest vector level of this architecture: NEON's or AVX2's.
#if defined(__aarch64__)
inline constexpr double kFewestLanes = 4;
#else
inline constexpr double kFewestLanes = 8;
#endif

// Longest chain of roundings through which one product passes in Σ_k. Each lane adds k/kFewestLanes
// products one after the other, then log2(8) additions at most join lanes, and k/768 joins blocks
// of k. vdpbf16ps: 16 lanes with two roundings a step, k/8. tdpbf16ps: 16 products at most, 2
// joins, then k/32 of these and k/256 of those, which is less from k = 192 on; of x in three parts
// the greatest come last, and the others' errors are 2^-7 of theirs. Plain sums in double and
// rounds once.
inline double DotDepth(std::int64_t k) {
  const auto length = static_cast<double>(k);
  const double lanes = length / kFewestLanes + 3 + length / 768 + 2;
  const double tiles = std::min(length, 16.0) + 2 + (length / 32 + 1) + (length / 256 + 1);
  return std::max(lanes, tiles);
}

// |computed − exact| ≤ depth·u·Σ|x·w|, to first order; the 1.01 covers the higher ones for depth <
// 10^5. vdpbf16ps and tdpbf16ps take subnormal inputs and results as zero: at most 2^−126 a product
// for a flushed result, and 2^−126 times the other factor for a flushed input; three of each where
// x is in three parts.
inline double DotBound(std::int64_t k, double sum_abs, double max_abs = 1) {
  return 1.01 * DotDepth(k) * kF32Roundoff * sum_abs +
         6 * static_cast<double>(k) * 0x1p-126 * (1 + max_abs);
}

// A product of int8 rows with integer weights: sums over a block of 32 columns are exact integers
// below 2^24; each is multiplied by the product of its two scales and added, one rounding of that
// product and one of the sum for every block that follows.
inline double QuantizedDotBound(std::int64_t k, double sum_abs) {
  return 1.01 * (static_cast<double>(k) / 32 + 3) * kF32Roundoff * sum_abs;
}

// Attention over `keys` keys. With every score off by at most δ and every exponential by a relative
// ε, a weight e^(s−m)/Σ moves by a factor within e^(±2δ)(1 ± 2ε). ε: 2 units of the vector
// exponential, the rounding of s − m (|s − m| ≤ 104 where e^(s−m) is not 0: 104 u). The sum over V
// runs through 256 additions in a block and three roundings a block that follows. `split`: by how
// much of itself a query and a weight is off where a kernel takes it in parts.
inline double AttentionBound(std::int64_t keys, std::int64_t head_dim, double max_abs_score_sum,
                             double max_abs_v, double split = 0) {
  const double delta = DotBound(head_dim, max_abs_score_sum) + split * max_abs_score_sum;
  const double blocks = static_cast<double>(keys) / 256 + 2;
  const double exponential = (104 + 4) * kF32Roundoff;
  const double sums = (256 + 8 * blocks) * kF32Roundoff;
  return 1.05 * (2 * delta + 2 * exponential * blocks + 2 * sums + split) * max_abs_v;
}

// Of attention at the level amx over pages of bf16 whose rows are whole tiles: two bf16 for an f32.
inline double AttentionSplit(CpuLevel level, DType dtype, std::int64_t head_dim) {
  const bool tiles = dtype == DType::kBF16 && head_dim % 32 == 0 && head_dim <= 512;
  return level == CpuLevel::kAmx && tiles ? 0x1p-16 : 0;
}

// Root mean square of n values: the sum of squares has relative error (n/8 + 8)·u, its root half of
// that; then division, root and two products.
inline double NormRelativeBound(std::int64_t n) {
  return (static_cast<double>(n) / 16 + 12) * kF32Roundoff;
}

// max |difference| ÷ max |reference|; infinite where a value is none, or their numbers differ.
inline double RelativeError(std::span<const float> got, std::span<const float> reference) {
  if (got.size() != reference.size()) return INFINITY;
  double difference = 0;
  double largest = 0;
  for (std::size_t index = 0; index < reference.size(); ++index) {
    if (!std::isfinite(got[index])) return INFINITY;  // max() passes over what is no number
    difference = std::max(difference, std::abs(static_cast<double>(got[index]) - reference[index]));
    largest = std::max(largest, std::abs(static_cast<double>(reference[index])));
  }
  return difference / largest;
}

inline double RootMeanSquareError(std::span<const float> got, std::span<const float> reference) {
  double sum = 0;
  for (std::size_t index = 0; index < reference.size(); ++index) {
    const double difference = static_cast<double>(got[index]) - reference[index];
    sum += difference * difference;
  }
  return std::sqrt(sum / static_cast<double>(reference.size()));
}

}  // namespace culet
