#include "base/dtype.h"

#include <array>
#include <cmath>

namespace culet {
namespace {

struct DTypeRow {
  DType dtype;
  std::size_t bytes;
  std::string_view name;
};

constexpr std::array<DTypeRow, 10> kDTypes = {{{DType::kF32, 4, "F32"},
                                               {DType::kBF16, 2, "BF16"},
                                               {DType::kF16, 2, "F16"},
                                               {DType::kF64, 8, "F64"},
                                               {DType::kI64, 8, "I64"},
                                               {DType::kI32, 4, "I32"},
                                               {DType::kI16, 2, "I16"},
                                               {DType::kI8, 1, "I8"},
                                               {DType::kU8, 1, "U8"},
                                               {DType::kBool, 1, "BOOL"}}};

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

}  // namespace culet
