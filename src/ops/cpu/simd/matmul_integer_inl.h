// Products of integer weights with quantised rows: which rows meet which tiles of weights, and
// when. Included inside a level's namespace, after its
//   kPanelRows, kPanelTiles    of a panel: rows and tiles whose sums its registers hold
//   kTallRows    rows of a panel of one tile: 8, or 0 where those do not fit
//   RunTilesOf<Block, kRows, kTiles, kWide>(x, row, w, n, spread, end, out, out_stride)
//       kRows rows from `row` on times kTiles tiles of 16 outputs, from n, n + spread, … on; what
//       begins at `end` or beyond is dropped. Block::Value is the type of a packed value of x;
//       kWide: the weights' scales are f32, not bf16
//   Quantize32, Quantize32To   see ops/cpu/simd/quantize_inl.h
//   StoreValues(to, q, group)  32 int8 in the order that the level's products read, and the group's
//                              scale as its sums want it.

#include "ops/cpu/simd/quantize_inl.h"

// Of memory, for few rows. Each has a stream of scales beside it, so that four are eight
// (docs/performance.md: what was tried).
inline constexpr int kStreams = 2;
// Outputs whose weights stay in the second-level cache while all rows pass.
inline constexpr std::int64_t kStripOutputs = 4 * kTileOutputs;
static_assert(kPanelRows <= 6 && (kTallRows == 0 || kTallRows == 8));  // RunRows
static_assert(kStripOutputs % (kPanelTiles * kTileOutputs) == 0);
// Bytes of x that stay there beside them.
inline constexpr std::int64_t kStripBytes = std::int64_t{192} << 10;

// The type of the scales is one for a whole weight: asked for at each block it slows one row.
template <typename Block, int kRows, int kTiles>
void RunTiles(const QuantizedRowsOf<typename Block::Value>& x, std::int64_t row, const Matrix& w,
              std::int64_t n, std::int64_t spread, std::int64_t end, float* out,
              std::int64_t out_stride) {
  if (w.scale_dtype == DType::kF32) {
    RunTilesOf<Block, kRows, kTiles, true>(x, row, w, n, spread, end, out, out_stride);
  } else {
    RunTilesOf<Block, kRows, kTiles, false>(x, row, w, n, spread, end, out, out_stride);
  }
}

// Few rows: bound by reading. The streams are equal parts of [begin, end), each of which runs
// through memory without a gap.
template <typename Block, int kRows>
void RunStreams(const QuantizedRowsOf<typename Block::Value>& x, const Matrix& w,
                std::int64_t begin, std::int64_t end, float* out, std::int64_t out_stride) {
  const std::int64_t tiles = (end - begin + kTileOutputs - 1) / kTileOutputs;
  const std::int64_t part = (tiles + kStreams - 1) / kStreams * kTileOutputs;
  for (std::int64_t n = begin; n < begin + part; n += kTileOutputs) {
    RunTiles<Block, kRows, kStreams>(x, 0, w, n, part, end, out, out_stride);
  }
}

template <typename Block, int kRows>
CULET_INLINE void RunPanel(const QuantizedRowsOf<typename Block::Value>& x, std::int64_t row,
                           const Matrix& w, std::int64_t n, std::int64_t end, float* out,
                           std::int64_t out_stride) {
  if constexpr (kRows <= kPanelRows) {
    RunTiles<Block, kRows, kPanelTiles>(x, row, w, n, kTileOutputs, end, out, out_stride);
  }
}

template <typename Block, int kRows>
CULET_INLINE void RunTall(const QuantizedRowsOf<typename Block::Value>& x, std::int64_t row,
                          const Matrix& w, std::int64_t n, std::int64_t end, float* out,
                          std::int64_t out_stride) {
  for (int t = 0; t < kPanelTiles && n < end; ++t, n += kTileOutputs) {
    RunTiles<Block, kRows, 1>(x, row, w, n, kTileOutputs, end, out, out_stride);
  }
}

// Rows [from, to) times kPanelTiles tiles, in panels.
template <typename Block>
CULET_INLINE void RunRows(const QuantizedRowsOf<typename Block::Value>& x, std::int64_t from,
                          std::int64_t to, const Matrix& w, std::int64_t n, std::int64_t end,
                          float* out, std::int64_t out_stride) {
  // Not a panel and a rest of one or two rows: those would bring all weights again.
  if constexpr (kTallRows == 8) {
    if (to - from == 7) return RunTall<Block, 7>(x, from, w, n, end, out, out_stride);
    if (to - from == 8) return RunTall<Block, 8>(x, from, w, n, end, out, out_stride);
  }
  std::int64_t row = from;
  for (; row + kPanelRows <= to; row += kPanelRows) {
    RunPanel<Block, kPanelRows>(x, row, w, n, end, out, out_stride);
  }
  switch (to - row) {
    case 1: return RunPanel<Block, 1>(x, row, w, n, end, out, out_stride);
    case 2: return RunPanel<Block, 2>(x, row, w, n, end, out, out_stride);
    case 3: return RunPanel<Block, 3>(x, row, w, n, end, out, out_stride);
    case 4: return RunPanel<Block, 4>(x, row, w, n, end, out, out_stride);
    case 5: return RunPanel<Block, 5>(x, row, w, n, end, out, out_stride);
    default: break;
  }
}

template <typename Block>
void Run(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
         std::int64_t end, float* out, std::int64_t out_stride) {
  using Value = typename Block::Value;
  const QuantizedRowsOf<Value> x(operand, rows, w.cols);
  if (rows == 1) return RunStreams<Block, 1>(x, w, begin, end, out, out_stride);
  if (rows == 2) return RunStreams<Block, 2>(x, w, begin, end, out, out_stride);
  const auto row_bytes = x.width() * static_cast<std::int64_t>(sizeof(Value));
  const std::int64_t pass =
      std::max<std::int64_t>(1, kStripBytes / row_bytes / kPanelRows) * kPanelRows;
  for (std::int64_t strip = begin; strip < end; strip += kStripOutputs) {
    const std::int64_t strip_end = std::min(end, strip + kStripOutputs);
    for (std::int64_t row = 0; row < rows; row += pass) {
      for (std::int64_t n = strip; n < strip_end; n += kPanelTiles * kTileOutputs) {
        RunRows<Block>(x, row, std::min(rows, row + pass), w, n, end, out, out_stride);
      }
    }
  }
}

template <typename Value>
void Pack(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
          std::int64_t begin, std::int64_t end, float scale, std::byte* operand) {
  const QuantizedRowsOf<Value> packed(operand, rows, k);
  for (std::int64_t row = begin; row < end; ++row) {
    const float* from = x + row * x_stride;
    Value* to = packed.row(row);
    QuantGroup* groups = packed.groups(row);
    for (std::int64_t i = 0; i < k; i += kScaleColumns, groups += kScaleBlocks) {
      std::int8_t q[kScaleColumns];
      QuantizeBlocks(from + i, k - i, scale, q, groups);
      for (std::int64_t b = 0; b < kScaleBlocks && i + b * kQuantBlock < k; ++b) {
        StoreValues(to + i + b * kQuantBlock, q + b * kQuantBlock, groups + b);
      }
    }
  }
}
