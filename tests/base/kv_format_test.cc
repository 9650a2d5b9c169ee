// If this fails, keys and values that are kept as int8 come back as others.
#include "base/kv_format.h"

#include <gtest/gtest.h>

#include <vector>

namespace culet {
namespace {

std::vector<std::byte> Row(const std::vector<float>& x) {
  const auto head_dim = static_cast<std::int64_t>(x.size());
  std::vector<std::byte> row(static_cast<std::size_t>(KvRowBytes(DType::kI8, head_dim)));
  QuantizeKvRow(x.data(), head_dim, row.data());
  return row;
}

float At(const std::vector<std::byte>& row, std::int64_t head_dim, std::int64_t i) {
  return static_cast<float>(static_cast<std::int8_t>(row[static_cast<std::size_t>(i)])) *
         KvScale(row.data(), head_dim, i);
}

TEST(KvFormat, ARowHasItsValuesAndAScaleForEach64) {
  EXPECT_EQ(KvRowBytes(DType::kF32, 80), 320);
  EXPECT_EQ(KvRowBytes(DType::kBF16, 80), 160);
  EXPECT_EQ(KvRowBytes(DType::kI8, 64), 64 + 4);
  EXPECT_EQ(KvRowBytes(DType::kI8, 80), 80 + 8);
  EXPECT_EQ(KvRowBytes(DType::kI8, 512), 512 + 32);
}

// The step is the largest value / 127, rounded; a value moves by half of one, and rounding of the
// quotient and the product adds 127 units of the last place at most.
TEST(KvFormat, AValueMovesByHalfAStepOfItsOwnGroupAtMost) {
  for (const std::int64_t head_dim : {1, 7, 63, 64, 65, 130, 256}) {
    std::vector<float> x;
    for (std::int64_t i = 0; i < head_dim; ++i) {
      const float size = i / 64 % 2 == 0 ? 1.0f : 1e-6f;  // groups of quite another size
      x.push_back(size * static_cast<float>((i * 7919) % 201 - 100) / 100);
    }
    const std::vector<std::byte> row = Row(x);
    for (std::int64_t begin = 0; begin < head_dim; begin += 64) {
      const std::int64_t end = std::min<std::int64_t>(head_dim, begin + 64);
      float largest = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        largest = std::max(largest, std::fabs(x[static_cast<std::size_t>(i)]));
      }
      for (std::int64_t i = begin; i < end; ++i) {
        EXPECT_NEAR(At(row, head_dim, i), x[static_cast<std::size_t>(i)],
                    largest / 254 * (1 + 1e-5f));
      }
    }
  }
}

TEST(KvFormat, ZerosStayZeroAndWhatIsNotFiniteShowsInItsGroupAlone) {
  std::vector<float> x(128, 0.0f);
  for (std::int64_t i = 0; i < 128; ++i) EXPECT_EQ(At(Row(x), 128, i), 0.0f);
  x[3] = 1e-38f;
  EXPECT_EQ(At(Row(x), 128, 3), 0.0f);
  x[3] = 1e30f;
  EXPECT_NEAR(At(Row(x), 128, 3), 1e30f, 1e24f);
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    x[3] = bad;
    EXPECT_TRUE(std::isnan(At(Row(x), 128, 5)));
    EXPECT_EQ(At(Row(x), 128, 70), 0.0f);
  }
}

}  // namespace
}  // namespace culet
