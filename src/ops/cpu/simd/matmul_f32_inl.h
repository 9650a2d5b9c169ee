// Products in f32: weights of any format widened, x exact or (for long sums over bf16 weights)
// rounded to bf16. Included after matmul_inl.h.

template <DType kType, bool kRounded = false>
struct F32Product {
  using Operand = float;
  using Element = std::conditional_t<kType == DType::kF32, float, std::uint16_t>;
  using Vector = F32;
  static constexpr int kStep = kLanes;
  // A tile of 4 × kBlock f32 weights and a panel of kTileRows fit a 32 KB first-level cache: 30 or
  // 28 KB.
  static constexpr std::int64_t kBlock = kTileRows > 3 ? 768 : 1024;

  // kStep elements of packed x from the `left` that there are.
  static CULET_INLINE void StoreX(float* to, const float* from, std::int64_t left) {
    F32 value = Zero();
    if (left >= kStep) {
      value = Load(from);
    } else if (left > 0) {
      value = LoadN(from, left);
    }
    Store(to, kRounded ? RoundBf16(value) : value);
  }
  static CULET_INLINE F32 LoadX(const float* p) { return Load(p); }
  static CULET_INLINE void StoreW(float* to, F32 w) { Store(to, w); }
  static CULET_INLINE F32 LoadW(const Element* p) {
    if constexpr (kType == DType::kF32) {
      return Load(p);
    } else if constexpr (kType == DType::kBF16) {
      return LoadBf16(p);
    } else {
      return LoadF16(p);
    }
  }
  static CULET_INLINE F32 LoadWN(const Element* p, std::int64_t n) {
    if constexpr (kType == DType::kF32) {
      return LoadN(p, n);
    } else if constexpr (kType == DType::kBF16) {
      return LoadBf16N(p, n);
    } else {
      return LoadF16N(p, n);
    }
  }
  static CULET_INLINE F32 Dot(F32 sum, F32 x, F32 w) { return Fma(x, w, sum); }
};

inline void FillF32Products(CpuKernels& table, CpuLevel level) {
  using Full = F32Product<DType::kF32>;
  table.matmul_f32 = MakeMatMul<Full>(level);
  table.matmul_f16 = MakeMatMul<F32Product<DType::kF16>, Full>(level);
  table.matmul_bf16_exact = MakeMatMul<F32Product<DType::kBF16>, Full>(level);
  table.matmul_bf16 = MakeMatMul<F32Product<DType::kBF16, true>>(level);
}
