// The vocabulary of vectors for AVX-512: 16 lanes of f32. Included inside a target region and an
// ISA's namespace; avx2/vec_inl.h and neon/vec_inl.h have the same names.

// Registers: 24 sums of a tile, the rest for what they are fed with.
inline constexpr int kLanes = 16;
inline constexpr int kTileRows = 6;

struct F32 {
  __m512 v;
};

CULET_INLINE __mmask16 FirstLanes(std::int64_t n) {
  return static_cast<__mmask16>((1u << static_cast<unsigned>(n)) - 1u);
}

CULET_INLINE F32 Zero() { return {_mm512_setzero_ps()}; }
CULET_INLINE F32 Set(float value) { return {_mm512_set1_ps(value)}; }
CULET_INLINE F32 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
CULET_INLINE void Store(float* p, F32 a) { _mm512_storeu_ps(p, a.v); }
// The first n lanes, 0 < n < kLanes; the others read as zero and are not touched in memory.
CULET_INLINE F32 LoadN(const float* p, std::int64_t n) {
  return {_mm512_maskz_loadu_ps(FirstLanes(n), p)};
}
CULET_INLINE void StoreN(float* p, F32 a, std::int64_t n) {
  _mm512_mask_storeu_ps(p, FirstLanes(n), a.v);
}

CULET_INLINE F32 WidenBf16(__m256i bits) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
CULET_INLINE F32 LoadBf16(const std::uint16_t* p) {
  return WidenBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
CULET_INLINE F32 LoadBf16N(const std::uint16_t* p, std::int64_t n) {
  return WidenBf16(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
}
// The scales of a tile of integer weights, in bf16 or f32.
template <bool kWide>
CULET_INLINE __m512 LoadScales(const std::byte* p) {
  if (kWide) return _mm512_loadu_ps(p);
  return LoadBf16(reinterpret_cast<const std::uint16_t*>(p)).v;
}
CULET_INLINE F32 LoadF16(const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
CULET_INLINE F32 LoadF16N(const std::uint16_t* p, std::int64_t n) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(FirstLanes(n), p))};
}
CULET_INLINE F32 LoadI8(const std::byte* p) {
  return {_mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
CULET_INLINE F32 LoadI8N(const std::byte* p, std::int64_t n) {
  alignas(16) std::byte values[16] = {};
  std::memcpy(values, p, static_cast<std::size_t>(n));
  return LoadI8(values);
}

// Nearest, ties to even; NaN stays NaN.
CULET_INLINE __m256i NarrowBf16(F32 a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i result = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16));
}
CULET_INLINE void StoreBf16(std::uint16_t* p, F32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), NarrowBf16(a));
}
CULET_INLINE void StoreBf16N(std::uint16_t* p, F32 a, std::int64_t n) {
  _mm256_mask_storeu_epi16(p, FirstLanes(n), NarrowBf16(a));
}
// The value that a bf16 would hold, kept in f32.
CULET_INLINE F32 RoundBf16(F32 a) { return WidenBf16(NarrowBf16(a)); }

CULET_INLINE F32 Add(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
CULET_INLINE F32 Sub(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
CULET_INLINE F32 Mul(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
CULET_INLINE F32 Div(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
// a·b + c and c − a·b, rounded once.
CULET_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
CULET_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
// NaN where b is. Where only a is, NaN or b.
CULET_INLINE F32 Min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
CULET_INLINE F32 Max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
CULET_INLINE F32 Abs(F32 a) { return {_mm512_abs_ps(a.v)}; }
CULET_INLINE F32 CopySign(F32 magnitude, F32 sign) {
  const __m512 mask = _mm512_castsi512_ps(_mm512_set1_epi32(INT32_MIN));
  return {_mm512_or_ps(_mm512_andnot_ps(mask, magnitude.v), _mm512_and_ps(mask, sign.v))};
}
// yes where a < b, else no.
CULET_INLINE F32 IfLess(F32 a, F32 b, F32 yes, F32 no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
// a in lanes [begin, end), other elsewhere; 0 ≤ begin, end ≤ kLanes after clamping.
CULET_INLINE F32 KeepLanes(F32 a, F32 other, std::int64_t begin, std::int64_t end) {
  begin = begin < 0 ? 0 : begin > kLanes ? kLanes : begin;
  end = end < 0 ? 0 : end > kLanes ? kLanes : end;
  const auto mask = static_cast<__mmask16>(FirstLanes(end) & ~FirstLanes(begin));
  return {_mm512_mask_blend_ps(mask, other.v, a.v)};
}
CULET_INLINE F32 RoundToInt(F32 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a·2^n for integral n, with infinities and subnormals as they fall.
CULET_INLINE F32 Ldexp(F32 a, F32 n) { return {_mm512_scalef_ps(a.v, n.v)}; }

CULET_INLINE float ReduceMax(F32 a) { return _mm512_reduce_max_ps(a.v); }

// The sums of four vectors, each in the same fixed order: lanes i and i+2 of each quarter, then
// both of these, then quarters 0+2 and 1+3, then both. What stands in the other three does not
// matter.
CULET_INLINE Four Reduce4(F32 a, F32 b, F32 c, F32 d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a.v, b.v), _mm512_unpackhi_ps(a.v, b.v));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c.v, d.v), _mm512_unpackhi_ps(c.v, d.v));
  const __m512 quarters = _mm512_add_ps(
      _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))),
      _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))));
  const __m256 halves =
      _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}
CULET_INLINE float ReduceAdd(F32 a) { return _mm_cvtss_f32(Reduce4(a, a, a, a)); }
