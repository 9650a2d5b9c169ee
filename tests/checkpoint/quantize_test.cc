// If this fails, a quantised model holds other numbers than its layout says, or worse ones than the
// formula allows.
#include "checkpoint/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/hash.h"

namespace culet {
namespace {

// Normal values by the sum of twelve uniform ones.
std::vector<float> Values(std::int64_t count, std::uint64_t seed, float size = 0.02f) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    double sum = -6;
    for (int j = 0; j < 12; ++j) sum += UnitInterval(NextRandom(&seed));
    values.push_back(size * static_cast<float>(sum));
  }
  return values;
}

struct Quantized {
  WeightLayout layout;
  std::vector<std::uint8_t> data;
  std::vector<std::uint16_t> scales;

  int q(std::int64_t row, std::int64_t col) const { return QuantAt(layout, data.data(), row, col); }
  float scale(std::int64_t row, std::int64_t col) const {
    return Bf16ToF32(scales[static_cast<std::size_t>(layout.scale(row, col))]);
  }
  double value(std::int64_t row, std::int64_t col) const {
    return static_cast<double>(q(row, col)) * scale(row, col);
  }
};

Quantized QuantizeAll(const WeightLayout& layout, const std::vector<float>& values,
                      const std::vector<float>& column_weights = {}, int threads = 2) {
  Quantized result{layout, {}, {}};
  // A place that is not written shows as neither zero nor a likely value.
  result.data.assign(static_cast<std::size_t>(layout.data_bytes()), 0x55);
  result.scales.assign(static_cast<std::size_t>(layout.scales()), 0x5555);
  ThreadPool pool(threads);
  QuantizeRows rows;
  rows.dtype = DType::kF32;
  rows.values = reinterpret_cast<const std::byte*>(values.data());
  rows.count = layout.n;
  rows.column_weights = column_weights;
  EXPECT_FALSE(Quantize(layout, rows, pool, result.data, result.scales));
  return result;
}

constexpr WeightFormat kFormats[] = {WeightFormat::kInt8Tiles, WeightFormat::kInt4Tiles,
                                     WeightFormat::kInt8Rows, WeightFormat::kInt4Rows};

double GroupMax(const std::vector<float>& w, const WeightLayout& layout, std::int64_t row,
                std::int64_t col) {
  double largest = 0;
  const std::int64_t begin = col / layout.group * layout.group;
  for (std::int64_t k = begin; k < std::min(layout.k, begin + layout.group); ++k) {
    largest = std::max(largest, std::fabs(static_cast<double>(w[row * layout.k + k])));
  }
  return largest;
}

TEST(Quantize, EveryValueIsWithinHalfAStepAtEveryOddSize) {
  for (const WeightFormat format : kFormats) {
    for (const std::int64_t n : {1, 16, 17}) {
      for (const std::int64_t k : {1, 31, 32, 33, 100, 260}) {
        for (const std::int64_t group : {32, 64, 128, 1024}) {
          const WeightLayout layout{format, n, k, group};
          const std::vector<float> w = Values(n * k, static_cast<std::uint64_t>(n * k + group));
          const Quantized result = QuantizeAll(layout, w);
          for (std::int64_t row = 0; row < n; ++row) {
            for (std::int64_t col = 0; col < k; ++col) {
              const double value = w[static_cast<std::size_t>(row * k + col)];
              const double step = std::fabs(result.scale(row, col));
              // Half a step, and what w · (1 / scale) may be off in f32: two roundings of numbers
              // up to 127.
              double bound = step * (0.5 + 127 * 0x1p-22);
              if (IsInt4(format)) {
                // Values beyond the ends are cut off there: at most 11.2 steps make the largest.
                bound = std::max(bound, std::fabs(value) - 7 * step + step * 0x1p-20);
                EXPECT_GE(step * 11.2 * (1 + 0x1p-7), GroupMax(w, layout, row, col));
              }
              ASSERT_LE(std::fabs(value - result.value(row, col)), bound)
                  << WeightFormatName(format) << " [" << n << ", " << k << "] group " << group
                  << " at " << row << ", " << col;
              const int q = result.q(row, col);
              ASSERT_TRUE(IsInt4(format) ? q >= -8 && q <= 7 : q >= -127 && q <= 127);
            }
          }
        }
      }
    }
  }
}

