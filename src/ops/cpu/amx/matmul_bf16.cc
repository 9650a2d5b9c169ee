// Products of bf16 weights with AMX: sums [16 outputs, rows] += weights [16 outputs, 32 columns] ·
// x [32 columns, rows], 8,192 multiply-adds an instruction. x is rounded to bf16 as the contract
// says, or, where it is not to be rounded, taken apart into three bf16 whose sum it is (8 bits of
// 24 each). It is packed in panels of up to 16 rows, pairs of columns side by side:
//
//   panel  [parts, greatest first][k / 32][16 pairs][rows of the panel][2], zero beyond k
//
// Weights are the side that lies in rows, so that they need no turning round; the sums do, once at
// the end. Every output is summed in one way, whatever the number of rows: 32 columns after the
// other, within them as the unit does it (even and odd columns apart, then both, subnormals taken
// as zero), kColumns by themselves, these in rising order. Of kColumns the least parts come first,
// so that they add next to nothing to the error.
//
// With one panel, weights are read where they lie, each line once, and reading is the limit.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/cpu/amx/amx.h"

CULET_TARGET_BEGIN(CULET_AMX_TARGET)
namespace culet::amx {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx512/vec_inl.h"
#include "ops/cpu/amx/tile_inl.h"
#include "ops/cpu/amx/panels_inl.h"
#include "ops/cpu/amx/pairs_inl.h"
// clang-format on

inline constexpr std::int64_t kStep = 32;  // columns of a tile
inline constexpr std::int64_t kTileElements = kOutputs * kStep;
// Sums run over this many columns, and are then added up.
inline constexpr std::int64_t kColumns = 256;
// Of each row of weights that comes next, the first lines are fetched: two.
inline constexpr std::int64_t kFirstColumns = 64;

CULET_INLINE __m512 LoadAtMost(const float* x, std::int64_t there) {
  return there >= kLanes ? Load(x).v : there > 0 ? LoadN(x, there).v : _mm512_setzero_ps();
}

// Rows of a panel: whole tiles, the last one of them with zeros where the rows end; fewer rows than
// a tile are one panel of their own height.
CULET_INLINE std::int64_t RowsOfPanel(std::int64_t rows) { return std::min(rows, kPanelRows); }
// Of one part of a panel.
CULET_INLINE std::int64_t PartElements(std::int64_t panel_rows, std::int64_t k) {
  return Padded(k, kStep) * panel_rows;
}
template <int kParts>
std::size_t OperandBytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t panel_rows = RowsOfPanel(rows);
  return static_cast<std::size_t>(Padded(rows, panel_rows) / panel_rows * kParts *
                                  PartElements(panel_rows, k)) *
         sizeof(std::uint16_t);
}

// x itself, or bf16 whose sum it is, the greatest first. What is not finite is the first alone.
template <int kParts>
CULET_INLINE void Split(__m512 x, __m512* parts) {
  parts[0] = x;
  if constexpr (kParts == 3) {
    const __m512 infinity = _mm512_set1_ps(std::numeric_limits<float>::infinity());
    const __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(x), infinity, _CMP_LT_OQ);
    // Cut off, not rounded: the greatest f32 would become an infinity.
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    const auto cut = [&](__m512 v) {
      return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), upper));
    };
    parts[0] = _mm512_mask_mov_ps(x, finite, cut(x));
    const __m512 rest = _mm512_maskz_sub_ps(finite, x, parts[0]);
    parts[1] = cut(rest);
    parts[2] = _mm512_sub_ps(rest, parts[1]);
  }
}

