// Products of integer weights with AMX, on rows quantised to int8.
//
// A block of 32 columns of 16 outputs is, in the layout of int8 weights, eight of a tile's 16 rows
// as they lie; 16 rows of x are the other one. Their product is the exact sums of the block:
// stored, turned into f32, multiplied by both scales and added, in the order and with the roundings
// of avx512vnni, whose kernels are taken for few rows. int4 weights are unpacked to int8 once for
// all rows. Where weights share a scale over all columns of a group of x, a sum runs over two whole
// tiles; else half of the unit idles, as two scales do not fit one sum.
//
// The unit's part of 16 rows and 16 outputs is 16 cycles a product and 16 a store; while it works,
// vector instructions run one a cycle and not two, and 32 to 48 of them take up the sums. So they
// are what is saved here, and alternate with the unit's, some steps behind it
// (docs/performance.md).
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
#include "ops/cpu/amx/quantized_panels_inl.h"
// clang-format on

// Fewer rows are quicker by avx512vnni: [12288, 1536] from memory with 8 rows took 0.82 ms there
// and 1.03 here in int8, 0.57 and 0.67 in int4 in groups of 32, with 16 rows 1.08 and 1.05, 0.89
// and 0.72 (two threads of a Granite Rapids).
inline constexpr std::int64_t kLeastRows = 9;
inline constexpr std::int64_t kBlockBytes = kTileOutputs * kQuantBlock;  // of weights, as int8
inline constexpr std::int64_t kBehind = 3;
inline constexpr std::int64_t kSumsKept = 4;  // products; a power of two beyond kBehind

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
    for (std::int64_t i = 0; i < k; i += kScaleColumns) {
      std::int8_t q[kScaleColumns] = {};  // zero beyond k
      QuantGroup groups[kScaleBlocks];
      QuantizeBlocks(from + i, k - i, scale, q, groups);
      panels.Store(row, i / panels.kStep, q, groups[0].scale);
    }
  }
  if (end < rows) return;
  // Rows beyond the last: what is there is computed with and dropped, but subnormals would be slow.
  for (std::int64_t row = rows; row < Padded(rows, kPanelRows); ++row) {
    for (std::int64_t step = 0; step < panels.steps(); step += panels.kGroupSteps) {
      panels.scales(row / kPanelRows, step)[row % kPanelRows] = 0;
    }
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

// Scales of weights, of one step after the other.
template <bool kWide>
struct Scales {
  const std::byte* at = nullptr;
  std::int64_t left = 0;         // steps of the group that they are of
  std::int64_t group_steps = 0;  // of the groups that follow

  CULET_INLINE __m512 Here() const { return LoadScales<kWide>(at); }
  CULET_INLINE void Next() {
    if (--left > 0) return;
    left = group_steps;
    at += kOutputs * (kWide ? 4 : 2);
  }
};

// What follows is by recursion, not in loops: those are unrolled too late for g++ 12 to keep arrays
// in registers.

// Rows [kRow, kTo) of a step's exact sums, in scales of weights, are added to those of the steps
// before it that share a scale of x.
template <int kRow, int kTo, bool kFirst>
CULET_INLINE void ScaleRows(const std::int32_t* sums, __m512 of_weights, __m512* scaled) {
  if constexpr (kRow < kTo) {
    const __m512 whole = _mm512_cvtepi32_ps(_mm512_load_si512(sums + kRow * kOutputs));
    scaled[kRow] = kFirst ? _mm512_mul_ps(whole, of_weights)
                          : _mm512_fmadd_ps(whole, of_weights, scaled[kRow]);
    ScaleRows<kRow + 1, kTo, kFirst>(sums, of_weights, scaled);
  }
}
// And these, in scales of x, to the f32 sums of all columns.
template <int kRow, int kTo>
CULET_INLINE void AddRows(const __m512* scaled, const float* of_rows, __m512* acc) {
  if constexpr (kRow < kTo) {
    acc[kRow] = _mm512_fmadd_ps(scaled[kRow], _mm512_set1_ps(of_rows[kRow]), acc[kRow]);
    AddRows<kRow + 1, kTo>(scaled, of_rows, acc);
  }
}
// f32 sums [16, 16]; zero if none are there yet.
template <int kRow = 0>
CULET_INLINE void LoadRows(const float* from, bool there, __m512* acc) {
  if constexpr (kRow < kPanelRows) {
    acc[kRow] = _mm512_maskz_loadu_ps(there ? 0xffff : 0, from + kRow * kOutputs);
    LoadRows<kRow + 1>(from, there, acc);
  }
}
template <int kRow = 0>
CULET_INLINE void StoreRows(const __m512* acc, float* to) {
  if constexpr (kRow < kPanelRows) {
    _mm512_store_ps(to + kRow * kOutputs, acc[kRow]);
    StoreRows<kRow + 1>(acc, to);
  }
}

// For ManyRows.
template <bool kInt4, bool kWide, int kBlocks>
class Strips {
 public:
  static constexpr std::int64_t kStep = Panels<kBlocks>::kStep;
  static constexpr std::int64_t kStepBytes = kStep;
  static constexpr std::int64_t kStripSteps = kBlocks == 1 ? 16 : 24 / kBlocks;

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
  static std::int64_t FetchesOf(std::int64_t panels, std::int64_t count) {
    return panels * 2 * Padded(count, kGroupSteps) / kGroupSteps;
  }
  Fetcher Ahead(std::int64_t n, std::int64_t end, std::int64_t step, std::int64_t count,
                std::int64_t over) const {
    const std::uint8_t* first = DataAt(n, step);
    const std::uint8_t* second = DataAt(Second(n, end), step);
    return {first, count * kBlocks * kDataBytes, second - first, first == second ? 1 : 2, over};
  }
  void Add(std::int64_t first, std::int64_t last, std::int64_t step, std::int64_t count, float* to,
           Fetcher& fetcher) const {
    if constexpr (kBlocks == 1) {
      AddNarrow(first, last, step, count, to, fetcher);
    } else {
      AddWide(first, last, step, count, to, fetcher);
    }
  }
  static CULET_INLINE void Put(const float* acc, std::int64_t strip_sums, std::int64_t rows,
                               std::int64_t count, float* out, std::int64_t out_stride) {
    for (std::int64_t r = 0; r < rows; ++r, acc += kOutputs, out += out_stride) {
      for (std::int64_t n = 0; n < count; n += kOutputs) {
        const __m512 sums =
            _mm512_load_ps(acc + n / kStripOutputs * strip_sums + n / kOutputs % 2 * kSums);
        const __mmask16 mask = count - n >= kOutputs ? 0xffff : FirstLanes(count - n);
        _mm512_mask_storeu_ps(out + n, mask, sums);
      }
    }
  }

 private:
  static constexpr std::int64_t kDataBytes = kInt4 ? kBlockBytes / 2 : kBlockBytes;  // of a block
  static constexpr int kTiles = Panels<kBlocks>::kTiles;
  static constexpr std::int64_t kGroupSteps = Panels<kBlocks>::kGroupSteps;
  static constexpr std::int64_t kRowBytes = Panels<kBlocks>::kTileColumns;  // of a tile of x
  // Of a tile of weights, and of x.
  static constexpr std::int64_t kTileBytes = kTileOutputs * kRowBytes;
  static constexpr std::int64_t kFilledBytes = kTiles * kTileBytes;  // of a step

  CULET_INLINE const std::uint8_t* DataAt(std::int64_t n, std::int64_t step) const {
    return static_cast<const std::uint8_t*>(w_.data) + layout_.byte(n, step * kStep);
  }
  // A tile beyond the last one is the last one again, and dropped.
  static CULET_INLINE std::int64_t Second(std::int64_t n, std::int64_t end) {
    return n + kOutputs < end ? n + kOutputs : n;
  }

  // The exact sums of a step.
  static CULET_INLINE void Multiply(const std::int8_t* x, const std::int8_t* w,
                                    std::int32_t* sums) {
    TileZero<0>();
    for (int tile = 0; tile < kTiles; ++tile) {
      TileLoad<4>(x + tile * kTileBytes, kRowBytes);
      TileLoad<6>(w + tile * kTileBytes, 64);
      TileDotInt8<0, 4, 6>();
    }
    TileStore<0>(sums, 64);
  }

  // Steps of one tile that share a scale of x, and where their sums go.
  struct Group {
    const std::int8_t* x = nullptr;
    const std::int8_t* w = nullptr;
    std::int64_t steps = 0;
    const float* of_rows = nullptr;
    Scales<kWide> of_weights;
    bool added = false;  // to what is there
    float* to = nullptr;
  };

  // Multiply, and ScaleRows of an earlier step: in turns, as else one waits for the other.
  template <bool kFirst>
  static CULET_INLINE void Both(const std::int8_t* x, const std::int8_t* w, std::int32_t* sums,
                                const std::int32_t* before, __m512 of_weights, __m512* scaled) {
    TileZero<0>();
    TileLoad<4>(x, kRowBytes);
    ScaleRows<0, 4, kFirst>(before, of_weights, scaled);
    TileLoad<6>(w, 64);
    ScaleRows<4, 8, kFirst>(before, of_weights, scaled);
    TileDotInt8<0, 4, 6>();
    ScaleRows<8, 16, kFirst>(before, of_weights, scaled);
    TileStore<0>(sums, 64);
  }
  static CULET_INLINE void Finish(const Group& group, const __m512* scaled) {
    __m512 acc[kPanelRows];
    LoadRows(group.to, group.added, acc);
    AddRows<0, kPanelRows>(scaled, group.of_rows, acc);
    StoreRows(acc, group.to);
  }

  // The unit is a group of steps ahead of vector instructions, of this tile or the next one.
  [[gnu::noinline]] void AddNarrow(std::int64_t first, std::int64_t last, std::int64_t step,
                                   std::int64_t count, float* to, Fetcher& fetcher) const {
    alignas(64) std::int32_t sums[2][kGroupSteps][kSums];
    Group before;  // none
    int half = 0;
    for (std::int64_t panel = first; panel < last; ++panel) {
      for (int t = 0; t < 2; ++t, to += kSums) {
        Scales<kWide> of_weights = {scales_[t], left_, group_steps_};
        for (std::int64_t s = 0; s < count; s += kGroupSteps, half ^= 1) {
          const Group group = {x_.values(panel, step + s),
                               tiles_[t] + s * kFilledBytes,
                               std::min(kGroupSteps, count - s),
                               x_.scales(panel, step + s),
                               of_weights,
                               step + s > 0,
                               to};
          if (before.steps == kGroupSteps && group.steps == kGroupSteps) {
            const std::int32_t* from = sums[half ^ 1][0];
            __m512 scaled[kPanelRows];
            Both<true>(group.x, group.w, sums[half][0], from, before.of_weights.Here(), scaled);
            for (std::int64_t i = 1; i < kGroupSteps; ++i) {
              before.of_weights.Next();
              Both<false>(group.x + i * kFilledBytes, group.w + i * kFilledBytes, sums[half][i],
                          from + i * kSums, before.of_weights.Here(), scaled);
            }
            Finish(before, scaled);
          } else {
            TakeUp(before, sums[half ^ 1][0]);
            for (std::int64_t i = 0; i < group.steps; ++i) {
              Multiply(group.x + i * kFilledBytes, group.w + i * kFilledBytes, sums[half][i]);
            }
          }
          for (std::int64_t i = 0; i < group.steps; ++i) of_weights.Next();
          before = group;
          fetcher.Step();
        }
      }
    }
    TakeUp(before, sums[half ^ 1][0]);
  }
  static void TakeUp(Group group, const std::int32_t* sums) {
    if (group.steps == 0) return;
    __m512 scaled[kPanelRows];
    ScaleRows<0, kPanelRows, true>(sums, group.of_weights.Here(), scaled);
    for (std::int64_t i = 1; i < group.steps; ++i) {
      group.of_weights.Next();
      ScaleRows<0, kPanelRows, false>(sums + i * kSums, group.of_weights.Here(), scaled);
    }
    Finish(group, scaled);
  }

  // Rows [kRow, kTo) of a step that is a group by itself.
  template <int kRow, int kTo>
  static CULET_INLINE void TakeRows(const std::int32_t* sums, const float* of_rows,
                                    __m512 of_weights, __m512* acc) {
    __m512 scaled[kPanelRows];
    ScaleRows<kRow, kTo, true>(sums, of_weights, scaled);
    AddRows<kRow, kTo>(scaled, of_rows, acc);
  }

  // The unit is kBehind steps ahead of vector instructions, which have the f32 sums of a tile in
  // registers.
  [[gnu::noinline]] void AddWide(std::int64_t first, std::int64_t last, std::int64_t step,
                                 std::int64_t count, float* to, Fetcher& fetcher) const {
    alignas(64) std::int32_t sums[kSumsKept][kSums];
    std::uint64_t next = 0;  // of the sums
    const std::int64_t behind = std::min(count, kBehind);
    const float* of_rows = nullptr;
    Scales<kWide> of_weights;
    __m512 acc[kPanelRows];
    const auto before = [&](std::int64_t steps) {
      return sums[(next - static_cast<std::uint64_t>(steps)) % kSumsKept];
    };
    const auto both = [&](const std::int8_t** x, const std::int8_t** w)
        __attribute__((always_inline)) {
      const std::int32_t* from = before(behind);
      const __m512 scales = of_weights.Here();
      TileZero<0>();
      TileLoad<4>(*x, kRowBytes);
      TakeRows<0, 4>(from, of_rows, scales, acc);
      TileLoad<6>(*w, 64);
      TakeRows<4, 8>(from, of_rows, scales, acc);
      TileDotInt8<0, 4, 6>();
      TileLoad<5>(*x + kTileBytes, kRowBytes);
      TakeRows<8, 12>(from, of_rows, scales, acc);
      TileLoad<7>(*w + kTileBytes, 64);
      TakeRows<12, 16>(from, of_rows, scales, acc);
      TileDotInt8<0, 5, 7>();
      TileStore<0>(sums[next++ % kSumsKept], 64);
      of_rows += kPanelRows;
      of_weights.Next();
      *x += kFilledBytes;
      *w += kFilledBytes;
      fetcher.Step();
    };
    static_assert(kBlocks == 1 || kTiles == 2);
    for (std::int64_t panel = first; panel < last; ++panel) {
      for (int t = 0; t < 2; ++t, to += kSums) {
        const std::int8_t* x = x_.values(panel, step);
        const std::int8_t* w = tiles_[t];
        if (panel == first && t == 0) {
          for (std::int64_t s = 0; s < behind; ++s, x += kFilledBytes, w += kFilledBytes) {
            Multiply(x, w, sums[next++ % kSumsKept]);
            fetcher.Step();
          }
        } else {
          // The unit begins with this tile while sums of the one before it are taken up.
          for (std::int64_t s = 0; s < behind; ++s) both(&x, &w);
          StoreRows(acc, to - kSums);
        }
        of_rows = x_.scales(panel, step);
        of_weights = {scales_[t], left_, group_steps_};
        LoadRows(to, step > 0, acc);
        for (std::int64_t s = behind; s < count; ++s) both(&x, &w);
      }
    }
    for (std::int64_t s = behind; s > 0; --s, of_rows += kPanelRows, of_weights.Next()) {
      TakeRows<0, kPanelRows>(before(s), of_rows, of_weights.Here(), acc);
    }
    StoreRows(acc, to - kSums);
  }

  const Matrix& w_;
  const Panels<kBlocks>& x_;
  WeightLayout layout_;
  std::int64_t group_steps_;  // that share scales
  std::int64_t left_ = 0;     // of the first one's group
  const std::byte* scales_[2] = {nullptr, nullptr};
  alignas(64) std::int8_t tiles_[2][kStripSteps * kFilledBytes];
};

template <bool kInt4, bool kWide, int kBlocks>
void RunMany(const Panels<kBlocks>& x, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride) {
  TileShapes shapes;
  constexpr int kColumns = static_cast<int>(Panels<kBlocks>::kTileColumns);
  // Sums [rows, 16] i32; x [rows, columns] i8; weights [columns / 4, 16, 4] i8.
  shapes.Set(0, kPanelRows, 64);
  for (int tile = 4; tile < 6; ++tile) shapes.Set(tile, kPanelRows, kColumns);
  for (int tile = 6; tile < 8; ++tile) shapes.Set(tile, kColumns / 4, 64);
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
  table.matmul_int8_wide = Int8Kernel<kScaleBlocks>();
  table.matmul_int4_wide = Int4Kernel<kScaleBlocks>();
}

}  // namespace culet::amx
CULET_TARGET_END