TEST(Quantize, PaddingIsZeros) {
  for (const WeightFormat format : kFormats) {
    const WeightLayout layout{format, 17, 33, 32};
    const Quantized result = QuantizeAll(layout, Values(17 * 33, 3));
    for (std::int64_t row = 0; row < layout.padded_n(); ++row) {
      for (std::int64_t col = 0; col < layout.padded_k(); ++col) {
        if (row < layout.n && col < layout.k) continue;
        EXPECT_EQ(result.q(row, col), 0);
        if (row >= layout.n) {
          EXPECT_EQ(result.scale(row, col), 0.0f);
        }
      }
    }
  }
}

// Σ weight · error² of a row.
double RowError(const Quantized& result, const std::vector<float>& w,
                const std::vector<float>& weights, std::int64_t row) {
  double sum = 0;
  for (std::int64_t col = 0; col < result.layout.k; ++col) {
    const double error =
        w[static_cast<std::size_t>(row * result.layout.k + col)] - result.value(row, col);
    sum += error * error * (weights.empty() ? 1.0 : weights[static_cast<std::size_t>(col)]);
  }
  return sum;
}

// The least error of `steps` scales of either sign, each as bf16 has it.
double BestError(const float* w, const float* weights, std::int64_t count, int steps) {
  double largest = 0, best = 1e300;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(double{w[i]}));
  for (int sign = -1; sign <= 1; sign += 2) {
    for (int step = 0; step < steps; ++step) {
      const double scale = RoundToBf16(
          static_cast<float>(sign * largest / (6.0 + 6.0 * step / static_cast<double>(steps))));
      double sum = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const double q = std::clamp(std::nearbyint(w[i] / scale), -8.0, 7.0);
        const double error = w[i] - q * scale;
        sum += error * error * (weights == nullptr ? 1.0 : weights[i]);
      }
      best = std::min(best, sum);
    }
  }
  return best;
}

TEST(Quantize, TheSearchComesNearTheBestScale) {
  constexpr std::int64_t kRows = 64;
  for (const std::int64_t group : {32, 64, 128}) {
    const WeightLayout layout{WeightFormat::kInt4Tiles, kRows, group, group};
    const std::vector<float> w = Values(kRows * group, 5);
    // Unequal weights, as activations give: some columns count a thousand times more.
    std::vector<float> weights = Values(group, 6, 1.0f);
    for (float& weight : weights) weight = std::exp(2.0f * weight);
    for (const bool weighted : {false, true}) {
      const std::vector<float> given = weighted ? weights : std::vector<float>{};
      const Quantized result = QuantizeAll(layout, w, given);
      double error = 0, best = 0;
      for (std::int64_t row = 0; row < kRows; ++row) {
        error += RowError(result, w, given, row);
        best += BestError(w.data() + row * group, weighted ? weights.data() : nullptr, group, 200);
      }
      EXPECT_LT(error, best * (weighted ? 1.10 : 1.02)) << group << (weighted ? " weighted" : "");
    }
  }
}

TEST(Quantize, ColumnWeightsMoveTheErrorAway) {
  constexpr std::int64_t kRows = 64, kCols = 64;
  const WeightLayout layout{WeightFormat::kInt4Tiles, kRows, kCols, 32};
  const std::vector<float> w = Values(kRows * kCols, 8);
  std::vector<float> weights(kCols, 1.0f);
  weights[7] = 1000;
  double even = 0, weighted = 0;
  const Quantized a = QuantizeAll(layout, w), b = QuantizeAll(layout, w, weights);
  for (std::int64_t row = 0; row < kRows; ++row) {
    const double value = w[static_cast<std::size_t>(row * kCols + 7)];
    even += std::pow(value - a.value(row, 7), 2);
    weighted += std::pow(value - b.value(row, 7), 2);
  }
  EXPECT_LT(weighted, even / 4);
}

TEST(Quantize, GroupsOfZerosAndOfSubnormalsHaveFiniteScales) {
  for (const WeightFormat format : kFormats) {
    const WeightLayout layout{format, 2, 96, 32};
    std::vector<float> w = Values(2 * 96, 9);
    for (int col = 0; col < 32; ++col) {
      w[col] = 0;
      w[32 + col] = static_cast<float>(col - 16) * 0x1p-149f;
      w[96 + col] = static_cast<float>(col - 16) * 0x1p-126f;
    }
    const Quantized result = QuantizeAll(layout, w);
    for (int col = 0; col < 32; ++col) {
      EXPECT_EQ(result.value(0, col), 0.0);
      EXPECT_LE(std::fabs(w[32 + col] - result.value(0, 32 + col)), 0x1p-127);
      EXPECT_TRUE(std::isfinite(1 / result.scale(0, 32 + col)));
      EXPECT_LE(std::fabs(w[96 + col] - result.value(1, col)), 2 * 0x1p-126);
    }
  }
}

