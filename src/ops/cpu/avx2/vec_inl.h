// The vocabulary of vectors for AVX2, FMA and F16C: 8 lanes of f32. Included inside a target region
// and the ISA's namespace; avx512/vec_inl.h has the same names, and the comments.

// Registers: 12 sums of a tile, 4 for what they are fed with.
inline constexpr int kLanes = 8;
inline constexpr int kTileRows = 3;

struct F32 {
  __m256 v;
};

// All ones in the first n lanes.
CULET_INLINE __m256i FirstLanes(std::int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

CULET_INLINE F32 Zero() { return {_mm256_setzero_ps()}; }
CULET_INLINE F32 Set(float value) { return {_mm256_set1_ps(value)}; }
CULET_INLINE F32 Load(const float* p) { return {_mm256_loadu_ps(p)}; }
CULET_INLINE void Store(float* p, F32 a) { _mm256_storeu_ps(p, a.v); }
CULET_INLINE F32 LoadN(const float* p, std::int64_t n) {
  return {_mm256_maskload_ps(p, FirstLanes(n))};
}
CULET_INLINE void StoreN(float* p, F32 a, std::int64_t n) {
  _mm256_maskstore_ps(p, FirstLanes(n), a.v);
}

// The first n of 8 16-bit values; AVX2 has no masked load of them.
CULET_INLINE __m128i Load16N(const std::uint16_t* p, std::int64_t n) {
  alignas(16) std::uint16_t values[8] = {};
  std::memcpy(values, p, static_cast<std::size_t>(n) * sizeof(std::uint16_t));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(values));
}
CULET_INLINE __m128i Load16(const std::uint16_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

CULET_INLINE F32 WidenBf16(__m128i bits) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
}
CULET_INLINE F32 LoadBf16(const std::uint16_t* p) { return WidenBf16(Load16(p)); }
CULET_INLINE F32 LoadBf16N(const std::uint16_t* p, std::int64_t n) {
  return WidenBf16(Load16N(p, n));
}
CULET_INLINE F32 LoadF16(const std::uint16_t* p) { return {_mm256_cvtph_ps(Load16(p))}; }
CULET_INLINE F32 LoadF16N(const std::uint16_t* p, std::int64_t n) {
  return {_mm256_cvtph_ps(Load16N(p, n))};
}

CULET_INLINE F32 LoadI8(const std::byte* p) {
  return {_mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
}
CULET_INLINE F32 LoadI8N(const std::byte* p, std::int64_t n) {
  alignas(16) std::byte values[16] = {};
  std::memcpy(values, p, static_cast<std::size_t>(n));
  return LoadI8(values);
}

CULET_INLINE __m256i RoundedBf16Bits(F32 a) {
  const __m256i bits = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, quiet, nan);
}
CULET_INLINE __m128i NarrowBf16(F32 a) {
  const __m256i high = _mm256_srli_epi32(RoundedBf16Bits(a), 16);
  const __m256i packed = _mm256_packus_epi32(high, high);  // within 128-bit halves
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}
CULET_INLINE void StoreBf16(std::uint16_t* p, F32 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), NarrowBf16(a));
}
CULET_INLINE void StoreBf16N(std::uint16_t* p, F32 a, std::int64_t n) {
  alignas(16) std::uint16_t values[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(values), NarrowBf16(a));
  std::memcpy(p, values, static_cast<std::size_t>(n) * sizeof(std::uint16_t));
}
CULET_INLINE F32 RoundBf16(F32 a) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(RoundedBf16Bits(a), mask))};
}

CULET_INLINE F32 Add(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
CULET_INLINE F32 Sub(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
CULET_INLINE F32 Mul(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
CULET_INLINE F32 Div(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
CULET_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
CULET_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
CULET_INLINE F32 Min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
CULET_INLINE F32 Max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
CULET_INLINE F32 SignMask() { return {_mm256_castsi256_ps(_mm256_set1_epi32(INT32_MIN))}; }
CULET_INLINE F32 Abs(F32 a) { return {_mm256_andnot_ps(SignMask().v, a.v)}; }
CULET_INLINE F32 CopySign(F32 magnitude, F32 sign) {
  const __m256 mask = SignMask().v;
  return {_mm256_or_ps(_mm256_andnot_ps(mask, magnitude.v), _mm256_and_ps(mask, sign.v))};
}
CULET_INLINE F32 IfLess(F32 a, F32 b, F32 yes, F32 no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
CULET_INLINE F32 KeepLanes(F32 a, F32 other, std::int64_t begin, std::int64_t end) {
  const __m256i mask = _mm256_andnot_si256(FirstLanes(begin), FirstLanes(end));
  return {_mm256_blendv_ps(other.v, a.v, _mm256_castsi256_ps(mask))};
}
CULET_INLINE F32 RoundToInt(F32 a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// For |n| ≤ 252: in two halves, as 2^n itself may not be a normal number.
CULET_INLINE F32 Ldexp(F32 a, F32 n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v);
  const __m256i first = _mm256_srai_epi32(whole, 1);
  const __m256i second = _mm256_sub_epi32(whole, first);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256 p = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(first, bias), 23));
  const __m256 q = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(second, bias), 23));
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, p), q)};
}

CULET_INLINE float ReduceMax(F32 a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}
CULET_INLINE Four Reduce4(F32 a, F32 b, F32 c, F32 d) {
  const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v));
  const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c.v, d.v), _mm256_unpackhi_ps(c.v, d.v));
  const __m256 halves = _mm256_add_ps(
      _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd))),
      _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd))));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}
CULET_INLINE float ReduceAdd(F32 a) { return _mm_cvtss_f32(Reduce4(a, a, a, a)); }
