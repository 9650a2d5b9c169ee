// Number formats of weights and caches, and the conversions that everything shares.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace culet {

// culet computes with the first three; the others are known so that files which hold them beside
// can be checked.
enum class DType {
  kF32,
  kBF16,
  kF16,
  kF64,
  kC64,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
};

// Bytes of one element.
std::size_t DTypeBytes(DType dtype);
// The name used by safetensors: "F32", "BF16", …
std::string_view DTypeName(DType dtype);
// The dtype of a safetensors name; nothing if culet does not know it.
std::optional<DType> DTypeFromName(std::string_view name);

// bf16 is the upper half of an f32.
inline float Bf16ToF32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Round to nearest, ties to even; NaN stays NaN (quiet).
inline std::uint16_t F32ToBf16(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<std::uint16_t>(bits >> 16);
}

// `value` as a bf16 can hold it.
inline float RoundToBf16(float value) { return Bf16ToF32(F32ToBf16(value)); }

// IEEE half precision to f32, exact (subnormals, infinities and NaN included).
float F16ToF32(std::uint16_t bits);

// Element `index` of F32, BF16 or F16 values, which need not be aligned.
float ElementAsF32(DType dtype, const std::byte* data, std::size_t index);

}  // namespace culet