// `begin` is the first row of a panel.
template <int kParts>
void Pack(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
          std::int64_t begin, std::int64_t end, float, std::byte* operand) {
  const std::int64_t panel_rows = RowsOfPanel(rows);
  const std::int64_t part_size = PartElements(panel_rows, k);
  const __mmask16 mask = panel_rows == kPanelRows ? 0xffff : FirstLanes(panel_rows);
  alignas(64) std::uint32_t pairs[kParts][kPanelRows * kStep / 2] = {};  // [rows, pairs]
  for (std::int64_t row = begin; row < end; row += panel_rows) {
    auto* to = reinterpret_cast<std::uint16_t*>(operand) + row / panel_rows * kParts * part_size;
    const std::int64_t there = std::min(panel_rows, rows - row);
    if (there < panel_rows) std::memset(pairs, 0, sizeof(pairs));
    for (std::int64_t i = 0; i < k; i += kStep, to += panel_rows * kStep) {
      for (std::int64_t r = 0; r < there; ++r) {
        const float* from = x + (row + r) * x_stride + i;
        __m512 low[kParts], high[kParts];
        Split<kParts>(LoadAtMost(from, k - i), low);
        Split<kParts>(LoadAtMost(from + kLanes, k - i - kLanes), high);
        for (int part = 0; part < kParts; ++part) {
          _mm512_store_si512(pairs[part] + r * kStep / 2, NarrowStep(low[part], high[part]));
        }
      }
      for (int part = 0; part < kParts; ++part) {
        __m512 turned[kStep / 2];
        Transpose(reinterpret_cast<const float*>(pairs[part]), turned);
        std::uint16_t* line = to + part * part_size;
        for (std::int64_t pair = 0; pair < kStep / 2; ++pair, line += panel_rows * 2) {
          _mm512_mask_storeu_ps(line, mask, turned[pair]);
        }
      }
    }
  }
}

// `columns` ≤ 32 columns of `count` outputs, w [count, k], as a tile [16 outputs][32], zero beyond
// both.
CULET_INLINE void CopyTile(const std::uint16_t* w, std::int64_t k, std::int64_t count,
                           std::int64_t columns, std::uint16_t* to) {
  const auto mask = static_cast<__mmask32>((std::uint64_t{1} << columns) - 1);
  for (std::int64_t row = 0; row < kOutputs; ++row, to += kStep) {
    __m512i values = _mm512_setzero_si512();
    if (row < count) {
      const std::uint16_t* p = w + row * k;
      values = columns == kStep ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16(mask, p);
    }
    _mm512_storeu_si512(to, values);
  }
}

// Tiles 4 and 5 are panels of x, 6 and 7 weights, 0 to 3 sums [16 outputs, rows].
template <int kPanels>
CULET_INLINE void ZeroSums() {
  TileZero<0>();
  TileZero<1>();
  if (kPanels == 2) TileZero<2>(), TileZero<3>();
}
// To [kPanels][2][kSums].
template <int kPanels>
CULET_INLINE void StoreSums(float* sums) {
  TileStore<0>(sums, 64);
  TileStore<1>(sums + kSums, 64);
  if (kPanels == 2) TileStore<2>(sums + 2 * kSums, 64), TileStore<3>(sums + 3 * kSums, 64);
}
CULET_INLINE void AddSums(const float* sums, std::int64_t count, float* acc) {
#pragma GCC unroll 16
  for (std::int64_t i = 0; i < count; i += kLanes) {
    _mm512_store_ps(acc + i, _mm512_add_ps(_mm512_load_ps(acc + i), _mm512_load_ps(sums + i)));
  }
}

// Sums of 16 outputs, `count` of them wanted.
CULET_INLINE void PutTile(const float* sums, std::int64_t rows, std::int64_t count, float* out,
                          std::int64_t out_stride) {
  const __mmask16 mask = count >= kOutputs ? 0xffff : FirstLanes(count);
  __m512 turned[16];
  Transpose(sums, turned);
  for (std::int64_t r = 0; r < 16; ++r) {
    if (r < rows) _mm512_mask_storeu_ps(out + r * out_stride, mask, turned[r]);
  }
}

