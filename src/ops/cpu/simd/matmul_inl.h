// Matrix products over the vocabulary. Included after vec_inl.h, inside a target region and namespace.
//
// Every output is summed in one way, whatever the number of rows: k in blocks of P::kBlock; within a
// block one vector of sums, fed step by step along k; then Reduce4's fixed order; blocks added in
// rising order. Two loops do it:
//   direct  few rows: weights are read where they lie, four outputs (four streams) at a time, and each
//           vector of them meets all rows. Bound by bytes.
//   tiles   many rows: x is packed in panels of kTileRows rows, a tile of 4 outputs × kBlock weights is
//           copied to the first-level cache, and panels stream past it. kTileRows·4 sums in registers
//           take kTileRows + 4 loads a step: 10 for 24 multiply-adds with AVX-512, 7 for 12 with AVX2.
//
// P, a product, gives: Operand (element of packed x), Element (of weights), kStep (elements a vector),
// kBlock, and StoreX, LoadX, LoadW, LoadWN, StoreW, Dot.

inline constexpr std::int64_t kTileOutputs = 4;
// Outputs whose weights (times kBlock) stay in the second-level cache while all rows pass.
inline constexpr std::int64_t kStripOutputs = 64;
// Rows whose panels (times kBlock) stay there beside them.
inline constexpr std::int64_t kStripRows = 32 * kTileRows;
// Up to here the direct loop is taken.
inline constexpr std::int64_t kDirectRows = 2 * kTileRows;

CULET_INLINE std::int64_t Padded(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

template <typename P>
std::size_t OperandBytes(std::int64_t rows, std::int64_t k) {
  return static_cast<std::size_t>(Padded(rows, rows > kDirectRows ? kTileRows : 1)) *
         static_cast<std::size_t>(Padded(k, P::kStep)) * sizeof(typename P::Operand);
}

// Direct: [rows, k padded]. Tiles: for each block of k, for each panel: [steps][kTileRows][kStep].
// Padding is zero.
template <typename P>
void Pack(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
          std::int64_t begin, std::int64_t end, std::byte* operand) {
  auto* packed = reinterpret_cast<typename P::Operand*>(operand);
  const std::int64_t k_padded = Padded(k, P::kStep);
  if (rows <= kDirectRows) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t i = 0; i < k; i += P::kStep) {
        P::StoreX(packed + row * k_padded + i, x + row * x_stride + i, k - i);
      }
    }
    return;
  }
  const std::int64_t rows_padded = Padded(rows, kTileRows);
  if (end == rows) end = rows_padded;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t panel = row / kTileRows;
    for (std::int64_t block = 0; block < k_padded; block += P::kBlock) {
      const std::int64_t length = std::min(P::kBlock, k_padded - block);
      typename P::Operand* to = packed + rows_padded * block + panel * kTileRows * length +
                                row % kTileRows * P::kStep;
      for (std::int64_t i = 0; i < length; i += P::kStep, to += kTileRows * P::kStep) {
        if (row < rows) {
          P::StoreX(to, x + row * x_stride + block + i, k - block - i);
        } else {
          P::StoreX(to, x, 0);
        }
      }
    }
  }
}

// kRows rows of x (k_padded apart) times four rows of weights, elements [0, length) of a block.
template <typename P, int kRows>
CULET_INLINE void DirectBlock(const typename P::Operand* x, std::int64_t k_padded,
                              const typename P::Element* const (&w)[kTileOutputs],
                              std::int64_t length, __m128* sums) {
  F32 acc[kRows][kTileOutputs];
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kTileOutputs; ++c) acc[row][c] = Zero();
  }
  std::int64_t i = 0;
  for (; i + P::kStep <= length; i += P::kStep) {
    typename P::Vector weights[kTileOutputs];
    for (int c = 0; c < kTileOutputs; ++c) weights[c] = P::LoadW(w[c] + i);
    for (int row = 0; row < kRows; ++row) {
      const typename P::Vector values = P::LoadX(x + row * k_padded + i);
      for (int c = 0; c < kTileOutputs; ++c) acc[row][c] = P::Dot(acc[row][c], values, weights[c]);
    }
  }
  if (i < length) {
    typename P::Vector weights[kTileOutputs];
    for (int c = 0; c < kTileOutputs; ++c) weights[c] = P::LoadWN(w[c] + i, length - i);
    for (int row = 0; row < kRows; ++row) {
      const typename P::Vector values = P::LoadX(x + row * k_padded + i);
      for (int c = 0; c < kTileOutputs; ++c) acc[row][c] = P::Dot(acc[row][c], values, weights[c]);
    }
  }
  for (int row = 0; row < kRows; ++row) {
    sums[row] = Reduce4(acc[row][0], acc[row][1], acc[row][2], acc[row][3]);
  }
}

