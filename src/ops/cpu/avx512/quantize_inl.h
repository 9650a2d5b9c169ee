// Groups of x to int8, as ops/cpu/quantized_rows.h defines it, for the levels that have AVX-512.
// Included after avx512/vec_inl.h and <cmath>.

// The 32 values of a group, −128 … 127.
CULET_INLINE void StoreGroup(const __m512i* n, std::int8_t* q) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtepi32_epi8(n[0]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 16), _mm512_cvtepi32_epi8(n[1]));
}

// By bits: they order as the numbers do, NaN above all.
CULET_INLINE float MaxMagnitude32(const float* x) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i first = _mm512_castps_si512(_mm512_loadu_ps(x));
  const __m512i second = _mm512_castps_si512(_mm512_loadu_ps(x + 16));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(
      _mm512_max_epi32(_mm512_and_si512(first, magnitude), _mm512_and_si512(second, magnitude))))));
}

CULET_INLINE void Quantize32(float max_abs, const float* x, std::int8_t* q, QuantGroup* group) {
  const __m512 inverse = _mm512_set1_ps(127.0f / max_abs);
  const __m512i n[2] = {_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), inverse)),
                        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), inverse))};
  group->scale = max_abs / 127.0f;
  StoreGroup(n, q);
}

CULET_INLINE void Quantize32To(float scale, const float* x, std::int8_t* q, QuantGroup* group) {
  const __m512 width = _mm512_set1_ps(scale);
  __m512i n[2];
  unsigned odd = 0;  // lanes that are no number
  for (int i = 0; i < 2; ++i) {
    const __m512 steps = _mm512_div_ps(_mm512_loadu_ps(x + 16 * i), width);
    odd |= _mm512_cmp_ps_mask(steps, steps, _CMP_UNORD_Q);
    n[i] = _mm512_cvtps_epi32(
        _mm512_min_ps(_mm512_max_ps(steps, _mm512_set1_ps(-128.0f)), _mm512_set1_ps(127.0f)));
  }
  if (odd != 0) {
    QuantizeGroupTo(scale, x, kQuantBlock, q, group);
    return;
  }
  group->scale = scale;
  StoreGroup(n, q);
}
