// Row kernels over the vocabulary (see ops/rows.h for the formulas). Included after math_inl.h.

inline void Widen(const void* row, DType dtype, float scale, float* out, std::int64_t n) {
  const F32 factor = Set(scale);
  const float* full = static_cast<const float*>(row);
  const auto* half = static_cast<const std::uint16_t*>(row);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t left = n - i;
    F32 value = Zero();
    if (dtype == DType::kF32) {
      value = LoadPart(full + i, left);
    } else if (dtype == DType::kBF16) {
      value = left >= kLanes ? LoadBf16(half + i) : LoadBf16N(half + i, left);
    } else {
      value = left >= kLanes ? LoadF16(half + i) : LoadF16N(half + i, left);
    }
    StorePart(out + i, Mul(value, factor), left);
  }
}

// (mean((x·scale)²) + eps)^(−1/2), in four chains.
CULET_INLINE float InverseRms(const float* x, float scale, float eps, std::int64_t n) {
  const F32 factor = Set(scale);
  F32 sums[4] = {Zero(), Zero(), Zero(), Zero()};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int chain = 0; chain < 4; ++chain) {
      const F32 value = Mul(Load(x + i + chain * kLanes), factor);
      sums[chain] = Fma(value, value, sums[chain]);
    }
  }
  for (; i < n; i += kLanes) {
    const F32 value = Mul(LoadPart(x + i, n - i), factor);
    sums[0] = Fma(value, value, sums[0]);
  }
  const float sum = ReduceAdd(Add(Add(sums[0], sums[1]), Add(sums[2], sums[3])));
  return 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
}

inline void RmsNorm(const float* x, const float* w, float eps, float* out, std::int64_t n) {
  const F32 inverse = Set(InverseRms(x, 1.0f, eps, n));
  for (std::int64_t i = 0; i < n; i += kLanes) {
    F32 value = Mul(LoadPart(x + i, n - i), inverse);
    if (w != nullptr) value = Mul(value, LoadPart(w + i, n - i));
    StorePart(out + i, value, n - i);
  }
}

inline void AddNorm(const float* branch, float branch_scale, const float* w, float eps, float scale,
                    float* x, std::int64_t n) {
  const F32 inverse = Set(InverseRms(branch, branch_scale, eps, n));
  const F32 before = Set(branch_scale);
  const F32 after = Set(scale);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    F32 value = Mul(Mul(LoadPart(branch + i, n - i), before), inverse);
    if (w != nullptr) value = Mul(value, LoadPart(w + i, n - i));
    StorePart(x + i, Mul(Add(LoadPart(x + i, n - i), value), after), n - i);
  }
}

inline void Rope(float* x, const float* cos, const float* sin, std::int64_t n) {
  const std::int64_t half = n / 2;
  for (std::int64_t j = 0; j < half; j += kLanes) {
    const std::int64_t left = half - j;
    const F32 c = LoadPart(cos + j, left);
    const F32 s = LoadPart(sin + j, left);
    const F32 low = LoadPart(x + j, left);
    const F32 high = LoadPart(x + j + half, left);
    StorePart(x + j, Fnma(high, s, Mul(low, c)), left);
    StorePart(x + j + half, Fma(low, s, Mul(high, c)), left);
  }
}

inline void GeluMul(const float* gate, const float* up, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t left = n - i;
    StorePart(out + i, Mul(Gelu(LoadPart(gate + i, left)), LoadPart(up + i, left)), left);
  }
}

inline void Scale(const float* w, float scale, float* x, std::int64_t n) {
  const F32 factor = Set(scale);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    F32 value = LoadPart(x + i, n - i);
    if (w != nullptr) value = Mul(value, LoadPart(w + i, n - i));
    StorePart(x + i, Mul(value, factor), n - i);
  }
}

inline void AddTwo(const float* a, const float* b, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    StorePart(out + i, Add(LoadPart(a + i, n - i), LoadPart(b + i, n - i)), n - i);
  }
}

inline void SoftCap(float cap, float* x, std::int64_t n) {
  const F32 limit = Set(cap);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const F32 value = Mul(limit, Tanh(Div(LoadPart(x + i, n - i), limit)));
    StorePart(x + i, value, n - i);
  }
}

inline void RoundToSteps(float step, float* x, std::int64_t n) {
  const F32 width = Set(step);
  const F32 least = Set(-128.0f);
  const F32 most = Set(127.0f);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    // In this order a NaN stays one.
    const F32 steps = Min(most, Max(least, Div(LoadPart(x + i, n - i), width)));
    StorePart(x + i, Mul(RoundToInt(steps), width), n - i);
  }
}

inline void Narrow(const float* x, DType dtype, void* out, std::int64_t n) {
  float* full = static_cast<float*>(out);
  auto* half = static_cast<std::uint16_t*>(out);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t left = n - i;
    const F32 value = LoadPart(x + i, left);
    if (dtype == DType::kF32) {
      StorePart(full + i, value, left);
    } else if (left >= kLanes) {
      StoreBf16(half + i, value);
    } else {
      StoreBf16N(half + i, value, left);
    }
  }
}

inline void AddScaled(const float* x, float weight, float* out, std::int64_t n) {
  const F32 factor = Set(weight);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    StorePart(out + i, Fma(factor, LoadPart(x + i, n - i), LoadPart(out + i, n - i)), n - i);
  }
}

inline void FillRows(CpuKernels& table, CpuLevel level) {
  table.widen = {Widen, level};
  table.rms_norm = {RmsNorm, level};
  table.add_norm = {AddNorm, level};
  table.rope = {Rope, level};
  table.gelu_mul = {GeluMul, level};
  table.scale = {Scale, level};
  table.add = {AddTwo, level};
  table.soft_cap = {SoftCap, level};
  table.round_to_steps = {RoundToSteps, level};
  table.narrow = {Narrow, level};
  table.add_scaled = {AddScaled, level};
}
