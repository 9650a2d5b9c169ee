// Matrix products over the vocabulary. Included after vec_inl.h, inside a target region and
// namespace.
//
// Every output is summed in one way, whatever the number of rows: k in blocks of P::kBlock; within
// a block one vector of sums, fed step by step along k; then Reduce4's fixed order; blocks added in
// rising order. Two loops do it:
//   direct  up to kDirectRows rows: weights are read where they lie, four outputs (four streams)
//           at a time. Up to about 8 rows bound by bytes.
//   tiles   a tile of 4 outputs × kBlock weights is copied (and widened) to the first-level cache,
//           and all rows stream past it.
// x is packed in panels of up to kTileRows rows. kTileRows·4 sums in registers take kTileRows + 4
// loads a step: 10 for 24 multiply-adds with AVX-512, 7 for 12 with AVX2.
//
// Weights are fetched into the second-level cache ahead of use: the hardware's own fetching ends at
// each 4 KB page, and the window of instructions in flight is too short to cover memory's latency
// where a line of weights feeds several rows. Measured on Zen 4, one thread, weights in DRAM,
// [6144, 1536] bf16, share of the read limit around each run (bench_ops --threads 1 --clock cpu,
// 2026-11-25), for 1 and 4 rows: four neighbouring rows as streams 0.52, 0.46; fetched ahead 0.75,
// 0.75; long streams 0.94, 0.63; both 1.02, 0.84. Fetching into the first-level cache gained
// nothing.
//
// P, a product, gives: Operand (element of packed x), Element (of weights), kStep (elements a
// vector), kBlock, and StoreX, LoadX, LoadW, LoadWN, StoreW, Dot.

inline constexpr std::int64_t kTileStreams = 4;
// Outputs whose weights (times kBlock) stay in the second-level cache while all rows pass.
inline constexpr std::int64_t kStripOutputs = 64;
// Rows whose panels (times kBlock) stay there beside them.
inline constexpr std::int64_t kStripRows = 32 * kTileRows;
// How far ahead of each stream to fetch.
inline constexpr std::int64_t kAheadBytes = 3072;
// Few enough panels that a tile of weights stays in the first-level cache beside them.
inline constexpr std::int64_t kDirectRows = 5 * kTileRows;

CULET_INLINE std::int64_t Padded(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// Rows of a panel: as few panels as kTileRows allows, of equal height (8 rows are 4 + 4, not 6 +
// 2).
CULET_INLINE std::int64_t PanelRows(std::int64_t rows) {
  const std::int64_t panels = (rows + kTileRows - 1) / kTileRows;
  return (rows + panels - 1) / panels;
}

template <typename P>
std::size_t OperandBytes(std::int64_t rows, std::int64_t k) {
  return static_cast<std::size_t>(Padded(rows, PanelRows(rows))) *
         static_cast<std::size_t>(Padded(k, P::kStep)) * sizeof(typename P::Operand);
}

// For each block of k, for each panel: [steps][panel rows][kStep]; padding is zero. With one row or
// all rows in one panel and one block this is as simple as it sounds.
template <typename P>
void Pack(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
          std::int64_t begin, std::int64_t end, float, std::byte* operand) {
  auto* packed = reinterpret_cast<typename P::Operand*>(operand);
  const std::int64_t k_padded = Padded(k, P::kStep);
  const std::int64_t panel_rows = PanelRows(rows);
  const std::int64_t rows_padded = Padded(rows, panel_rows);
  if (end == rows) end = rows_padded;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t panel_first = row / panel_rows * panel_rows;
    for (std::int64_t block = 0; block < k_padded; block += P::kBlock) {
      const std::int64_t length = std::min(P::kBlock, k_padded - block);
      typename P::Operand* to =
          packed + rows_padded * block + panel_first * length + (row - panel_first) * P::kStep;
      for (std::int64_t i = 0; i < length; i += P::kStep, to += panel_rows * P::kStep) {
        if (row < rows) {
          P::StoreX(to, x + row * x_stride + block + i, k - block - i);
        } else {
          P::StoreX(to, x, 0);
        }
      }
    }
  }
}