template <typename P>
CULET_INLINE void DirectRows(std::int64_t rows, const typename P::Operand* x, std::int64_t k_padded,
                             const typename P::Element* const (&w)[kTileOutputs],
                             std::int64_t length, __m128* sums) {
  switch (rows) {
    case 1: return DirectBlock<P, 1>(x, k_padded, w, length, sums);
    case 2: return DirectBlock<P, 2>(x, k_padded, w, length, sums);
    case 3: return DirectBlock<P, 3>(x, k_padded, w, length, sums);
#if CULET_TILE_ROWS > 3
    case 4: return DirectBlock<P, 4>(x, k_padded, w, length, sums);
    case 5: return DirectBlock<P, 5>(x, k_padded, w, length, sums);
    case 6: return DirectBlock<P, 6>(x, k_padded, w, length, sums);
#endif
    default: __builtin_unreachable();
  }
}

// out[0 … count) = or += sums.
CULET_INLINE void PutSums(float* out, __m128 sums, std::int64_t count, bool first) {
  if (count == kTileOutputs) {
    _mm_storeu_ps(out, first ? sums : _mm_add_ps(_mm_loadu_ps(out), sums));
    return;
  }
  alignas(16) float values[kTileOutputs];
  _mm_store_ps(values, sums);
  for (std::int64_t c = 0; c < count; ++c) out[c] = first ? values[c] : out[c] + values[c];
}

// Pointers to four rows of weights from row n; past the last one, the last again (its sums are dropped).
template <typename P>
CULET_INLINE void PointAt(const typename P::Element* (&w)[kTileOutputs],
                          const typename P::Element* weights, std::int64_t k, std::int64_t n,
                          std::int64_t count, std::int64_t block) {
  for (std::int64_t c = 0; c < kTileOutputs; ++c) {
    w[c] = weights + (n + std::min(c, count - 1)) * k + block;
  }
}

template <typename P>
void RunDirect(const typename P::Operand* x, std::int64_t rows, std::int64_t k,
               const typename P::Element* weights, std::int64_t begin, std::int64_t end, float* out,
               std::int64_t out_stride) {
  const std::int64_t k_padded = Padded(k, P::kStep);
  const std::int64_t groups = (rows + kTileRows - 1) / kTileRows;
  const std::int64_t group = (rows + groups - 1) / groups;  // even groups: 4 + 4, not 6 + 2
  for (std::int64_t n = begin; n < end; n += kTileOutputs) {
    const std::int64_t count = std::min(kTileOutputs, end - n);
    __m128 totals[kDirectRows];
    for (std::int64_t block = 0; block < k; block += P::kBlock) {
      const std::int64_t length = std::min(P::kBlock, k - block);
      const typename P::Element* w[kTileOutputs];
      PointAt<P>(w, weights, k, n, count, block);
      for (std::int64_t row = 0; row < rows; row += group) {
        const std::int64_t taken = std::min(group, rows - row);
        __m128 sums[kTileRows];
        DirectRows<P>(taken, x + row * k_padded + block, k_padded, w, length, sums);
        for (std::int64_t r = 0; r < taken; ++r) {
          totals[row + r] = block == 0 ? sums[r] : _mm_add_ps(totals[row + r], sums[r]);
        }
      }
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      PutSums(out + row * out_stride + n, totals[row], count, true);
    }
  }
}

