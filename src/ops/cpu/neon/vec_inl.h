// The vocabulary of vectors for NEON (Advanced SIMD of Armv8.0): 4 lanes of f32. Included inside
// the ISA's namespace; avx512/vec_inl.h has the same names, and the comments.

// Registers: 32, so 24 sums of a tile, the rest for what they are fed with.
inline constexpr int kLanes = 4;
inline constexpr int kTileRows = 6;

struct F32 {
  float32x4_t v;
};

CULET_INLINE F32 Zero() { return {vdupq_n_f32(0)}; }
CULET_INLINE F32 Set(float value) { return {vdupq_n_f32(value)}; }
CULET_INLINE F32 Load(const float* p) { return {vld1q_f32(p)}; }
CULET_INLINE void Store(float* p, F32 a) { vst1q_f32(p, a.v); }
// There are no masked loads and stores: by way of an array.
CULET_INLINE F32 LoadN(const float* p, std::int64_t n) {
  float values[kLanes] = {};
  std::memcpy(values, p, static_cast<std::size_t>(n) * sizeof(float));
  return Load(values);
}
CULET_INLINE void StoreN(float* p, F32 a, std::int64_t n) {
  float values[kLanes];
  Store(values, a);
  std::memcpy(p, values, static_cast<std::size_t>(n) * sizeof(float));
}
CULET_INLINE uint16x4_t Load16N(const std::uint16_t* p, std::int64_t n) {
  std::uint16_t values[kLanes] = {};
  std::memcpy(values, p, static_cast<std::size_t>(n) * sizeof(std::uint16_t));
  return vld1_u16(values);
}

CULET_INLINE F32 WidenBf16(uint16x4_t bits) {
  return {vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(bits), 16))};
}
CULET_INLINE F32 LoadBf16(const std::uint16_t* p) { return WidenBf16(vld1_u16(p)); }
CULET_INLINE F32 LoadBf16N(const std::uint16_t* p, std::int64_t n) {
  return WidenBf16(Load16N(p, n));
}
CULET_INLINE F32 WidenF16(uint16x4_t bits) { return {vcvt_f32_f16(vreinterpret_f16_u16(bits))}; }
CULET_INLINE F32 LoadF16(const std::uint16_t* p) { return WidenF16(vld1_u16(p)); }
CULET_INLINE F32 LoadF16N(const std::uint16_t* p, std::int64_t n) {
  return WidenF16(Load16N(p, n));
}
CULET_INLINE F32 LoadI8N(const std::byte* p, std::int64_t n) {
  std::int8_t values[8] = {};
  std::memcpy(values, p, static_cast<std::size_t>(n));
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(values)))))};
}
CULET_INLINE F32 LoadI8(const std::byte* p) { return LoadI8N(p, kLanes); }

CULET_INLINE uint16x4_t NarrowBf16(F32 a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a.v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(a.v, a.v), rounded, quiet), 16);
}
CULET_INLINE void StoreBf16(std::uint16_t* p, F32 a) { vst1_u16(p, NarrowBf16(a)); }
CULET_INLINE void StoreBf16N(std::uint16_t* p, F32 a, std::int64_t n) {
  std::uint16_t values[kLanes];
  StoreBf16(values, a);
  std::memcpy(p, values, static_cast<std::size_t>(n) * sizeof(std::uint16_t));
}
CULET_INLINE F32 RoundBf16(F32 a) { return WidenBf16(NarrowBf16(a)); }

CULET_INLINE F32 Add(F32 a, F32 b) { return {vaddq_f32(a.v, b.v)}; }
CULET_INLINE F32 Sub(F32 a, F32 b) { return {vsubq_f32(a.v, b.v)}; }
CULET_INLINE F32 Mul(F32 a, F32 b) { return {vmulq_f32(a.v, b.v)}; }
CULET_INLINE F32 Div(F32 a, F32 b) { return {vdivq_f32(a.v, b.v)}; }
CULET_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
CULET_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
CULET_INLINE F32 Min(F32 a, F32 b) { return {vminq_f32(a.v, b.v)}; }
CULET_INLINE F32 Max(F32 a, F32 b) { return {vmaxq_f32(a.v, b.v)}; }
CULET_INLINE F32 Abs(F32 a) { return {vabsq_f32(a.v)}; }
CULET_INLINE F32 CopySign(F32 magnitude, F32 sign) {
  return {vbslq_f32(vdupq_n_u32(0x80000000u), sign.v, magnitude.v)};
}
CULET_INLINE F32 IfLess(F32 a, F32 b, F32 yes, F32 no) {
  return {vbslq_f32(vcltq_f32(a.v, b.v), yes.v, no.v)};
}
CULET_INLINE F32 KeepLanes(F32 a, F32 other, std::int64_t begin, std::int64_t end) {
  constexpr std::int32_t kNumbers[kLanes] = {0, 1, 2, 3};
  const int32x4_t lane = vld1q_s32(kNumbers);
  const uint32x4_t from = vcgeq_s32(lane, vdupq_n_s32(static_cast<std::int32_t>(begin)));
  const uint32x4_t to = vcltq_s32(lane, vdupq_n_s32(static_cast<std::int32_t>(end)));
  return {vbslq_f32(vandq_u32(from, to), a.v, other.v)};
}
CULET_INLINE F32 RoundToInt(F32 a) { return {vrndnq_f32(a.v)}; }
// For |n| ≤ 252: in two halves, as 2^n itself may not be a normal number.
CULET_INLINE F32 Ldexp(F32 a, F32 n) {
  const int32x4_t whole = vcvtnq_s32_f32(n.v);
  const int32x4_t first = vshrq_n_s32(whole, 1);
  const int32x4_t second = vsubq_s32(whole, first);
  const int32x4_t bias = vdupq_n_s32(127);
  const float32x4_t p = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(first, bias), 23));
  const float32x4_t q = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(second, bias), 23));
  return {vmulq_f32(vmulq_f32(a.v, p), q)};
}

CULET_INLINE float ReduceMax(F32 a) { return vmaxvq_f32(a.v); }
CULET_INLINE Four Reduce4(F32 a, F32 b, F32 c, F32 d) {
  return vpaddq_f32(vpaddq_f32(a.v, b.v), vpaddq_f32(c.v, d.v));
}
CULET_INLINE float ReduceAdd(F32 a) { return vgetq_lane_f32(Reduce4(a, a, a, a), 0); }
