// If this fails, numbers change on their way between formats, or a size of a file overflows unseen.
#include "base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/checked.h"

namespace culet {
namespace {

TEST(DType, NamesAndBytesGoBothWays) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI64,
                            DType::kI32, DType::kI16, DType::kI8, DType::kU8, DType::kBool}) {
    EXPECT_EQ(DTypeFromName(DTypeName(dtype)), dtype);
    EXPECT_TRUE(DTypeBytes(dtype) >= 1 && DTypeBytes(dtype) <= 8);
  }
  EXPECT_EQ(DTypeFromName("F8_E4M3"), std::nullopt);
  EXPECT_EQ(DTypeFromName("f32"), std::nullopt);
}

TEST(Bf16, EveryValueComesBackAndRoundingTakesTheNearestWithTiesToEven) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const std::uint16_t half = static_cast<std::uint16_t>(bits);
    const float value = Bf16ToF32(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(RoundToBf16(value)));
    } else {
      EXPECT_EQ(F32ToBf16(value), half);
    }
  }
  const float step = 0x1p-7f;  // between neighbours at 1
  EXPECT_EQ(RoundToBf16(1 + step / 2), 1.0f);
  EXPECT_EQ(RoundToBf16(1 + 3 * step / 2), 1 + 2 * step);
  EXPECT_EQ(RoundToBf16(std::nextafter(1 + step / 2, 2.0f)), 1 + step);
  EXPECT_EQ(RoundToBf16(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(RoundToBf16(std::numeric_limits<float>::denorm_min()), 0.0f);
}

TEST(Bf16, ANanWhosePayloadIsBelowTheCutStaysANan) {
  EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(std::bit_cast<float>(0xff80ffffu)))));
}

TEST(F16, EveryValueIsTheFormula) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const int fraction = static_cast<int>(bits & 1023);
    const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
    const float value = F16ToF32(static_cast<std::uint16_t>(bits));
    if (exponent == 31) {
      EXPECT_TRUE(fraction != 0 ? std::isnan(value) : std::isinf(value) && value * sign > 0);
    } else {
      const float magnitude =
          exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                        : std::ldexp(1024.0f + static_cast<float>(fraction), exponent - 25);
      ASSERT_EQ(value, sign * magnitude) << bits;
      EXPECT_EQ(std::signbit(value), sign < 0);
    }
  }
}

TEST(Checked, OverflowIsSeen) {
  EXPECT_EQ(CheckedMul(1u << 31, 2), std::uint64_t{1} << 32);
  EXPECT_EQ(CheckedMul(UINT64_MAX, 1), UINT64_MAX);
  EXPECT_EQ(CheckedMul(std::uint64_t{1} << 32, std::uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(CheckedAdd(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(CheckedAdd(UINT64_MAX - 1, 1), UINT64_MAX);
}

}  // namespace
}  // namespace culet
