// Products of integer weights with AMX, on rows quantised to int8.
//
// A block of 32 columns of 16 outputs is, in the layout of int8 weights, the eight rows of a tile
// as they lie; up to 16 rows of x are the other one. Their product is the exact sums of the block:
// stored, turned into f32, multiplied by both scales and added, one row after the other, in the
// order and with the roundings of the levels below. int4 weights are unpacked to int8 once for all
// rows. The unit could take 64 columns at a time, but two scales do not fit one sum.
//
// Of a block of 16 rows and 16 outputs the unit needs 16 cycles, the 48 vector instructions that
// follow 24, the loads and stores as many. All of it overlaps only if sums are not waited for: they
// are taken up kBehind blocks later.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/amx/amx.h"
#include "ops/cpu/avx512vnni/avx512vnni.h"
#include "ops/cpu/quantized_rows.h"

CULET_TARGET_BEGIN(CULET_AMX_TARGET)
namespace culet::amx {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx512/vec_inl.h"
#include "ops/cpu/amx/tile_inl.h"
// clang-format on

// Fewer rows are quicker one by one: [12288, 1536] in int4 with 8 rows took 13.5 ms there and 14.5
// here (19 of them from memory, two threads of a Xeon), with 16 rows 21.8 and 20.
inline constexpr std::int64_t kLeastRows = 9;
inline constexpr std::int64_t kMostRows = 16;  // of a tile
// Columns whose weights, as int8 of 16 outputs, stay in the first-level cache while all rows pass.
inline constexpr std::int64_t kColumns = 1024;
inline constexpr std::int64_t kBlockBytes = kTileOutputs * kQuantBlock;  // as int8
inline constexpr std::int64_t kBehind = 2;
inline constexpr std::int64_t kSumsKept = 4;  // blocks; a power of two beyond kBehind

// Panels of rows, as few as there must be, of equal height. The last one may reach beyond the rows:
// the operand has room for it, and what is computed there is dropped.
CULET_INLINE std::int64_t PanelRows(std::int64_t rows) {
  const std::int64_t panels = (rows + kMostRows - 1) / kMostRows;
  return (rows + panels - 1) / panels;
}
CULET_INLINE std::int64_t PaddedRows(std::int64_t rows) {
  const std::int64_t panel = PanelRows(rows);
  return (rows + panel - 1) / panel * panel;
}

// The operand: quantised rows, and once more their scales, as panels read them,
// [panels][blocks][panel rows].
class PanelRowsOperand {
 public:
  PanelRowsOperand(const std::byte* operand, std::int64_t rows, std::int64_t k)
      : rows_(operand, PaddedRows(rows), k),
        panel_rows_(PanelRows(rows)),
        scales_(const_cast<float*>(
            reinterpret_cast<const float*>(operand + QuantizedRows::Bytes(PaddedRows(rows), k)))) {}

  static std::size_t Bytes(std::int64_t rows, std::int64_t k) {
    const std::int64_t blocks = (k + kQuantBlock - 1) / kQuantBlock;
    return QuantizedRows::Bytes(PaddedRows(rows), k) +
           static_cast<std::size_t>(PaddedRows(rows) * blocks) * sizeof(float);
  }

  std::int64_t blocks() const { return rows_.blocks(); }
  std::int64_t width() const { return rows_.width(); }
  const std::int8_t* values(std::int64_t row, std::int64_t block) const {
    return rows_.row(row) + block * kQuantBlock;
  }
  // Of the panel that begins at `row`, [panel rows] for each block from `block` on.
  const float* scales(std::int64_t row, std::int64_t block) const {
    return scales_ + row * blocks() + block * panel_rows_;
  }
  // After `row` was quantised.
  void CopyScales(std::int64_t row) const {
    const QuantGroup* groups = rows_.groups(row);
    for (std::int64_t b = 0; b < blocks(); ++b) *ScaleAt(row, b) = groups[b].scale;
  }
  // Of a row of padding: what is there could be subnormal, and slow.
  void ZeroScales(std::int64_t row) const {
    for (std::int64_t b = 0; b < blocks(); ++b) *ScaleAt(row, b) = 0;
  }

 private:
  float* ScaleAt(std::int64_t row, std::int64_t block) const {
    const std::int64_t first = row / panel_rows_ * panel_rows_;
    return scales_ + first * blocks() + block * panel_rows_ + row - first;
  }

