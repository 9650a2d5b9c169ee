// Row kernels of the media encoders over the vocabulary (see ops/encoder.h for the formulas).
// Included after rows_inl.h.

inline void Clamp(const float* x, float low, float high, float* out, std::int64_t n) {
  const F32 least = Set(low);
  const F32 most = Set(high);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    // In this order a NaN stays one, as in the reference.
    StorePart(out + i, Min(most, Max(least, LoadPart(x + i, n - i))), n - i);
  }
}

// Σ (x − shift)² or Σ x, in four chains.
template <bool kSquares>
CULET_INLINE float SumOf(const float* x, float shift, std::int64_t n) {
  const F32 middle = Set(shift);
  F32 sums[4] = {Zero(), Zero(), Zero(), Zero()};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int chain = 0; chain < 4; ++chain) {
      const F32 value = Sub(Load(x + i + chain * kLanes), middle);
      sums[chain] = kSquares ? Fma(value, value, sums[chain]) : Add(sums[chain], value);
    }
  }
  for (; i < n; i += kLanes) {
    const std::int64_t left = n - i;
    const F32 all = Sub(LoadPart(x + i, left), middle);
    const F32 value = left >= kLanes ? all : KeepLanes(all, Zero(), 0, left);
    sums[0] = kSquares ? Fma(value, value, sums[0]) : Add(sums[0], value);
  }
  return ReduceAdd(Add(Add(sums[0], sums[1]), Add(sums[2], sums[3])));
}

inline void LayerNorm(const float* x, const float* w, const float* b, float eps, float* out,
                      std::int64_t n) {
  const float count = static_cast<float>(n);
  const float mean = SumOf<false>(x, 0.0f, n) / count;
  const float variance = SumOf<true>(x, mean, n) / count;
  const F32 middle = Set(mean);
  const F32 inverse = Set(1.0f / std::sqrt(variance + eps));
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t left = n - i;
    const F32 normed = Mul(Sub(LoadPart(x + i, left), middle), inverse);
    const F32 bias = b != nullptr ? LoadPart(b + i, left) : Zero();
    StorePart(out + i, Fma(normed, LoadPart(w + i, left), bias), left);
  }
}

inline void Standardize(const float* x, const float* shift, const float* scale, float* out,
                        std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t left = n - i;
    const F32 moved = Sub(LoadPart(x + i, left), LoadPart(shift + i, left));
    StorePart(out + i, Mul(moved, LoadPart(scale + i, left)), left);
  }
}

// a · σ(t) = a / (1 + e^(−t))
CULET_INLINE F32 Gated(F32 a, F32 t) { return Div(a, Add(Set(1.0f), Exp(Sub(Zero(), t)))); }

inline void Silu(const float* x, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const F32 value = LoadPart(x + i, n - i);
    StorePart(out + i, Gated(value, value), n - i);
  }
}

inline void Glu(const float* x, const float* gate, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    StorePart(out + i, Gated(LoadPart(x + i, n - i), LoadPart(gate + i, n - i)), n - i);
  }
}

inline void MulAdd(const float* a, const float* b, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t left = n - i;
    StorePart(out + i, Fma(LoadPart(a + i, left), LoadPart(b + i, left), LoadPart(out + i, left)),
              left);
  }
}

inline void Dot(const float* a, const float* b, float* out, std::int64_t n) {
  F32 sums[4] = {Zero(), Zero(), Zero(), Zero()};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int chain = 0; chain < 4; ++chain) {
      sums[chain] = Fma(Load(a + i + chain * kLanes), Load(b + i + chain * kLanes), sums[chain]);
    }
  }
  for (; i < n; i += kLanes) {
    sums[0] = Fma(LoadPart(a + i, n - i), LoadPart(b + i, n - i), sums[0]);
  }
  *out = ReduceAdd(Add(Add(sums[0], sums[1]), Add(sums[2], sums[3])));
}

inline void FillEncoder(CpuKernels& table, CpuLevel level) {
  table.clamp = {Clamp, level};
  table.layer_norm = {LayerNorm, level};
  table.standardize = {Standardize, level};
  table.silu = {Silu, level};
  table.glu = {Glu, level};
  table.mul_add = {MulAdd, level};
  table.dot = {Dot, level};
}
