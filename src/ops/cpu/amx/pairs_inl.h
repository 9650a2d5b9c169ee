// Pairs of bf16, as tiles take them, and turning them round. Included after avx512/vec_inl.h.

// 32 values in bf16; subnormals are zero to the unit.
CULET_INLINE __m512i NarrowStep(__m512 low, __m512 high) {
  const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
  __m512i bits;
  std::memcpy(&bits, &both, sizeof(bits));
  return bits;
}
// Turns [16, 16] numbers of 32 bits round.
CULET_INLINE void Transpose(const float* from, __m512* columns) {
  __m512 a[16];
  for (int i = 0; i < 16; i += 2) {
    const __m512 even = _mm512_loadu_ps(from + i * 16);
    const __m512 odd = _mm512_loadu_ps(from + i * 16 + 16);
    a[i] = _mm512_unpacklo_ps(even, odd);
    a[i + 1] = _mm512_unpackhi_ps(even, odd);
  }
  // Quarter q of b[4i + j]: rows 4i … 4i + 3 of column 4q + j.
  __m512 b[16];
  for (int i = 0; i < 16; i += 4) {
    const __m512d low0 = _mm512_castps_pd(a[i]), low1 = _mm512_castps_pd(a[i + 2]);
    const __m512d high0 = _mm512_castps_pd(a[i + 1]), high1 = _mm512_castps_pd(a[i + 3]);
    b[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low0, low1));
    b[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low0, low1));
    b[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high0, high1));
    b[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high0, high1));
  }
  for (int j = 0; j < 4; ++j) {
    const __m512 first = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x44);  // quarters 0, 1
    const __m512 second = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x44);
    const __m512 third = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xee);  // quarters 2, 3
    const __m512 fourth = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xee);
    columns[j] = _mm512_shuffle_f32x4(first, second, 0x88);
    columns[4 + j] = _mm512_shuffle_f32x4(first, second, 0xdd);
    columns[8 + j] = _mm512_shuffle_f32x4(third, fourth, 0x88);
    columns[12 + j] = _mm512_shuffle_f32x4(third, fourth, 0xdd);
  }
}
