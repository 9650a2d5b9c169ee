// Products of integer weights with AMX, on rows quantised to int8.
//
// A block of 32 columns of 16 outputs is, in the layout of int8 weights, eight of a tile's 16 rows
// as they lie; 16 rows of x are the other one. Their product is the exact sums of the block:
// stored, turned into f32, multiplied by both scales and added, in the order and with the roundings
// of avx512vnni, whose kernels are taken for few rows. int4 weights are unpacked to int8 once for
// all rows. Where scales hold for two blocks, of weights and of x, a tile is both; else half of the
// unit idles, as two scales do not fit one sum.
//
// Of 16 rows and 16 outputs the unit needs 16 cycles, the 48 vector instructions that follow 24.
// Vector units wait for nothing only where instructions of both kinds alternate, and sums are taken
// up kBehind products later: 17.5 ns then, 20 with one after the other (Granite Rapids at 3.2 GHz,
// in groups of 32; the unit alone 5).
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

// Fewer rows are quicker one by one: [12288, 1536] in int4 in groups of 32 with 8 rows took 13.5 ms
// there and 14.5 here (19 of them from memory, two threads of a Xeon), with 16 rows 21.8 and 20.
inline constexpr std::int64_t kLeastRows = 9;
inline constexpr std::int64_t kBlockBytes = kTileOutputs * kQuantBlock;  // of weights, as int8
inline constexpr std::int64_t kBehind = 3;
inline constexpr std::int64_t kSumsKept = 4;  // products; a power of two beyond kBehind

// The operand: rows in panels, values [panels][steps][16 rows][a step's columns], then scales
// [panels][steps][16]. A step is kBlocks groups that share a scale.
template <int kBlocks>
class Panels {
 public:
  static constexpr std::int64_t kStep = kBlocks * kQuantBlock;

  Panels(const std::byte* operand, std::int64_t rows, std::int64_t k)
      : steps_(Padded(k, kStep) / kStep),
        values_(reinterpret_cast<std::int8_t*>(const_cast<std::byte*>(operand))),
        scales_(reinterpret_cast<float*>(values_ + Padded(rows, kPanelRows) * steps_ * kStep)) {}

  static std::size_t Bytes(std::int64_t rows, std::int64_t k) {
    return static_cast<std::size_t>(Padded(rows, kPanelRows) * Padded(k, kStep) / kStep) *
           (kStep + sizeof(float));
  }

  std::int64_t steps() const { return steps_; }
  CULET_INLINE std::int8_t* values(std::int64_t row, std::int64_t step) const {
    return values_ + (Place(row, step) + row % kPanelRows) * kStep;
  }
  CULET_INLINE float* scales(std::int64_t row, std::int64_t step) const {
    return scales_ + Place(row, step) + row % kPanelRows;
  }

 private:
  CULET_INLINE std::int64_t Place(std::int64_t row, std::int64_t step) const {
    return (row / kPanelRows * steps_ + step) * kPanelRows;
  }

  std::int64_t steps_;
  std::int8_t* values_;
  float* scales_;
};

template <int kBlocks>
std::size_t OperandBytes(std::int64_t rows, std::int64_t k) {
  return rows < kLeastRows ? QuantizedRows::Bytes(rows, k) : Panels<kBlocks>::Bytes(rows, k);
}