// Where four outputs' weights lie for one block of k, and those of the tile that comes next.
template <typename P>
struct Tile {
  const typename P::Element* w[kTileStreams];
  std::int64_t ahead;  // elements from here to the next tile
};

// From row n, `count` rows; past the last one, the last again (its sums are dropped).
template <typename P>
CULET_INLINE Tile<P> TileAt(const typename P::Element* weights, std::int64_t k, std::int64_t n,
                            std::int64_t count, std::int64_t block, std::int64_t ahead) {
  Tile<P> tile;
  for (std::int64_t c = 0; c < kTileStreams; ++c) {
    tile.w[c] = weights + (n + std::min(c, count - 1)) * k + block;
  }
  tile.ahead = ahead;
  return tile;
}

template <typename Element>
CULET_INLINE void Fetch(const Element* p, std::int64_t ahead) {
  // As a number: the place may lie past the weight's end.
  FetchLine(reinterpret_cast<std::uintptr_t>(p) +
            static_cast<std::uintptr_t>(ahead) * sizeof(Element));
}

// out[0 … count) = or += sums.
CULET_INLINE void PutSums(float* out, Four sums, std::int64_t count, bool first) {
  if (count == kTileStreams) {
    StoreFour(out, first ? sums : LoadFour(out) + sums);
    return;
  }
  alignas(16) float values[kTileStreams];
  StoreFour(values, sums);
  for (std::int64_t c = 0; c < count; ++c) out[c] = first ? values[c] : out[c] + values[c];
}

