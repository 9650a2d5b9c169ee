// Products of integer weights with AMX, on rows quantised to int8.
//
// A block of 32 columns of 16 outputs is, in the layout of int8 weights, the eight rows of a tile
// as they lie; 16 rows of x are the other one. Their product is the exact sums of the block:
// stored, turned into f32, multiplied by both scales and added, in the order and with the roundings
// of the levels below. int4 weights are unpacked to int8 once for all rows. The unit could take 64
// columns at a time, but two scales do not fit one sum.
//
// Of a block of 16 rows and 16 outputs the unit needs 16 cycles, the 48 vector instructions that
// follow 24. Vector units wait for nothing only where instructions of both kinds alternate, and
// sums are taken up kBehind blocks later: 17.5 ns a block then, 20 with one after the other
// (Granite Rapids at 3.2 GHz; the unit alone 5).
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cmath>
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
#include "ops/cpu/avx512/quantize_inl.h"
#include "ops/cpu/simd/quantize_inl.h"
#include "ops/cpu/amx/tile_inl.h"
#include "ops/cpu/amx/panels_inl.h"
// clang-format on

// Fewer rows are quicker one by one: [12288, 1536] in int4 with 8 rows took 13.5 ms there and 14.5
// here (19 of them from memory, two threads of a Xeon), with 16 rows 21.8 and 20.
inline constexpr std::int64_t kLeastRows = 9;
inline constexpr std::int64_t kTileBytes = kTileOutputs * kQuantBlock;  // of weights, and of x
inline constexpr std::int64_t kBehind = 3;
inline constexpr std::int64_t kSumsKept = 4;  // blocks; a power of two beyond kBehind

// The operand: rows in panels, values [panels][blocks][16 rows][32], then scales
// [panels][blocks][16].
class Panels {
 public:
  Panels(const std::byte* operand, std::int64_t rows, std::int64_t k)
      : blocks_(Padded(k, kQuantBlock) / kQuantBlock),
        values_(reinterpret_cast<std::int8_t*>(const_cast<std::byte*>(operand))),
        scales_(
            reinterpret_cast<float*>(values_ + Padded(rows, kPanelRows) * blocks_ * kQuantBlock)) {}

  static std::size_t Bytes(std::int64_t rows, std::int64_t k) {
    return static_cast<std::size_t>(Padded(rows, kPanelRows) * Padded(k, kQuantBlock) /
                                    kQuantBlock) *
           (kQuantBlock + sizeof(float));
  }

  std::int64_t blocks() const { return blocks_; }
  CULET_INLINE std::int8_t* values(std::int64_t row, std::int64_t block) const {
    return values_ + (Place(row, block) + row % kPanelRows) * kQuantBlock;
  }
  CULET_INLINE float* scales(std::int64_t row, std::int64_t block) const {
    return scales_ + Place(row, block) + row % kPanelRows;
  }

 private:
  CULET_INLINE std::int64_t Place(std::int64_t row, std::int64_t block) const {
    return (row / kPanelRows * blocks_ + block) * kPanelRows;
  }

  std::int64_t blocks_;
  std::int8_t* values_;
  float* scales_;
};

std::size_t OperandBytes(std::int64_t rows, std::int64_t k) {
  return rows < kLeastRows ? QuantizedRows::Bytes(rows, k) : Panels::Bytes(rows, k);
}