// A panel times a tile, both packed: [steps][rows or outputs][kStep].
template <typename P>
CULET_INLINE void TileBlock(const typename P::Operand* x, const typename P::Operand* w,
                            std::int64_t steps, __m128* sums) {
  F32 acc[kTileRows][kTileOutputs];
  for (int row = 0; row < kTileRows; ++row) {
    for (int c = 0; c < kTileOutputs; ++c) acc[row][c] = Zero();
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    typename P::Vector weights[kTileOutputs];
    for (int c = 0; c < kTileOutputs; ++c) weights[c] = P::LoadX(w + c * P::kStep);
    for (int row = 0; row < kTileRows; ++row) {
      const typename P::Vector values = P::LoadX(x + row * P::kStep);
      for (int c = 0; c < kTileOutputs; ++c) acc[row][c] = P::Dot(acc[row][c], values, weights[c]);
    }
    x += kTileRows * P::kStep;
    w += kTileOutputs * P::kStep;
  }
  for (int row = 0; row < kTileRows; ++row) {
    sums[row] = Reduce4(acc[row][0], acc[row][1], acc[row][2], acc[row][3]);
  }
}

template <typename P>
void RunTiles(const typename P::Operand* x, std::int64_t rows, std::int64_t k,
              const typename P::Element* weights, std::int64_t begin, std::int64_t end, float* out,
              std::int64_t out_stride) {
  alignas(64) typename P::Operand tile[kTileOutputs * P::kBlock];
  const std::int64_t k_padded = Padded(k, P::kStep);
  const std::int64_t rows_padded = Padded(rows, kTileRows);
  for (std::int64_t strip = begin; strip < end; strip += kStripOutputs) {
    const std::int64_t strip_end = std::min(end, strip + kStripOutputs);
    for (std::int64_t block = 0; block < k; block += P::kBlock) {
      const std::int64_t length = std::min(P::kBlock, k - block);
      const std::int64_t length_padded = std::min(P::kBlock, k_padded - block);
      const std::int64_t steps = length_padded / P::kStep;
      for (std::int64_t first = 0; first < rows; first += kStripRows) {
        const std::int64_t last = std::min(rows, first + kStripRows);
        for (std::int64_t n = strip; n < strip_end; n += kTileOutputs) {
          const std::int64_t count = std::min(kTileOutputs, strip_end - n);
          const typename P::Element* w[kTileOutputs];
          PointAt<P>(w, weights, k, n, count, block);
          for (std::int64_t i = 0; i < length; i += P::kStep) {
            for (std::int64_t c = 0; c < kTileOutputs; ++c) {
              P::StoreW(tile + i * kTileOutputs + c * P::kStep,
                        length - i >= P::kStep ? P::LoadW(w[c] + i) : P::LoadWN(w[c] + i, length - i));
            }
          }
          for (std::int64_t row = first; row < last; row += kTileRows) {
            __m128 sums[kTileRows];
            TileBlock<P>(x + rows_padded * block + row * length_padded, tile, steps, sums);
            const std::int64_t taken = std::min<std::int64_t>(kTileRows, rows - row);
            for (std::int64_t r = 0; r < taken; ++r) {
              PutSums(out + (row + r) * out_stride + n, sums[r], count, block == 0);
            }
          }
        }
      }
    }
  }
}

template <typename P>
void Run(const std::byte* operand, std::int64_t rows, std::int64_t k, const void* w,
         std::int64_t begin, std::int64_t end, float* out, std::int64_t out_stride) {
  const auto* x = reinterpret_cast<const typename P::Operand*>(operand);
  const auto* weights = static_cast<const typename P::Element*>(w);
  if (rows <= kDirectRows) {
    RunDirect<P>(x, rows, k, weights, begin, end, out, out_stride);
  } else {
    RunTiles<P>(x, rows, k, weights, begin, end, out, out_stride);
  }
}

// `Packing` differs from P only where several products share an operand.
template <typename P, typename Packing = P>
MatMulKernel MakeMatMul(CpuLevel level) {
  return {level, kTileRows, OperandBytes<P>, Pack<Packing>, Run<P>};
}