// A panel of packed x, [steps][kRows][kStep], times four rows of weights where they lie. A vector
// of weights meets all rows at once, here and in tiles: kTileRows·4 sums, kTileRows vectors of x
// and that one are all registers that AVX2 has. Fetches what follows in the streams [kFetchFrom,
// kFetchTo).
template <typename P, int kRows, int kFetchFrom, int kFetchTo>
CULET_INLINE void DirectBlock(const typename P::Operand* x, const Tile<P>& tile,
                              std::int64_t length, Four* sums) {
  F32 acc[kRows][kTileStreams];
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kTileStreams; ++c) acc[row][c] = Zero();
  }
  std::int64_t i = 0;
  for (; i + P::kStep <= length; i += P::kStep) {
    typename P::Vector values[kRows];
    for (int row = 0; row < kRows; ++row) values[row] = P::LoadX(x + i * kRows + row * P::kStep);
    for (int c = 0; c < kTileStreams; ++c) {
      const typename P::Vector weights = P::LoadW(tile.w[c] + i);
      if (kFetchFrom <= c && c < kFetchTo) Fetch(tile.w[c] + i, tile.ahead);
      for (int row = 0; row < kRows; ++row) {
        acc[row][c] = P::Dot(acc[row][c], values[row], weights);
      }
    }
  }
  if (i < length) {
    for (int c = 0; c < kTileStreams; ++c) {
      const typename P::Vector weights = P::LoadWN(tile.w[c] + i, length - i);
      for (int row = 0; row < kRows; ++row) {
        acc[row][c] = P::Dot(acc[row][c], P::LoadX(x + i * kRows + row * P::kStep), weights);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    sums[row] = Reduce4(acc[row][0], acc[row][1], acc[row][2], acc[row][3]);
  }
}

// out[c·spread] = or += the c-th sum, for the first `count`.
CULET_INLINE void PutSpread(float* out, std::int64_t spread, Four sums, std::int64_t count,
                            bool first) {
  alignas(16) float values[kTileStreams];
  StoreFour(values, sums);
  for (std::int64_t c = 0; c < count; ++c) {
    out[c * spread] = first ? values[c] : out[c * spread] + values[c];
  }
}

// The four streams are the quarters of [begin, end): each runs through memory without a gap, row
// after row, so that the hardware's fetching keeps its pace.
template <typename P, int kRows>
void RunDirect(const typename P::Operand* x, std::int64_t rows, std::int64_t k,
               const typename P::Element* weights, std::int64_t begin, std::int64_t end, float* out,
               std::int64_t out_stride) {
  const std::int64_t k_padded = Padded(k, P::kStep);
  const std::int64_t rows_padded = Padded(rows, kRows);
  const std::int64_t quarter = (end - begin + kTileStreams - 1) / kTileStreams;
  for (std::int64_t n = begin; n < begin + quarter; ++n) {
    const std::int64_t count = std::min(kTileStreams, (end - n + quarter - 1) / quarter);
    for (std::int64_t block = 0; block < k; block += P::kBlock) {
      const std::int64_t length = std::min(P::kBlock, k - block);
      const std::int64_t length_padded = std::min(P::kBlock, k_padded - block);
      Tile<P> tile;
      for (std::int64_t c = 0; c < kTileStreams; ++c) {
        tile.w[c] = weights + (n + std::min(c, count - 1) * quarter) * k + block;
      }
      tile.ahead = kAheadBytes / static_cast<std::int64_t>(sizeof(typename P::Element));
      for (std::int64_t row = 0; row < rows; row += kRows) {
        const typename P::Operand* panel = x + rows_padded * block + row * length_padded;
        Four sums[kRows];
        if (rows <= kRows) {
          DirectBlock<P, kRows, 0, 4>(panel, tile, length, sums);
        } else if (row == 0) {
          DirectBlock<P, kRows, 0, 2>(panel, tile, length, sums);
        } else if (row == kRows) {
          DirectBlock<P, kRows, 2, 4>(panel, tile, length, sums);
        } else {
          DirectBlock<P, kRows, 0, 0>(panel, tile, length, sums);
        }
        const std::int64_t taken = std::min<std::int64_t>(kRows, rows - row);
        for (std::int64_t r = 0; r < taken; ++r) {
          PutSpread(out + (row + r) * out_stride + n, quarter, sums[r], count, block == 0);
        }
      }
    }
  }
}

// A panel times a tile, both packed: [steps][rows or outputs][kStep]. With kFetch, brings the tile
// that comes next.
template <typename P, int kRows, bool kFetch>
CULET_INLINE void TileBlock(const typename P::Operand* x, const typename P::Operand* w,
                            std::int64_t steps, const Tile<P>& source, Four* sums) {
  F32 acc[kRows][kTileStreams];
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kTileStreams; ++c) acc[row][c] = Zero();
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    typename P::Vector values[kRows];
    for (int row = 0; row < kRows; ++row) values[row] = P::LoadX(x + row * P::kStep);
    for (int c = 0; c < kTileStreams; ++c) {
      const typename P::Vector weights = P::LoadX(w + c * P::kStep);
      if (kFetch) Fetch(source.w[c] + step * P::kStep, source.ahead);
      for (int row = 0; row < kRows; ++row) {
        acc[row][c] = P::Dot(acc[row][c], values[row], weights);
      }
    }
    x += kRows * P::kStep;
    w += kTileStreams * P::kStep;
  }
  for (int row = 0; row < kRows; ++row) {
    sums[row] = Reduce4(acc[row][0], acc[row][1], acc[row][2], acc[row][3]);
  }
}

// Copies a tile of `length` columns, widened where P widens, as [steps][outputs][kStep].
template <typename P>
CULET_INLINE void PackTile(const Tile<P>& source, std::int64_t length, typename P::Operand* tile) {
  for (std::int64_t i = 0; i < length; i += P::kStep) {
    for (std::int64_t c = 0; c < kTileStreams; ++c) {
      P::StoreW(tile + i * kTileStreams + c * P::kStep,
                length - i >= P::kStep ? P::LoadW(source.w[c] + i)
                                       : P::LoadWN(source.w[c] + i, length - i));
    }
  }
}

