// If this fails, numbers change on their way between formats, or a size of a file overflows unseen.
#include "base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "base/checked.h"

namespace culet {
namespace {

TEST(DType, NamesAndBytesGoBothWays) {
  for (int number = 0; number <= static_cast<int>(DType::kBool); ++number) {
    const DType dtype = static_cast<DType>(number);
    EXPECT_EQ(DTypeFromName(DTypeName(dtype)), dtype) << number;
  }
  const std::pair<const char*, std::size_t> sizes[] = {
      {"F32", 4},     {"BF16", 2},    {"F16", 2},     {"F64", 8},         {"C64", 8},
      {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1},
      {"I64", 8},     {"I32", 4},     {"I16", 2},     {"I8", 1},          {"U64", 8},
      {"U32", 4},     {"U16", 2},     {"U8", 1},      {"BOOL", 1}};
  ASSERT_EQ(std::size(sizes), static_cast<std::size_t>(DType::kBool) + 1);
  for (const auto& [name, bytes] : sizes)
    EXPECT_EQ(DTypeBytes(*DTypeFromName(name)), bytes) << name;
  EXPECT_EQ(DTypeFromName("F4"), std::nullopt) << "half a byte";
  EXPECT_EQ(DTypeFromName("f32"), std::nullopt);
}

TEST(ElementAsF32, ReadsEachFormatAtAnyAddress) {
  // One byte in front, so that nothing is aligned.
  const unsigned char f32[] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f};
  const unsigned char bf16[] = {0, 0, 0, 0x80, 0xbf};
  const unsigned char f16[] = {0, 0, 0, 0x00, 0x3e};
  const auto at = [](const unsigned char* bytes) {
    return reinterpret_cast<const std::byte*>(bytes) + 1;
  };
  EXPECT_EQ(ElementAsF32(DType::kF32, at(f32), 1), 1.0f);
  EXPECT_EQ(ElementAsF32(DType::kBF16, at(bf16), 1), -1.0f);
  EXPECT_EQ(ElementAsF32(DType::kF16, at(f16), 1), 1.5f);
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