// For ManyRows.
template <int kParts>
class Strips {
 public:
  static constexpr std::int64_t kStepBytes = kStep * 2 * kParts;
  static constexpr std::int64_t kStripSteps = kColumns / kStep;

  Strips(const Matrix& w, const std::uint16_t* x) : w_(w), x_(x) {}

  void Make(std::int64_t n, std::int64_t end, std::int64_t step, std::int64_t count) {
    for (std::int64_t s = 0; s < count; ++s) {
      const std::int64_t column = (step + s) * kStep;
      const std::int64_t columns = std::min(kStep, w_.cols - column);
      for (std::int64_t t = 0; t < 2; ++t) {
        CopyTile(At(n + t * kOutputs, column), w_.cols, end - n - t * kOutputs, columns,
                 tiles_ + (2 * s + t) * kTileElements);
      }
    }
  }
  static std::int64_t FetchesOf(std::int64_t panels, std::int64_t count) {
    return (panels + 1) / 2 * kParts * count;
  }
  Fetcher Ahead(std::int64_t n, std::int64_t end, std::int64_t step, std::int64_t count,
                std::int64_t over) const {
    const std::int64_t columns = std::min(count * kStep, w_.cols - step * kStep);
    return {At(n, step * kStep), columns * 2, w_.cols * 2, std::min(kStripOutputs, end - n), over};
  }
  void Add(std::int64_t first, std::int64_t last, std::int64_t step, std::int64_t count, float* acc,
           Fetcher& fetcher) const {
    for (std::int64_t panel = first; panel < last; panel += 2, acc += 4 * kSums) {
      if (panel + 1 < last) {
        AddPanels<2>(panel, step, count, acc, fetcher);
      } else {
        AddPanels<1>(panel, step, count, acc, fetcher);
      }
    }
  }
  static CULET_INLINE void Put(const float* acc, std::int64_t strip_sums, std::int64_t rows,
                               std::int64_t count, float* out, std::int64_t out_stride) {
    for (std::int64_t n = 0; n < count; n += kOutputs) {
      PutTile(acc + n / kStripOutputs * strip_sums + n / kOutputs % 2 * kSums, rows,
              std::min(kOutputs, count - n), out + n, out_stride);
    }
  }

 private:
  template <int kPanels>
  CULET_INLINE void AddPanels(std::int64_t panel, std::int64_t step, std::int64_t count, float* acc,
                              Fetcher& fetcher) const {
    alignas(64) float sums[2 * kPanels * kSums];
    const std::int64_t part_size = PartElements(kPanelRows, w_.cols);
    const std::uint16_t* panel_x = x_ + panel * kParts * part_size + step * kTileElements;
    ZeroSums<kPanels>();
    for (int part = kParts - 1; part >= 0; --part) {
      const std::uint16_t* x = panel_x + part * part_size;
      const std::uint16_t* w = tiles_;
      for (std::int64_t s = 0; s < count; ++s, x += kTileElements, w += 2 * kTileElements) {
        TileLoad<6>(w, 64);
        TileLoad<4>(x, 64);
        TileDotBf16<0, 6, 4>();
        TileLoad<7>(w + kTileElements, 64);
        TileDotBf16<1, 7, 4>();
        if (kPanels == 2) {
          TileLoad<5>(x + kParts * part_size, 64);
          TileDotBf16<2, 6, 5>();
          TileDotBf16<3, 7, 5>();
        }
        fetcher.Step();
      }
    }
    if (step == 0) {
      StoreSums<kPanels>(acc);
    } else {
      StoreSums<kPanels>(sums);
      AddSums(sums, 2 * kPanels * kSums, acc);
    }
  }
  CULET_INLINE const std::uint16_t* At(std::int64_t n, std::int64_t column) const {
    return static_cast<const std::uint16_t*>(w_.data) + n * w_.cols + column;
  }

  const Matrix& w_;
  const std::uint16_t* x_;
  alignas(64) std::uint16_t tiles_[kStripSteps * 2 * kTileElements];
};