  QuantizedRows rows_;
  std::int64_t panel_rows_;
  float* scales_;
};

template <auto kPack>
void Pack(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
          std::int64_t begin, std::int64_t end, float scale, std::byte* operand) {
  kPack(x, x_stride, PaddedRows(rows), k, begin, end, scale, operand);
  const PanelRowsOperand packed(operand, rows, k);
  for (std::int64_t row = begin; row < end; ++row) packed.CopyScales(row);
  if (end < rows) return;
  for (std::int64_t row = rows; row < PaddedRows(rows); ++row) packed.ZeroScales(row);
}

// A block as int8. Of int4 columns 0–15 are lines 0–3, 16–31 lines 4–7. int8 are copied: tiles of
// lines that straddle two of the cache's load at half the speed, and nothing says how weights lie.
template <bool kInt4>
CULET_INLINE void Unpack(const std::uint8_t* from, std::int8_t* to) {
  if (!kInt4) {
    for (int line = 0; line < 8; ++line) {
      _mm512_store_si512(to + line * 64, _mm512_loadu_si512(from + line * 64));
    }
    return;
  }
  const __m512i low = _mm512_set1_epi8(15);
  const __m512i eight = _mm512_set1_epi8(8);
  for (int line = 0; line < 4; ++line) {
    const __m512i both = _mm512_loadu_si512(from + line * 64);
    _mm512_store_si512(to + line * 64, _mm512_sub_epi8(_mm512_and_si512(both, low), eight));
    _mm512_store_si512(to + (line + 4) * 64,
                       _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(both, 4), low), eight));
  }
}

// A tile of 16 outputs and some columns of it.
struct Weights {
  const std::int8_t* blocks;  // of kBlockBytes
  const std::byte* scales;    // of the first block
  std::int64_t group_blocks;  // that share scales
  std::int64_t left;          // of the first one's group
};

// kRows rows of x, their scales [blocks, kRows], times `blocks` blocks of a tile. Sums of a row,
// out[row, 0 … 16), are begun anew or gone on with. Fetches kFetchBytes a block from `fetch` on.
template <int kRows, bool kWide, int kFetchBytes>
void RunPanel(const std::int8_t* values, std::int64_t width, const float* of_rows, const Weights& w,
              std::int64_t blocks, float* out, std::int64_t out_stride, bool first,
              const std::uint8_t* fetch) {
  alignas(64) std::int32_t sums[kSumsKept][kRows * kTileOutputs];
  __m512 acc[kRows];
  for (int r = 0; r < kRows; ++r) {
    acc[r] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(out + r * out_stride);
  }
  const std::byte* scales = w.scales;
  std::int64_t left = w.left;
  for (std::int64_t block = 0; block < blocks + kBehind; ++block) {
    if (block < blocks) {
      for (int line = 0; line < kFetchBytes; line += 64) {
        FetchLine(reinterpret_cast<std::uintptr_t>(fetch) +
                  static_cast<std::uintptr_t>(block * kFetchBytes + line));
      }
      TileZero<0>();
      TileLoad<1>(values + block * kQuantBlock, width);
      TileLoad<2>(w.blocks + block * kBlockBytes, 64);
      TileDotInt8<0, 1, 2>();
      TileStore<0>(sums[block % kSumsKept], 64);
    }
    const std::int64_t done = block - kBehind;
    if (done < 0) continue;
    const __m512 of_weights = LoadScales<kWide>(scales);
    const std::int32_t* from = sums[done % kSumsKept];
    for (int r = 0; r < kRows; ++r) {
      const __m512 scale = _mm512_mul_ps(of_weights, _mm512_set1_ps(of_rows[done * kRows + r]));
      const __m512i whole = _mm512_load_si512(from + r * kTileOutputs);
      acc[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, acc[r]);
    }
    if (--left == 0) {
      left = w.group_blocks;
      scales += kTileOutputs * (kWide ? 4 : 2);
    }
  }
  for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(out + r * out_stride, acc[r]);
}