template <auto kPackFew, int kBlocks>
void Pack(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
          std::int64_t begin, std::int64_t end, float scale, std::byte* operand) {
  if (rows < kLeastRows) return kPackFew(x, x_stride, rows, k, begin, end, scale, operand);
  const Panels<kBlocks> panels(operand, rows, k);
  for (std::int64_t row = begin; row < end; ++row) {
    const float* from = x + row * x_stride;
    for (std::int64_t step = 0; step < panels.steps(); ++step, from += panels.kStep) {
      const std::int64_t left = k - step * panels.kStep;
      std::int8_t* values = panels.values(row, step);
      QuantGroup groups[kBlocks];
      QuantizeBlocks<kBlocks>(from, left, scale, values, groups);
      // The second of two blocks where k ends after the first.
      if (left <= panels.kStep - kQuantBlock) std::memset(values + kQuantBlock, 0, kQuantBlock);
      *panels.scales(row, step) = groups[0].scale;
    }
  }
  if (end < rows) return;
  // Rows beyond the last: what is there is computed with and dropped, but subnormals would be slow.
  for (std::int64_t row = rows; row < Padded(rows, kPanelRows); ++row) {
    for (std::int64_t step = 0; step < panels.steps(); ++step) *panels.scales(row, step) = 0;
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
template <bool kInt4, bool kWide, int kBlocks>
class Strips {
 public:
  static constexpr std::int64_t kStep = kBlocks * kQuantBlock;
  static constexpr std::int64_t kStepBytes = kStep;
  static constexpr std::int64_t kStripSteps = kBlocks == 1 ? 16 : 12;

  Strips(const Matrix& w, const Panels<kBlocks>& x)
      : w_(w),
        x_(x),
        layout_(w.layout()),
        // One scale a row may hold for less than whole steps.
        group_steps_(w.group < layout_.padded_k() ? w.group / kStep : x.steps()) {}

  void Make(std::int64_t n, std::int64_t end, std::int64_t step, std::int64_t count) {
    left_ = group_steps_ - step % group_steps_;
    const std::int64_t blocks = count * kBlocks;
    const std::int64_t there = std::min(blocks, (layout_.padded_k() - step * kStep) / kQuantBlock);
    for (std::int64_t t = 0; t < 2; ++t) {
      const std::int64_t first = t == 0 ? n : Second(n, end);
      const std::uint8_t* data = DataAt(first, step);
      for (std::int64_t b = 0; b < there; ++b) {
        Unpack<kInt4>(data + b * kDataBytes, tiles_[t] + b * kBlockBytes);
      }
      // Beyond k, beside zeros of x.
      std::memset(tiles_[t] + there * kBlockBytes, 0,
                  static_cast<std::size_t>((blocks - there) * kBlockBytes));
      scales_[t] = static_cast<const std::byte*>(w_.scale_at(layout_.scale(first, step * kStep)));
    }
  }
  Fetcher Ahead(std::int64_t n, std::int64_t end, std::int64_t step, std::int64_t count,
                std::int64_t pairs) const {
    // AddTile has a step of it where it both multiplies and takes up; a pair is four of them.
    const std::int64_t over = pairs * 4 * (kStripSteps - kBehind);
    const std::uint8_t* first = DataAt(n, step);
    const std::uint8_t* second = DataAt(Second(n, end), step);
    return {first, count * kBlocks * kDataBytes, second - first, first == second ? 1 : 2, over};
  }
  template <int kPanels>
  void Add(std::int64_t panel, std::int64_t step, std::int64_t count, float* acc,
           Fetcher& fetcher) const {
    for (std::int64_t p = panel; p < panel + kPanels; ++p) {
      for (int t = 0; t < 2; ++t, acc += kSums) {
        AddTile(p * kPanelRows, step, count, t, acc, fetcher);
      }
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
  static constexpr std::int64_t kDataBytes = kInt4 ? kBlockBytes / 2 : kBlockBytes;  // of a block
  static constexpr std::int64_t kTileBytes = kBlocks * kBlockBytes;  // of weights, and of x
  static constexpr std::int64_t kScaleBytes = kTileOutputs * (kWide ? 4 : 2);

  CULET_INLINE const std::uint8_t* DataAt(std::int64_t n, std::int64_t step) const {
    return static_cast<const std::uint8_t*>(w_.data) + layout_.byte(n, step * kStep);
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
      TileZero<0>();
      TileLoad<4>(x, kStep);
      TileLoad<6>(w, 64);
      TileDotInt8<0, 4, 6>();
      TileStore<0>(sums[block], 64);
    }
    TakenUp taken = {sums[0], x_.scales(row, step), _mm512_setzero_ps()};
    const std::byte* scales = scales_[t];
    std::int64_t left = left_;
    for (std::int64_t block = first; block < count; ++block, x += kTileBytes, w += kTileBytes) {
      TileZero<0>();
      TileLoad<4>(x, kStep);
      taken.of_weights = LoadScales<kWide>(scales);
      taken.template Rows<0, 4>(acc);
      TileLoad<6>(w, 64);
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
  CULET_INLINE void Next(const std::int32_t* sums, TakenUp* taken, std::int64_t* left,
                         const std::byte** scales) const {
    taken->sums = sums;
    taken->of_rows += kPanelRows;
    if (--*left > 0) return;
    *left = group_steps_;
    *scales += kScaleBytes;
  }

  const Matrix& w_;
  const Panels<kBlocks>& x_;
  WeightLayout layout_;
  std::int64_t group_steps_;  // that share scales
  std::int64_t left_ = 0;     // of the first one's group
  const std::byte* scales_[2] = {nullptr, nullptr};
  alignas(64) std::int8_t tiles_[2][kStripSteps * kTileBytes];
};

template <bool kInt4, bool kWide, int kBlocks>
void RunMany(const Panels<kBlocks>& x, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride) {
  TileShapes shapes;
  shapes.Set(0, kPanelRows, 64);       // sums [rows, 16] i32
  shapes.Set(4, kPanelRows, x.kStep);  // x [rows, columns] i8
  shapes.Set(6, x.kStep / 4, 64);      // weights [columns / 4, 16, 4] i8
  const TilesInUse tiles(shapes);
  Strips<kInt4, kWide, kBlocks> strips(w, x);
  ManyRows(strips, rows, x.steps(), out, out_stride).Run(begin, end);
}

template <bool kInt4, int kBlocks>
void Run(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
         std::int64_t end, float* out, std::int64_t out_stride) {
  if (rows < kLeastRows) {
    const auto few = kInt4 ? avx512vnni::RunInt4<kBlocks> : avx512vnni::RunInt8<kBlocks>;
    return few(operand, rows, w, begin, end, out, out_stride);
  }
  const Panels<kBlocks> x(operand, rows, w.cols);
  const auto many =
      w.scale_dtype == DType::kF32 ? RunMany<kInt4, true, kBlocks> : RunMany<kInt4, false, kBlocks>;
  many(x, rows, w, begin, end, out, out_stride);
}

template <int kBlocks>
MatMulKernel Int8Kernel() {
  return {CpuLevel::kAmx, 1, OperandBytes<kBlocks>, Pack<avx512vnni::PackInt8<kBlocks>, kBlocks>,
          Run<false, kBlocks>};
}
template <int kBlocks>
MatMulKernel Int4Kernel() {
  return {CpuLevel::kAmx, 1, OperandBytes<kBlocks>, Pack<avx512vnni::PackInt4<kBlocks>, kBlocks>,
          Run<true, kBlocks>};
}

}  // namespace

void FillIntegerMatMulPart(CpuKernels& table) {
  table.matmul_int8 = Int8Kernel<1>();
  table.matmul_int4 = Int4Kernel<1>();
  table.matmul_int8_wide = Int8Kernel<kWideBlocks>();
  table.matmul_int4_wide = Int4Kernel<kWideBlocks>();
}

}  // namespace culet::amx
CULET_TARGET_END
