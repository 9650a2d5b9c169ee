// What SIMDe 0.7.4 (Debian 12) lacks of AVX-512, a lane at a time.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace culet::emulated {

template <typename T, std::size_t kCount>
using Lanes = std::array<T, kCount>;

// All of a vector as its lanes, and back.
template <typename T, typename Vector>
inline auto Of(const Vector& v) {
  Lanes<T, sizeof(Vector) / sizeof(T)> lanes;
  std::memcpy(lanes.data(), &v, sizeof(v));
  return lanes;
}
template <typename Vector, typename T, std::size_t kCount>
inline Vector To(const Lanes<T, kCount>& lanes) {
  static_assert(sizeof(lanes) == sizeof(Vector));
  Vector v;
  std::memcpy(&v, lanes.data(), sizeof(v));
  return v;
}
template <typename Vector, typename Out, typename In, std::size_t kCount, typename Function>
inline Vector Map(const Lanes<In, kCount>& in, const Function& function) {
  Lanes<Out, kCount> out;
  std::transform(in.begin(), in.end(), out.begin(), function);
  return To<Vector>(out);
}

template <typename Vector, typename T>
inline Vector MaskLoad(std::uint64_t mask, const void* p) {
  Lanes<T, sizeof(Vector) / sizeof(T)> lanes = {};
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    if (mask >> i & 1) std::memcpy(&lanes[i], static_cast<const T*>(p) + i, sizeof(T));
  }
  return To<Vector>(lanes);
}
template <typename Vector, typename T>
inline void MaskStore(void* p, std::uint64_t mask, const Vector& v) {
  const auto lanes = Of<T>(v);
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    if (mask >> i & 1) std::memcpy(static_cast<T*>(p) + i, &lanes[i], sizeof(T));
  }
}

// Nearest, ties to even; what is no number, or none of 32 bits, is the smallest.
inline std::int32_t ToInt(float x) {
  const bool fits = x >= -2147483648.0f && x < 2147483648.0f;
  return fits ? static_cast<std::int32_t>(std::nearbyint(x)) : INT32_MIN;
}
// VCVTNE2PS2BF16: subnormals are zero, what is no number stays so.
inline std::uint16_t ToBf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7f800000) == 0) return static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  if (std::isnan(x)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline __m512 Shuffle(__m512 a, __m512 b, int imm) {
  const auto from_a = Of<float>(a), from_b = Of<float>(b);
  Lanes<float, 16> out;
  for (std::size_t i = 0; i < 16; ++i) {
    const auto quarter = static_cast<std::size_t>(imm >> (i / 4 * 2) & 3);
    out[i] = (i < 8 ? from_a : from_b)[quarter * 4 + i % 4];
  }
  return To<__m512>(out);
}
inline __m512bh NarrowTwo(__m512 high, __m512 low) {
  const auto l = Of<float>(low), h = Of<float>(high);
  Lanes<std::uint16_t, 32> out;
  for (std::size_t i = 0; i < 32; ++i) out[i] = ToBf16(i < 16 ? l[i] : h[i - 16]);
  return To<__m512bh>(out);
}
template <typename T, typename Vector>
inline T Most(const Vector& v) {
  const auto lanes = Of<T>(v);
  return *std::max_element(lanes.begin(), lanes.end());
}
inline __m256 Half(__m512 v, int which) {
  const auto lanes = Of<float>(v);
  Lanes<float, 8> out;
  std::copy_n(lanes.begin() + which * 8, 8, out.begin());
  return To<__m256>(out);
}

inline __m512 IntsToFloats(__m512i v) {
  return Map<__m512, float>(Of<std::int32_t>(v),
                            [](std::int32_t x) { return static_cast<float>(x); });
}
inline __m512i FloatsToInts(__m512 v) { return Map<__m512i, std::int32_t>(Of<float>(v), ToInt); }
template <typename Vector, typename Out, typename In, typename From>
inline Vector Converted(const From& v) {
  return Map<Vector, Out>(Of<In>(v), [](In x) { return static_cast<Out>(x); });
}
inline __m512 HalvesToFloats(__m256i v) {
  return Map<__m512, float>(Of<std::uint16_t>(v), [](std::uint16_t x) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(x)));
  });
}

}  // namespace culet::emulated

#define _mm256_mask_storeu_epi16(p, mask, v) \
  culet::emulated::MaskStore<__m256i, std::uint16_t>(p, mask, v)
#define _mm256_maskz_loadu_epi16(mask, p) culet::emulated::MaskLoad<__m256i, std::uint16_t>(mask, p)
#define _mm512_maskz_loadu_epi16(mask, p) culet::emulated::MaskLoad<__m512i, std::uint16_t>(mask, p)
#define _mm512_maskz_loadu_ps(mask, p) culet::emulated::MaskLoad<__m512, float>(mask, p)
#define _mm512_mask_storeu_ps(p, mask, v) culet::emulated::MaskStore<__m512, float>(p, mask, v)
#define _mm512_cvtepi32_epi16(v) culet::emulated::Converted<__m256i, std::int16_t, std::int32_t>(v)
#define _mm512_cvtepi32_epi8(v) culet::emulated::Converted<__m128i, std::int8_t, std::int32_t>(v)
#define _mm512_cvtepi8_epi32(v) culet::emulated::Converted<__m512i, std::int32_t, std::int8_t>(v)
#define _mm512_cvtepu16_epi32(v) culet::emulated::Converted<__m512i, std::int32_t, std::uint16_t>(v)
#define _mm512_cvtepi32_ps(v) culet::emulated::IntsToFloats(v)
#define _mm512_cvtps_epi32(v) culet::emulated::FloatsToInts(v)
#define _mm512_cvtph_ps(v) culet::emulated::HalvesToFloats(v)
#define _mm512_cvtne2ps_pbh(high, low) culet::emulated::NarrowTwo(high, low)
#define _mm512_extractf32x8_ps(v, which) culet::emulated::Half(v, which)
#define _mm512_shuffle_f32x4(a, b, imm) culet::emulated::Shuffle(a, b, imm)
#define _mm512_reduce_max_ps(v) culet::emulated::Most<float>(v)
#define _mm512_reduce_max_epi32(v) culet::emulated::Most<std::int32_t>(v)