// All rows times the outputs [begin, end), in panels of kRows.
template <bool kInt4, int kRows, bool kWide>
void RunPanels(const PanelRowsOperand& x, std::int64_t rows, const Matrix& w, std::int64_t begin,
               std::int64_t end, float* out, std::int64_t out_stride) {
  TileShapes shapes;
  shapes.Set(0, kRows, 64);            // sums [rows, 16] i32
  shapes.Set(1, kRows, kQuantBlock);   // x [rows, 32] i8
  shapes.Set(2, kQuantBlock / 4, 64);  // weights [8, 16, 4] i8
  const TilesInUse tiles(shapes);
  const WeightLayout layout = w.layout();
  constexpr std::int64_t kMostBlocks = kColumns / kQuantBlock;
  constexpr int kPartBytes = static_cast<int>(kInt4 ? kBlockBytes / 2 : kBlockBytes);  // of w
  alignas(64) std::int8_t unpacked[kMostBlocks * kBlockBytes];
  const std::int64_t group_blocks = w.group / kQuantBlock;
  for (std::int64_t n = begin; n < end; n += kTileOutputs) {
    const std::int64_t count = std::min(kTileOutputs, end - n);
    for (std::int64_t block = 0; block < x.blocks(); block += kMostBlocks) {
      const std::int64_t blocks = std::min(kMostBlocks, x.blocks() - block);
      const auto* data =
          static_cast<const std::uint8_t*>(w.data) + layout.byte(n, block * kQuantBlock);
      Weights part;
      for (std::int64_t b = 0; b < blocks; ++b) {
        Unpack<kInt4>(data + b * kPartBytes, unpacked + b * kBlockBytes);
      }
      part.blocks = unpacked;
      part.scales = static_cast<const std::byte*>(w.scale_at(layout.scale(n, block * kQuantBlock)));
      part.group_blocks = group_blocks;
      part.left = group_blocks - block % group_blocks;
      for (std::int64_t row = 0; row < rows; row += kRows) {
        float* to = out + row * out_stride + n;
        const bool whole = count == kTileOutputs && row + kRows <= rows;
        // What lies beyond the rows or the outputs goes elsewhere.
        alignas(64) float edge[kRows * kTileOutputs];
        const std::int64_t taken = std::min<std::int64_t>(kRows, rows - row);
        if (!whole && block > 0) {
          for (std::int64_t r = 0; r < taken; ++r) {
            std::copy(to + r * out_stride, to + r * out_stride + count, edge + r * kTileOutputs);
          }
        }
        const auto run = row == 0 ? RunPanel<kRows, kWide, kPartBytes> : RunPanel<kRows, kWide, 0>;
        run(x.values(row, block), x.width(), x.scales(row, block), part, blocks, whole ? to : edge,
            whole ? out_stride : kTileOutputs, block == 0, data + blocks * kPartBytes);
        if (!whole) {
          for (std::int64_t r = 0; r < taken; ++r) {
            std::copy(edge + r * kTileOutputs, edge + r * kTileOutputs + count,
                      to + r * out_stride);
          }
        }
      }
    }
  }
}

template <bool kInt4, int kRows>
CULET_INLINE void RunScales(const PanelRowsOperand& x, std::int64_t rows, const Matrix& w,
                            std::int64_t begin, std::int64_t end, float* out,
                            std::int64_t out_stride) {
  if (w.scale_dtype == DType::kF32) {
    RunPanels<kInt4, kRows, true>(x, rows, w, begin, end, out, out_stride);
  } else {
    RunPanels<kInt4, kRows, false>(x, rows, w, begin, end, out, out_stride);
  }
}

template <bool kInt4>
void Run(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
         std::int64_t end, float* out, std::int64_t out_stride) {
  if (rows < kLeastRows) {
    const auto few = kInt4 ? avx512vnni::RunInt4 : avx512vnni::RunInt8;
    return few(operand, rows, w, begin, end, out, out_stride);
  }
  const PanelRowsOperand x(operand, rows, w.cols);
  switch (PanelRows(rows)) {
    case 9: return RunScales<kInt4, 9>(x, rows, w, begin, end, out, out_stride);
    case 10: return RunScales<kInt4, 10>(x, rows, w, begin, end, out, out_stride);
    case 11: return RunScales<kInt4, 11>(x, rows, w, begin, end, out, out_stride);
    case 12: return RunScales<kInt4, 12>(x, rows, w, begin, end, out, out_stride);
    case 13: return RunScales<kInt4, 13>(x, rows, w, begin, end, out, out_stride);
    case 14: return RunScales<kInt4, 14>(x, rows, w, begin, end, out, out_stride);
    case 15: return RunScales<kInt4, 15>(x, rows, w, begin, end, out, out_stride);
    case 16: return RunScales<kInt4, 16>(x, rows, w, begin, end, out, out_stride);
    default: __builtin_unreachable();
  }
}

}  // namespace

void FillIntegerMatMulPart(CpuKernels& table) {
  table.matmul_int8 = {CpuLevel::kAmx, 1, PanelRowsOperand::Bytes, Pack<avx512vnni::PackInt8>,
                       Run<false>};
  table.matmul_int4 = {CpuLevel::kAmx, 1, PanelRowsOperand::Bytes, Pack<avx512vnni::PackInt4>,
                       Run<true>};
}

}  // namespace culet::amx
CULET_TARGET_END