template <typename P, int kRows>
void RunTiles(const typename P::Operand* x, std::int64_t rows, std::int64_t k,
              const typename P::Element* weights, std::int64_t begin, std::int64_t end, float* out,
              std::int64_t out_stride) {
  alignas(64) typename P::Operand tile[kTileStreams * P::kBlock];
  const std::int64_t k_padded = Padded(k, P::kStep);
  const std::int64_t rows_padded = Padded(rows, kRows);
  constexpr std::int64_t kPassRows = kStripRows / kRows * kRows;
  for (std::int64_t strip = begin; strip < end; strip += kStripOutputs) {
    const std::int64_t strip_end = std::min(end, strip + kStripOutputs);
    for (std::int64_t block = 0; block < k; block += P::kBlock) {
      const std::int64_t length = std::min(P::kBlock, k - block);
      const std::int64_t length_padded = std::min(P::kBlock, k_padded - block);
      for (std::int64_t first = 0; first < rows; first += kPassRows) {
        const std::int64_t last = std::min(rows, first + kPassRows);
        for (std::int64_t n = strip; n < strip_end; n += kTileStreams) {
          const std::int64_t count = std::min(kTileStreams, strip_end - n);
          std::int64_t ahead =
              kTileStreams * k;  // the next tile: below, else the next block's first
          if (n + kTileStreams >= strip_end && block + P::kBlock < k) {
            ahead = (strip - n) * k + P::kBlock;
          } else if (n + kTileStreams >= strip_end) {
            ahead -= block;
          }
          const Tile<P> source = TileAt<P>(weights, k, n, count, block, ahead);
          PackTile<P>(source, length, tile);
          for (std::int64_t row = first; row < last; row += kRows) {
            const typename P::Operand* panel = x + rows_padded * block + row * length_padded;
            Four sums[kRows];
            if (row == 0) {
              TileBlock<P, kRows, true>(panel, tile, length_padded / P::kStep, source, sums);
            } else {
              TileBlock<P, kRows, false>(panel, tile, length_padded / P::kStep, source, sums);
            }
            const std::int64_t taken = std::min<std::int64_t>(kRows, rows - row);
            for (std::int64_t r = 0; r < taken; ++r) {
              PutSums(out + (row + r) * out_stride + n, sums[r], count, block == 0);
            }
          }
        }
      }
    }
  }
}

template <typename P, int kRows>
CULET_INLINE void RunPanels(const typename P::Operand* x, std::int64_t rows, std::int64_t k,
                            const typename P::Element* weights, std::int64_t begin,
                            std::int64_t end, float* out, std::int64_t out_stride) {
  if (rows <= kDirectRows) {
    RunDirect<P, kRows>(x, rows, k, weights, begin, end, out, out_stride);
  } else {
    RunTiles<P, kRows>(x, rows, k, weights, begin, end, out, out_stride);
  }
}

template <typename P>
void Run(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
         std::int64_t end, float* out, std::int64_t out_stride) {
  const std::int64_t k = w.cols;
  const auto* x = reinterpret_cast<const typename P::Operand*>(operand);
  const auto* weights = static_cast<const typename P::Element*>(w.data);
  switch (PanelRows(rows)) {
    case 1: return RunPanels<P, 1>(x, rows, k, weights, begin, end, out, out_stride);
    case 2: return RunPanels<P, 2>(x, rows, k, weights, begin, end, out, out_stride);
    case 3: return RunPanels<P, 3>(x, rows, k, weights, begin, end, out, out_stride);
#if CULET_TILE_ROWS > 3
    case 4: return RunPanels<P, 4>(x, rows, k, weights, begin, end, out, out_stride);
    case 5: return RunPanels<P, 5>(x, rows, k, weights, begin, end, out, out_stride);
    case 6: return RunPanels<P, 6>(x, rows, k, weights, begin, end, out, out_stride);
#endif
    default: __builtin_unreachable();
  }
}

// `Packing` differs from P only where several products share an operand.
template <typename P, typename Packing = P>
MatMulKernel MakeMatMul(CpuLevel level) {
  return {level, 1, OperandBytes<P>, Pack<Packing>, Run<P>};
}
