// Products of bf16 weights with AMX: sums [16 outputs, rows] += weights [16 outputs, 32 columns] ·
// x [32 columns, rows], 8,192 multiply-adds an instruction. x is rounded to bf16 as the contract
// says and packed in panels of up to 16 rows, pairs of columns side by side:
//
//   panel  [k / 32][16 pairs][rows of the panel][2], zero beyond k
//
// Weights are the side that lies in rows, so that they need no turning round; the sums do, once at
// the end. Every output is summed in one way, whatever the number of rows: 32 columns after the
// other, within them as the unit does it (even and odd columns apart, then both, subnormals taken
// as zero), kColumns by themselves, these in rising order.
//
// Two tiles of weights meet two panels: four tiles of sums for four loaded. With one panel, weights
// are read where they lie, each line once, and reading is the limit; with more, a strip of them is
// copied to the second-level cache, and panels pass by two and two. From there the unit is fed at
// its full rate: 4 products and 4 loads are 28 ns with weights in the first-level cache, 37 with
// both sides in the second (Xeon, 2.3 GHz under this load), 40 where sums wait in memory every 256
// columns.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/amx/amx.h"

CULET_TARGET_BEGIN(CULET_AMX_TARGET)
namespace culet::amx {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx512/vec_inl.h"
#include "ops/cpu/amx/tile_inl.h"
// clang-format on

inline constexpr std::int64_t kMostRows = 16;  // of a tile
inline constexpr std::int64_t kOutputs = 16;   // of a tile
inline constexpr std::int64_t kStep = 32;      // columns of a tile
inline constexpr std::int64_t kTileElements = kOutputs * kStep;
inline constexpr std::int64_t kSums = kOutputs * kMostRows;
// Sums run over this many columns, and are then added up: kStripOutputs × kColumns of weights,
// copied (192 KB, on the stack), and two panels of x stay in the second-level cache.
inline constexpr std::int64_t kColumns = 1536;
inline constexpr std::int64_t kStripOutputs = 64;
// How far ahead of where a row of weights is read its lines are fetched: 1 KB.
inline constexpr std::int64_t kAheadColumns = 512;

CULET_INLINE std::int64_t Padded(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// Whole tiles, the last one with zeros where the rows end; fewer rows than a tile are one panel.
CULET_INLINE std::int64_t PanelRows(std::int64_t rows) { return std::min(rows, kMostRows); }

std::size_t OperandBytes(std::int64_t rows, std::int64_t k) {
  return static_cast<std::size_t>(Padded(rows, PanelRows(rows)) * Padded(k, kStep)) *
         sizeof(std::uint16_t);
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

// 32 values in bf16, zero where x ends.
CULET_INLINE __m512i Narrow32(const float* x, std::int64_t left) {
  F32 values[2];
  for (std::int64_t half = 0; half < 2; ++half) {
    const std::int64_t there = left - half * kLanes;
    values[half] = there >= kLanes ? Load(x + half * kLanes)
                   : there > 0     ? LoadN(x + half * kLanes, there)
                                   : Zero();
  }
  return _mm512_inserti64x4(_mm512_castsi256_si512(NarrowBf16(values[0])), NarrowBf16(values[1]),
                            1);
}

// `begin` is the first row of a panel.
void Pack(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
          std::int64_t begin, std::int64_t end, float, std::byte* operand) {
  const std::int64_t panel_rows = PanelRows(rows);
  const std::int64_t panel_size = Padded(k, kStep) * panel_rows;
  const __mmask16 mask = panel_rows == kMostRows ? 0xffff : FirstLanes(panel_rows);
  alignas(64) std::uint32_t pairs[kMostRows * kStep / 2] = {};  // [rows, pairs]
  for (std::int64_t row = begin; row < end; row += panel_rows) {
    auto* to = reinterpret_cast<std::uint16_t*>(operand) + row / panel_rows * panel_size;
    const std::int64_t there = std::min(panel_rows, rows - row);
    if (there < panel_rows) std::fill(std::begin(pairs), std::end(pairs), 0);
    for (std::int64_t i = 0; i < k; i += kStep) {
      for (std::int64_t r = 0; r < there; ++r) {
        _mm512_store_si512(pairs + r * kStep / 2, Narrow32(x + (row + r) * x_stride + i, k - i));
      }
      __m512 turned[kStep / 2];
      Transpose(reinterpret_cast<const float*>(pairs), turned);
      for (std::int64_t pair = 0; pair < kStep / 2; ++pair, to += panel_rows * 2) {
        _mm512_mask_storeu_ps(to, mask, turned[pair]);
      }
    }
  }
}

// Columns [first, last) of 32 outputs' weights [32, k], of which `count` are there; whether those
// of the next 32 follow.
struct Outputs {
  const std::uint16_t* w;
  std::int64_t k;
  std::int64_t count;
  bool more;
  std::int64_t first;
  std::int64_t last;

  CULET_INLINE void FetchAt(std::int64_t row, std::int64_t column) const {
    FetchLine(reinterpret_cast<std::uintptr_t>(w) +
              static_cast<std::uintptr_t>(row * k + column) * 2);
  }
  // Fetches what follows column `column` of row `row`: further on in it, or, where it ends, as much
  // of the row that the next 32 outputs have in its place.
  CULET_INLINE void Fetch(std::int64_t row, std::int64_t column) const {
    const std::int64_t ahead = column + kAheadColumns;
    if (ahead < last) {
      FetchAt(row, ahead);
    } else if (more) {
      FetchAt(row + 2 * kOutputs, first + ahead - last);
    }
  }
  // What Fetch would have brought before the first column.
  CULET_INLINE void FetchFirst() const {
    for (std::int64_t column = first; column < std::min(first + kAheadColumns, last);
         column += kStep) {
      for (std::int64_t row = 0; row < count; ++row) FetchAt(row, column);
    }
  }
};

// Outputs from n on, before `end`.
CULET_INLINE Outputs OutputsAt(const Matrix& w, std::int64_t n, std::int64_t end,
                               std::int64_t first, std::int64_t last) {
  return {static_cast<const std::uint16_t*>(w.data) + n * w.cols,
          w.cols,
          std::min(2 * kOutputs, end - n),
          n + 2 * kOutputs < end,
          first,
          last};
}

// `columns` ≤ 32 columns from `column` on as two tiles [2][16 outputs][32], zero beyond the last
// column and output.
CULET_INLINE void CopyStep(const Outputs& from, std::int64_t column, std::int64_t columns,
                           std::uint16_t* to) {
  const auto mask = static_cast<__mmask32>((std::uint64_t{1} << columns) - 1);
  for (std::int64_t row = 0; row < 2 * kOutputs; ++row, to += kStep) {
    __m512i values = _mm512_setzero_si512();
    if (row < from.count) {
      const std::uint16_t* p = from.w + row * from.k + column;
      from.Fetch(row, column);
      values = columns == kStep ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16(mask, p);
    }
    _mm512_storeu_si512(to, values);
  }
}

// Where the next sums go: lines of out, which are brought a few each step.
struct NextSums {
  const float* out = nullptr;
  std::int64_t out_stride = 0;
  std::int64_t rows = 0;

  CULET_INLINE void Fetch(std::int64_t step) const {
    if (step >= rows) return;
    __builtin_prefetch(out + step * out_stride, 1, 2);
    __builtin_prefetch(out + step * out_stride + kOutputs, 1, 2);
  }
};

// Sums of 32 outputs × kPanels panels, tiles 0 to 3, go on over `steps` tiles of weights that lie
// one after the other.
template <int kPanels>
CULET_INLINE void AddSteps(const std::uint16_t* w, const std::uint16_t* x,
                           const std::uint16_t* next_x, std::int64_t panel_rows, std::int64_t steps,
                           const NextSums& next) {
  const std::int64_t step_size = kStep * panel_rows;  // of packed x
  const std::int64_t row_bytes = panel_rows * 4;
  for (std::int64_t step = 0; step < steps; ++step) {
    TileLoad<4>(w + 2 * step * kTileElements, 64);
    TileLoad<6>(x + step * step_size, row_bytes);
    TileDotBf16<0, 4, 6>();
    TileLoad<5>(w + (2 * step + 1) * kTileElements, 64);
    TileDotBf16<1, 5, 6>();
    if (kPanels == 2) {
      TileLoad<7>(next_x + step * step_size, row_bytes);
      TileDotBf16<2, 4, 7>();
      TileDotBf16<3, 5, 7>();
    }
    next.Fetch(step);
  }
}

template <int kPanels>
CULET_INLINE void ZeroSums() {
  TileZero<0>();
  TileZero<1>();
  if (kPanels == 2) TileZero<2>(), TileZero<3>();
}
template <int kPanels>
CULET_INLINE void StoreSums(float* sums) {
  TileStore<0>(sums, 64);
  TileStore<1>(sums + kSums, 64);
  if (kPanels == 2) TileStore<2>(sums + 2 * kSums, 64), TileStore<3>(sums + 3 * kSums, 64);
}

// out = or += sums [16 outputs, panel], for `rows` rows and `outputs` outputs.
CULET_INLINE void PutSums(const float* sums, std::int64_t rows, std::int64_t outputs, bool first,
                          float* out, std::int64_t out_stride) {
  if (outputs <= 0) return;
  const __mmask16 mask = outputs >= kOutputs ? 0xffff : FirstLanes(outputs);
  __m512 turned[16];
  Transpose(sums, turned);
  for (std::int64_t r = 0; r < 16; ++r) {
    if (r >= rows) continue;
    float* to = out + r * out_stride;
    const __m512 before = first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, to);
    _mm512_mask_storeu_ps(to, mask, _mm512_add_ps(before, turned[r]));
  }
}

// What stays the same over a weight.
struct Product {
  const std::uint16_t* x;
  std::int64_t rows, panel_rows, panel_size;  // of a panel, in elements
  float* out;
  std::int64_t out_stride;

  const std::uint16_t* Panel(std::int64_t panel, std::int64_t column) const {
    return x + panel * panel_size + column * panel_rows;
  }
  // The sums of 32 outputs from n on, `count` there, of panels from `panel` on.
  template <int kPanels>
  CULET_INLINE void Put(const float* sums, std::int64_t panel, std::int64_t n, std::int64_t count,
                        bool first) const {
    for (std::int64_t p = 0; p < kPanels; ++p) {
      const std::int64_t row = (panel + p) * panel_rows;
      float* to = out + row * out_stride + n;
      const std::int64_t there = std::min(panel_rows, rows - row);
      PutSums(sums + 2 * p * kSums, there, count, first, to, out_stride);
      PutSums(sums + (2 * p + 1) * kSums, there, count - kOutputs, first, to + kOutputs,
              out_stride);
    }
  }
};

// One panel of rows: weights where they lie.
void RunFew(const Product& product, const Outputs& outputs, std::int64_t n) {
  alignas(64) std::uint16_t copy[2 * kTileElements];
  alignas(64) float sums[2 * kSums];
  const std::int64_t stride = outputs.k * 2;
  const std::int64_t row_bytes = product.panel_rows * 4;
  for (std::int64_t block = 0; block < outputs.k; block += kColumns) {
    const std::int64_t end = std::min(outputs.k, block + kColumns);
    const std::uint16_t* x = product.Panel(0, block);
    ZeroSums<1>();
    std::int64_t column = block;
    if (outputs.count >= 2 * kOutputs) {
      for (; column + kStep <= end; column += kStep, x += kStep * product.panel_rows) {
        for (std::int64_t row = 0; row < 2 * kOutputs; ++row) outputs.Fetch(row, column);
        const std::uint16_t* w = outputs.w + column;
        TileLoad<4>(w, stride);
        TileLoad<6>(x, row_bytes);
        TileDotBf16<0, 4, 6>();
        TileLoad<5>(w + kOutputs * outputs.k, stride);
        TileDotBf16<1, 5, 6>();
      }
    }
    for (; column < end; column += kStep, x += kStep * product.panel_rows) {
      CopyStep(outputs, column, std::min(kStep, end - column), copy);
      AddSteps<1>(copy, x, x, product.panel_rows, 1, NextSums{});
    }
    StoreSums<1>(sums);
    product.Put<1>(sums, 0, n, outputs.count, block == 0);
  }
}

// `steps` of copied weights of 32 outputs from n on meet panels from `panel` on.
template <int kPanels>
CULET_INLINE void RunPanels(const Product& product, const std::uint16_t* weights,
                            std::int64_t column, std::int64_t steps, std::int64_t panel,
                            std::int64_t n, std::int64_t count, const NextSums& next) {
  alignas(64) float sums[2 * kPanels * kSums];
  ZeroSums<kPanels>();
  AddSteps<kPanels>(weights, product.Panel(panel, column),
                    product.Panel(panel + kPanels - 1, column), product.panel_rows, steps, next);
  StoreSums<kPanels>(sums);
  product.Put<kPanels>(sums, panel, n, count, column == 0);
}

// Outputs [n, end), at most kStripOutputs, of all panels.
void RunMany(const Product& product, const Matrix& w, std::int64_t n, std::int64_t end,
             std::int64_t panels) {
  CULET_DCHECK(product.panel_rows == kMostRows);
  alignas(64) std::uint16_t copy[kStripOutputs * kColumns];
  for (std::int64_t column = 0; column < w.cols; column += kColumns) {
    const std::int64_t columns = std::min(kColumns, w.cols - column);
    const std::int64_t steps = Padded(columns, kStep) / kStep;
    const std::int64_t step_size = 2 * kTileElements;
    for (std::int64_t first = n; first < end; first += 2 * kOutputs) {
      const Outputs outputs = OutputsAt(w, first, end, column, column + columns);
      std::uint16_t* to = copy + (first - n) * kColumns;
      for (std::int64_t step = 0; step < steps; ++step) {
        CopyStep(outputs, column + step * kStep, std::min(kStep, columns - step * kStep),
                 to + step * step_size);
      }
    }
    for (std::int64_t panel = 0; panel < panels; panel += 2) {
      for (std::int64_t first = n; first < end; first += 2 * kOutputs) {
        const std::uint16_t* weights = copy + (first - n) * kColumns;
        const std::int64_t count = std::min(2 * kOutputs, end - first);
        // More outputs of these rows, or the first ones of the next.
        const bool more = first + 2 * kOutputs < end;
        const std::int64_t row = (more ? panel : std::min(panel + 2, panels - 1)) * kMostRows;
        const NextSums next = {
            product.out + row * product.out_stride + (more ? first + 2 * kOutputs : n),
            product.out_stride, std::min(2 * kMostRows, product.rows - row)};
        if (panel + 1 < panels) {
          RunPanels<2>(product, weights, column, steps, panel, first, count, next);
        } else {
          RunPanels<1>(product, weights, column, steps, panel, first, count, next);
        }
      }
    }
  }
}

void Run(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
         std::int64_t end, float* out, std::int64_t out_stride) {
  Product product;
  product.x = reinterpret_cast<const std::uint16_t*>(operand);
  product.rows = rows;
  product.panel_rows = PanelRows(rows);
  product.panel_size = Padded(w.cols, kStep) * product.panel_rows;
  product.out = out;
  product.out_stride = out_stride;
  TileShapes shapes;
  const int row_bytes = static_cast<int>(product.panel_rows * 4);
  for (int tile = 0; tile < 4; ++tile) shapes.Set(tile, kOutputs, row_bytes);
  for (int tile = 4; tile < 6; ++tile) shapes.Set(tile, kOutputs, kStep * 2);
  for (int tile = 6; tile < 8; ++tile) shapes.Set(tile, kStep / 2, row_bytes);
  const TilesInUse tiles(shapes);
  const std::int64_t panels = (rows + product.panel_rows - 1) / product.panel_rows;
  OutputsAt(w, begin, end, 0, w.cols).FetchFirst();
  if (panels == 1) {
    for (std::int64_t n = begin; n < end; n += 2 * kOutputs) {
      RunFew(product, OutputsAt(w, n, end, 0, w.cols), n);
    }
    return;
  }
  for (std::int64_t n = begin; n < end; n += kStripOutputs) {
    RunMany(product, w, n, std::min(end, n + kStripOutputs), panels);
  }
}

}  // namespace

void FillBf16MatMulPart(CpuKernels& table) {
  table.matmul_bf16 = {CpuLevel::kAmx, kMostRows, OperandBytes, Pack, Run};
}

}  // namespace culet::amx
CULET_TARGET_END