// One panel of rows, of outputs [n, end) up to 16: weights where they lie. These rows are as many
// streams as the processor follows by itself, and only where they end it must be told what comes:
// with twice the rows, or more fetched ahead, it loses them (a quarter of the rate at which it
// reads).
template <int kParts>
void RunFew(const std::uint16_t* x, std::int64_t rows, const Matrix& w, std::int64_t n,
            std::int64_t end, float* out, std::int64_t out_stride) {
  alignas(64) std::uint16_t copy[kTileElements];
  alignas(64) float sums[kSums] = {};  // beyond the rows too: what was there could be slow
  alignas(64) float acc[kSums] = {};
  const std::int64_t k = w.cols;
  const std::int64_t part_size = PartElements(rows, k);
  const std::int64_t count = std::min(kOutputs, end - n);
  const auto* weights = static_cast<const std::uint16_t*>(w.data) + n * k;
  for (std::int64_t block = 0; block < k; block += kColumns) {
    TileZero<0>();
    const std::int64_t block_end = std::min(k, block + kColumns);
    for (int part = kParts - 1; part >= 0; --part) {
      for (std::int64_t column = block; column < block_end; column += kStep) {
        const std::int64_t columns = std::min(kStep, k - column);
        if (part == kParts - 1 && k - column <= kFirstColumns && end - n > kOutputs) {
          const auto next =
              reinterpret_cast<std::uintptr_t>(weights) +
              static_cast<std::uintptr_t>(kOutputs * k + column + kFirstColumns - k) * 2;
          for (std::int64_t row = 0; row < kOutputs; ++row) {
            FetchLine(next + static_cast<std::uintptr_t>(row * k) * 2);
          }
        }
        if (columns == kStep && count == kOutputs) {
          TileLoad<6>(weights + column, k * 2);
        } else {
          CopyTile(weights + column, k, count, columns, copy);
          TileLoad<6>(copy, 64);
        }
        TileLoad<4>(x + part * part_size + column * rows, rows * 4);
        TileDotBf16<0, 6, 4>();
      }
    }
    // The first is not added to zeros, as with many rows: a −0 would become 0.
    TileStore<0>(block == 0 ? acc : sums, 64);
    if (block > 0) AddSums(sums, kSums, acc);
  }
  PutTile(acc, rows, count, out, out_stride);
}

template <int kParts>
void Run(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
         std::int64_t end, float* out, std::int64_t out_stride) {
  const auto* x = reinterpret_cast<const std::uint16_t*>(operand);
  const int row_bytes = static_cast<int>(RowsOfPanel(rows) * 4);
  TileShapes shapes;
  for (int tile = 0; tile < 4; ++tile) shapes.Set(tile, kOutputs, row_bytes);
  for (int tile = 4; tile < 6; ++tile) shapes.Set(tile, kStep / 2, row_bytes);
  for (int tile = 6; tile < 8; ++tile) shapes.Set(tile, kOutputs, kStep * 2);
  const TilesInUse tiles(shapes);
  if (rows > kPanelRows) {
    Strips<kParts> strips(w, x);
    ManyRows(strips, rows, Padded(w.cols, kStep) / kStep, out, out_stride).Run(begin, end);
    return;
  }
  for (std::int64_t n = begin; n < end; n += kOutputs) {
    RunFew<kParts>(x, rows, w, n, end, out + n, out_stride);
  }
}

}  // namespace

void FillBf16MatMulPart(CpuKernels& table) {
  table.matmul_bf16 = {CpuLevel::kAmx, kPanelRows, OperandBytes<1>, Pack<1>, Run<1>};
  table.matmul_bf16_exact = {CpuLevel::kAmx, kPanelRows, OperandBytes<3>, Pack<3>, Run<3>};
}

}  // namespace culet::amx
CULET_TARGET_END