template <auto kPackFew>
void Pack(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
          std::int64_t begin, std::int64_t end, float scale, std::byte* operand) {
  if (rows < kLeastRows) return kPackFew(x, x_stride, rows, k, begin, end, scale, operand);
  const Panels panels(operand, rows, k);
  for (std::int64_t row = begin; row < end; ++row) {
    const float* from = x + row * x_stride;
    for (std::int64_t block = 0; block < panels.blocks(); ++block, from += kQuantBlock) {
      QuantGroup group;
      QuantizeBlock(from, k - block * kQuantBlock, scale, panels.values(row, block), &group);
      *panels.scales(row, block) = group.scale;
    }
  }
  if (end < rows) return;
  // Rows beyond the last: what is there is computed with and dropped, but subnormals would be slow.
  for (std::int64_t row = rows; row < Padded(rows, kPanelRows); ++row) {
    for (std::int64_t block = 0; block < panels.blocks(); ++block) *panels.scales(row, block) = 0;
  }
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

// The sums of a block of 16 rows and 16 outputs go to their f32 sums, some rows at a time.
struct TakenUp {
  const std::int32_t* sums;
  const float* of_rows;
  __m512 of_weights;

  template <int kFrom, int kTo>
  CULET_INLINE void Rows(__m512* acc) const {
#pragma GCC unroll 16
    for (int r = kFrom; r < kTo; ++r) {
      const __m512 scale = _mm512_mul_ps(of_weights, _mm512_set1_ps(of_rows[r]));
      const __m512i whole = _mm512_load_si512(sums + r * kTileOutputs);
      acc[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, acc[r]);
    }
  }
};

// For ManyRows.
template <bool kInt4, bool kWide>
class Strips {
 public:
  static constexpr std::int64_t kStepBytes = kQuantBlock;
  static constexpr std::int64_t kStripSteps = 16;

  Strips(const Matrix& w, const Panels& x) : w_(w), x_(x), layout_(w.layout()) {}

  void Make(std::int64_t n, std::int64_t end, std::int64_t step, std::int64_t count) {
    group_blocks_ = w_.group / kQuantBlock;
    left_ = group_blocks_ - step % group_blocks_;
    for (std::int64_t t = 0; t < 2; ++t) {
      const std::int64_t first = t == 0 ? n : Second(n, end);
      const std::uint8_t* data = DataAt(first, step);
      for (std::int64_t b = 0; b < count; ++b) {
        Unpack<kInt4>(data + b * kDataBytes, tiles_[t] + b * kTileBytes);
      }
      scales_[t] =
          static_cast<const std::byte*>(w_.scale_at(layout_.scale(first, step * kQuantBlock)));
    }
  }
  Fetcher Ahead(std::int64_t n, std::int64_t end, std::int64_t step, std::int64_t count,
                std::int64_t over) const {
    const std::uint8_t* first = DataAt(n, step);
    const std::uint8_t* second = DataAt(Second(n, end), step);
    return {first, count * kDataBytes, second - first, first == second ? 1 : 2, over};
  }
  template <int kPanels>
  void Add(std::int64_t panel, std::int64_t step, std::int64_t count, float* acc,
           Fetcher& fetcher) const {
    for (std::int64_t p = panel; p < panel + kPanels; ++p) {
      for (int t = 0; t < 2; ++t, acc += kSums)
        AddTile(p * kPanelRows, step, count, t, acc, fetcher);
    }
  }
  static CULET_INLINE void Put(const float* sums, std::int64_t rows, std::int64_t count, float* out,
                               std::int64_t out_stride) {
    if (count <= 0) return;
    const __mmask16 mask = count >= kOutputs ? 0xffff : FirstLanes(count);
    for (std::int64_t r = 0; r < rows; ++r) {
      _mm512_mask_storeu_ps(out + r * out_stride, mask, _mm512_load_ps(sums + r * kOutputs));
    }
  }

 private:
  static constexpr std::int64_t kDataBytes = kInt4 ? kTileBytes / 2 : kTileBytes;  // of a block
  static constexpr std::int64_t kScaleBytes = kTileOutputs * (kWide ? 4 : 2);

  CULET_INLINE const std::uint8_t* DataAt(std::int64_t n, std::int64_t step) const {
    return static_cast<const std::uint8_t*>(w_.data) + layout_.byte(n, step * kQuantBlock);
  }
  // A tile beyond the last one is the last one again, and dropped.
  static CULET_INLINE std::int64_t Second(std::int64_t n, std::int64_t end) {
    return n + kOutputs < end ? n + kOutputs : n;
  }

  // 16 rows times the 16 outputs of tile t.
  void AddTile(std::int64_t row, std::int64_t step, std::int64_t count, int t, float* sums_so_far,
               Fetcher& fetcher) const {
    alignas(64) std::int32_t sums[kSumsKept][kSums];
    const std::int8_t* x = x_.values(row, step);
    const std::int8_t* w = tiles_[t];
    __m512 acc[kPanelRows];
#pragma GCC unroll 16
    for (int r = 0; r < kPanelRows; ++r) acc[r] = _mm512_load_ps(sums_so_far + r * kOutputs);
    const std::int64_t first = std::min(count, kBehind);
    for (std::int64_t block = 0; block < first; ++block, x += kTileBytes, w += kTileBytes) {
      LoadX(x);
      LoadWeights(w);
      TileDotInt8<0, 4, 6>();
      TileStore<0>(sums[block], 64);
    }
    TakenUp taken = {sums[0], x_.scales(row, step), _mm512_setzero_ps()};
    const std::byte* scales = scales_[t];
    std::int64_t left = left_;
    for (std::int64_t block = first; block < count; ++block, x += kTileBytes, w += kTileBytes) {
      LoadX(x);
      taken.of_weights = LoadScales<kWide>(scales);
      taken.template Rows<0, 4>(acc);
      LoadWeights(w);
      taken.template Rows<4, 8>(acc);
      TileDotInt8<0, 4, 6>();
      taken.template Rows<8, 16>(acc);
      TileStore<0>(sums[block % kSumsKept], 64);
      Next(sums[(block + 1 - first) % kSumsKept], &taken, &left, &scales);
      fetcher.Step();
    }
    for (std::int64_t block = count - first; block < count; ++block) {
      taken.sums = sums[block % kSumsKept];
      taken.of_weights = LoadScales<kWide>(scales);
      taken.template Rows<0, 16>(acc);
      Next(sums[0], &taken, &left, &scales);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kPanelRows; ++r) _mm512_store_ps(sums_so_far + r * kOutputs, acc[r]);
  }
  static CULET_INLINE void LoadX(const std::int8_t* x) {
    TileZero<0>();
    TileLoad<4>(x, kQuantBlock);
  }
  static CULET_INLINE void LoadWeights(const std::int8_t* w) { TileLoad<6>(w, 64); }
  CULET_INLINE void Next(const std::int32_t* sums, TakenUp* taken, std::int64_t* left,
                         const std::byte** scales) const {
    taken->sums = sums;
    taken->of_rows += kPanelRows;
    if (--*left > 0) return;
    *left = group_blocks_;
    *scales += kScaleBytes;
  }

  const Matrix& w_;
  const Panels& x_;
  WeightLayout layout_;
  std::int64_t group_blocks_ = 0;  // that share scales
  std::int64_t left_ = 0;          // of the first one's group
  const std::byte* scales_[2] = {nullptr, nullptr};
  alignas(64) std::int8_t tiles_[2][kStripSteps * kTileBytes];
};

template <bool kInt4, bool kWide>
void RunMany(const Panels& x, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride) {
  TileShapes shapes;
  for (int tile = 0; tile < 2; ++tile) shapes.Set(tile, kPanelRows, 64);  // sums [rows, 16] i32
  for (int tile = 4; tile < 6; ++tile)
    shapes.Set(tile, kPanelRows, kQuantBlock);                                 // x [rows, 32] i8
  for (int tile = 6; tile < 8; ++tile) shapes.Set(tile, kQuantBlock / 4, 64);  // [8, 16, 4] i8
  const TilesInUse tiles(shapes);
  Strips<kInt4, kWide> strips(w, x);
  ManyRows(strips, rows, x.blocks(), out, out_stride).Run(begin, end);
}

template <bool kInt4>
void Run(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
         std::int64_t end, float* out, std::int64_t out_stride) {
  if (rows < kLeastRows) {
    const auto few = kInt4 ? avx512vnni::RunInt4 : avx512vnni::RunInt8;
    return few(operand, rows, w, begin, end, out, out_stride);
  }
  const Panels x(operand, rows, w.cols);
  const auto many = w.scale_dtype == DType::kF32 ? RunMany<kInt4, true> : RunMany<kInt4, false>;
  many(x, rows, w, begin, end, out, out_stride);
}

}  // namespace

void FillIntegerMatMulPart(CpuKernels& table) {
  table.matmul_int8 = {CpuLevel::kAmx, 1, OperandBytes, Pack<avx512vnni::PackInt8>, Run<false>};
  table.matmul_int4 = {CpuLevel::kAmx, 1, OperandBytes, Pack<avx512vnni::PackInt4>, Run<true>};
}

}  // namespace culet::amx
CULET_TARGET_END