TEST(Quantize, TheLargestNumbersDoNotOverflow) {
  for (const WeightFormat format : kFormats) {
    const WeightLayout layout{format, 1, 32, 32};
    std::vector<float> w = Values(32, 10, 1e37f);
    w[3] = -3.4e38f;
    const Quantized result = QuantizeAll(layout, w);
    for (int col = 0; col < 32; ++col) {
      EXPECT_LE(std::fabs(w[col] - result.value(0, col)), 3.4e38 / 7);
    }
  }
}

TEST(Quantize, DtypesOfTheFileGiveTheSameAsTheirValues) {
  const WeightLayout layout{WeightFormat::kInt4Tiles, 20, 70, 64};
  // Whole numbers up to 50: exact in f16 and in bf16.
  std::vector<float> w = Values(20 * 70, 11, 10.0f);
  std::vector<std::uint16_t> bf16, f16;
  for (float& value : w) {
    value = std::nearbyint(value);
    bf16.push_back(F32ToBf16(value));
    std::uint16_t half = 0;
    while (F16ToF32(half) != std::fabs(value)) ++half;
    f16.push_back(static_cast<std::uint16_t>(half | (value < 0 ? 0x8000 : 0)));
  }
  const Quantized expected = QuantizeAll(layout, w);
  ThreadPool pool(3);
  for (const auto& [dtype, bits] : {std::pair{DType::kBF16, &bf16}, std::pair{DType::kF16, &f16}}) {
    // One byte off, as in a file without padding.
    std::vector<std::byte> odd(1 + 2 * bits->size());
    std::memcpy(odd.data() + 1, bits->data(), 2 * bits->size());
    Quantized result = expected;
    std::fill(result.data.begin(), result.data.end(), 0x55);
    QuantizeRows rows;
    rows.dtype = dtype;
    rows.values = odd.data() + 1;
    rows.count = 20;
    EXPECT_FALSE(Quantize(layout, rows, pool, result.data, result.scales));
    EXPECT_EQ(result.data, expected.data);
    EXPECT_EQ(result.scales, expected.scales);
  }
}

TEST(Quantize, PiecesAndThreadsDoNotChangeAByte) {
  for (const WeightFormat format : kFormats) {
    const WeightLayout layout{format, 75, 96, 32};
    const std::vector<float> w = Values(75 * 96, 12);
    const Quantized whole = QuantizeAll(layout, w, {}, 1);
    Quantized pieces{layout, {}, {}};
    ThreadPool pool(4);
    for (std::int64_t begin = 0; begin < 75; begin += 32) {
      const std::int64_t count = std::min<std::int64_t>(32, 75 - begin);
      std::vector<std::uint8_t> data(static_cast<std::size_t>(QuantizedBytes(layout, count)));
      std::vector<std::uint16_t> scales(static_cast<std::size_t>(QuantizedScales(layout, count)));
      QuantizeRows rows;
      rows.dtype = DType::kF32;
      rows.values = reinterpret_cast<const std::byte*>(w.data() + begin * 96);
      rows.begin = begin;
      rows.count = count;
      ASSERT_FALSE(Quantize(layout, rows, pool, data, scales));
      pieces.data.insert(pieces.data.end(), data.begin(), data.end());
      pieces.scales.insert(pieces.scales.end(), scales.begin(), scales.end());
    }
    EXPECT_EQ(pieces.data, whole.data);
    EXPECT_EQ(pieces.scales, whole.scales);
  }
}

TEST(Quantize, WhatIsNoNumberIsFound) {
  for (const WeightFormat format : kFormats) {
    const WeightLayout layout{format, 80, 40, 32};
    std::vector<float> w = Values(80 * 40, 13);
    w[70 * 40 + 1] = std::nanf("");
    w[33 * 40 + 39] = -INFINITY;
    w[33 * 40 + 38] = INFINITY;
    std::vector<std::uint8_t> data(static_cast<std::size_t>(layout.data_bytes()));
    std::vector<std::uint16_t> scales(static_cast<std::size_t>(layout.scales()));
    for (const int threads : {1, 4}) {
      ThreadPool pool(threads);
      QuantizeRows rows;
      rows.dtype = DType::kF32;
      rows.values = reinterpret_cast<const std::byte*>(w.data());
      rows.count = 80;
      const std::optional<BadWeight> bad = Quantize(layout, rows, pool, data, scales);
      ASSERT_TRUE(bad);
      EXPECT_EQ(bad->row, 33);
      EXPECT_EQ(bad->col, 38);
      EXPECT_EQ(bad->value, INFINITY);
    }
  }
}

}  // namespace
}  // namespace culet
