#include "base/dtype.h"

#include <cmath>
#include <cstring>

namespace culet {
namespace {

struct DTypeRow {
  DType dtype;
  std::size_t bytes;
  std::string_view name;
};

// In the order of the enumeration.
constexpr DTypeRow kDTypes[] = {{DType::kF32, 4, "F32"},
                                {DType::kBF16, 2, "BF16"},
                                {DType::kF16, 2, "F16"},
                                {DType::kF64, 8, "F64"},
                                {DType::kC64, 8, "C64"},
                                {DType::kF8E4M3, 1, "F8_E4M3"},
                                {DType::kF8E5M2, 1, "F8_E5M2"},
                                {DType::kF8E8M0, 1, "F8_E8M0"},
                                {DType::kF8E4M3Fnuz, 1, "F8_E4M3FNUZ"},
                                {DType::kF8E5M2Fnuz, 1, "F8_E5M2FNUZ"},
                                {DType::kI64, 8, "I64"},
                                {DType::kI32, 4, "I32"},
                                {DType::kI16, 2, "I16"},
                                {DType::kI8, 1, "I8"},
                                {DType::kU64, 8, "U64"},
                                {DType::kU32, 4, "U32"},
                                {DType::kU16, 2, "U16"},
                                {DType::kU8, 1, "U8"},
                                {DType::kBool, 1, "BOOL"}};

const DTypeRow& Row(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)]; }

}  // namespace

std::size_t DTypeBytes(DType dtype) { return Row(dtype).bytes; }
std::string_view DTypeName(DType dtype) { return Row(dtype).name; }

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

float F16ToF32(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const int fraction = bits & 0x3ff;
  const float sign = (bits & 0x8000) ? -1.0f : 1.0f;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  if (exponent == 31) {
    return std::bit_cast<float>((static_cast<std::uint32_t>(bits & 0x8000) << 16) | 0x7f800000u |
                                (static_cast<std::uint32_t>(fraction) << 13));
  }
  return sign * std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
}

float ElementAsF32(DType dtype, const std::byte* data, std::size_t index) {
  const std::byte* at = data + index * DTypeBytes(dtype);
  if (dtype == DType::kF32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  return dtype == DType::kBF16 ? Bf16ToF32(bits) : F16ToF32(bits);
}

}  // namespace culet
