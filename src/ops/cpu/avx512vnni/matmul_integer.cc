// Products of integer weights with vpdpbusd, on rows quantised to int8: four unsigned bytes times
// four signed ones are added to 32 bits, 64 multiply-adds an instruction.
//
// The weights are the unsigned side, of any row, so that what makes them unsigned is shared by all
// rows: int4 are stored + 8, int8 get + 128 by one vpxord a line. Sums begin at −8·Σx or −128·Σx of
// their block, which `pack` keeps beside the scale.
//
// A tile's 16 outputs are one vector. Two tiles times up to 6 rows: 12 exact sums, 12 in scales of
// weights, 2 weights, 2 vectors of scales, 1 row and a mask are 30 of 32 registers; the f32 sums
// are in memory, and met once in 128 columns. Each block of 32 columns, or a group of x that shares
// a scale of weights, ends in one f32 multiply-add of its exact sum with the weights' scales, and
// each group in one with the row's; both in rising order, whatever the number of rows. Of a block
// of int4, 6 rows and 2 tiles, 96 of 147 of the vector units' instructions are products, of four
// blocks of int8 that share scales 384 of 484: that share of the peak is the most that many rows
// can get.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/avx512vnni/avx512vnni.h"
#include "ops/cpu/quantized_rows.h"
#include "ops/cpu/table.h"

CULET_TARGET_BEGIN(CULET_AVX512VNNI_TARGET)
namespace culet::avx512vnni {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx512/vec_inl.h"
#include "ops/cpu/avx512/quantize_inl.h"
#include "ops/cpu/simd/limits_inl.h"
// clang-format on

// How far ahead of each stream lines are fetched.
inline constexpr std::int64_t kAheadBytes = 2048;

CULET_INLINE void FetchAhead(const std::uint8_t* line) {
  FetchLine(reinterpret_cast<std::uintptr_t>(line) + kAheadBytes);
}
// Four bytes in every lane.
CULET_INLINE __m512i Spread(const void* p) {
  std::int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return _mm512_set1_epi32(four);
}
// Where the sums of a block begin: one number in the place of QuantGroup's two.
CULET_INLINE void StoreStart(std::int32_t start, QuantGroup* group) {
  static_assert(sizeof(group->start) == sizeof(start));
  std::memcpy(group->start, &start, sizeof(start));
}

// Values of x for int8: their sums begin elsewhere than those for int4, so `pack` is another one.
enum class Int8Value : std::int8_t {};

// Line i of a block of 32 columns, [16 outputs, 4 columns] unsigned, and the column of its first.
template <int kTogether>
struct Int4Block {
  using Value = std::int8_t;                 // of x
  static constexpr int kBlocks = kTogether;  // of an exact sum
  static constexpr std::int64_t kBytes = kTileOutputs * kQuantBlock / 2;
  static constexpr int kLines = 4;
  static constexpr int kHalves = 2;

  static CULET_INLINE __m512i Line(const std::uint8_t* w, int line) {
    FetchAhead(w + line * 64);
    return _mm512_loadu_si512(w + line * 64);
  }
  static CULET_INLINE __m512i Half(__m512i line, int half) {
    const __m512i low = _mm512_set1_epi8(15);
    return _mm512_and_si512(half == 0 ? line : _mm512_srli_epi16(line, 4), low);
  }
  static constexpr int Column(int line, int half) { return half * 16 + line * 4; }
};

template <int kTogether>
struct Int8Block {
  using Value = Int8Value;
  static constexpr int kBlocks = kTogether;
  static constexpr std::int64_t kBytes = kTileOutputs * kQuantBlock;
  static constexpr int kLines = 8;
  static constexpr int kHalves = 1;

  static CULET_INLINE __m512i Line(const std::uint8_t* w, int line) {
    FetchAhead(w + line * 64);
    return _mm512_xor_si512(_mm512_loadu_si512(w + line * 64),
                            _mm512_set1_epi8(static_cast<char>(-128)));
  }
  static CULET_INLINE __m512i Half(__m512i line, int) { return line; }
  static constexpr int Column(int line, int) { return line * 4; }
};

CULET_INLINE void StoreOutputs(float* out, __m512 values, std::int64_t count) {
  if (count >= kTileOutputs) {
    _mm512_storeu_ps(out, values);
  } else {
    _mm512_mask_storeu_ps(out, FirstLanes(count), values);
  }
}

// A block of kTiles tiles, which are passed, times kRows rows.
template <typename Block, int kRows, int kTiles>
CULET_INLINE void AddBlock(const std::uint8_t** data, const typename Block::Value* values,
                           std::int64_t stride, __m512i (*sums)[kRows]) {
#pragma GCC unroll 8
  for (int line = 0; line < Block::kLines; ++line) {
    __m512i lines[kTiles];
    for (int t = 0; t < kTiles; ++t) lines[t] = Block::Line(data[t], line);
    for (int half = 0; half < Block::kHalves; ++half) {
      __m512i parts[kTiles];
      for (int t = 0; t < kTiles; ++t) parts[t] = Block::Half(lines[t], half);
      for (int r = 0; r < kRows; ++r) {
        const __m512i four = Spread(values + r * stride + Block::Column(line, half));
        for (int t = 0; t < kTiles; ++t) {
          sums[t][r] = _mm512_dpbusd_epi32(sums[t][r], parts[t], four);
        }
      }
    }
  }
  for (int t = 0; t < kTiles; ++t) data[t] += Block::kBytes;
}

// kRows rows from `row` on times kTiles tiles of 16 outputs, from n, n + spread, … on. Tiles that
// begin at `end` or beyond are computed as the first and dropped.
template <typename Block, int kRows, int kTiles, bool kWide>
void RunTilesOf(const QuantizedRowsOf<typename Block::Value>& x, std::int64_t row, const Matrix& w,
                std::int64_t n, std::int64_t spread, std::int64_t end, float* out,
                std::int64_t out_stride) {
  const WeightLayout layout = w.layout();
  const std::int64_t blocks = x.blocks();
  const std::int64_t group_blocks = w.group / kQuantBlock;
  const typename Block::Value* values = x.row(row);
  const std::int64_t stride = x.width();
  const QuantGroup* groups = x.groups(row);
  const std::uint8_t* data[kTiles];
  const std::byte* scales[kTiles];
  const std::int64_t scale_step = kTileOutputs * (kWide ? 4 : 2);
  __m512 acc[kTiles][kRows];
  for (int t = 0; t < kTiles; ++t) {
    const std::int64_t first = n + t * spread < end ? n + t * spread : n;
    data[t] = static_cast<const std::uint8_t*>(w.data) + layout.byte(first, 0);
    scales[t] = static_cast<const std::byte*>(w.scale_at(layout.scale(first, 0)));
    for (int r = 0; r < kRows; ++r) acc[t][r] = _mm512_setzero_ps();
  }
  std::int64_t left = group_blocks;  // of the group of weights
  // The exact sums of blocks [from, to).
  const auto multiply = [&](std::int64_t from, std::int64_t to, __m512i(*sums)[kRows]) {
    for (int r = 0; r < kRows; ++r) {
      const __m512i start = Spread(groups[r * blocks + from].start);
      for (int t = 0; t < kTiles; ++t) sums[t][r] = start;
    }
    AddBlock<Block, kRows, kTiles>(data, values, stride, sums);
    values += kQuantBlock;
    if constexpr (Block::kBlocks > 1) {
      for (++from; from < to; ++from, values += kQuantBlock) {
        AddBlock<Block, kRows, kTiles>(data, values, stride, sums);
      }
    }
  };
  const auto pass_scales = [&] {
    left -= Block::kBlocks;
    if (left > 0) return;
    left = group_blocks;
    for (int t = 0; t < kTiles; ++t) scales[t] += scale_step;
  };
  for (std::int64_t first = 0; first < blocks; first += kScaleBlocks) {
    const std::int64_t last = std::min(first + kScaleBlocks, blocks);
    // Of the columns that share a scale of x, in scales of weights.
    __m512 scaled[kTiles][kRows];
    __m512i sums[kTiles][kRows];
    if constexpr (Block::kBlocks == kScaleBlocks) {
      multiply(first, last, sums);
      for (int t = 0; t < kTiles; ++t) {
        const __m512 of_weights = LoadScales<kWide>(scales[t]);
        for (int r = 0; r < kRows; ++r) {
          scaled[t][r] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][r]), of_weights);
        }
      }
      pass_scales();
    } else {
      for (int t = 0; t < kTiles; ++t) {
        for (int r = 0; r < kRows; ++r) scaled[t][r] = _mm512_setzero_ps();
      }
      for (std::int64_t block = first; block < last; ++block) {
        multiply(block, block + 1, sums);
        for (int t = 0; t < kTiles; ++t) {
          const __m512 of_weights = LoadScales<kWide>(scales[t]);
          for (int r = 0; r < kRows; ++r) {
            scaled[t][r] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t][r]), of_weights, scaled[t][r]);
          }
        }
        pass_scales();
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const __m512 of_row = _mm512_set1_ps(groups[r * blocks + first].scale);
      for (int t = 0; t < kTiles; ++t) acc[t][r] = _mm512_fmadd_ps(scaled[t][r], of_row, acc[t][r]);
    }
  }
  for (int t = 0; t < kTiles && n + t * spread < end; ++t) {
    const std::int64_t first = n + t * spread;
    for (int r = 0; r < kRows; ++r) {
      StoreOutputs(out + (row + r) * out_stride + first, acc[t][r], end - first);
    }
  }
}

// −Σq of a group.
CULET_INLINE std::int32_t MinusSum(const std::int8_t* q) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q));
  const __m256i ones = _mm256_set1_epi8(1);
  const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), ones, bytes);
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return -_mm_cvtsi128_si32(sum);
}
CULET_INLINE void StoreValues(std::int8_t* to, const std::int8_t* q, QuantGroup* group) {
  std::memcpy(to, q, kQuantBlock);
  StoreStart(8 * MinusSum(q), group);
}
CULET_INLINE void StoreValues(Int8Value* to, const std::int8_t* q, QuantGroup* group) {
  std::memcpy(to, q, kQuantBlock);
  StoreStart(128 * MinusSum(q), group);
}

inline constexpr int kPanelRows = 6;
inline constexpr int kPanelTiles = 2;
inline constexpr int kTallRows = 8;
#include "ops/cpu/simd/matmul_integer_inl.h"

// Sums over kBlocks blocks run from the first one's start.
template <typename Value, int kBlocks>
void PackTogether(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
                  std::int64_t begin, std::int64_t end, float scale, std::byte* operand) {
  Pack<Value>(x, x_stride, rows, k, begin, end, scale, operand);
  if (kBlocks == 1) return;
  const QuantizedRowsOf<Value> packed(operand, rows, k);
  for (std::int64_t row = begin; row < end; ++row) {
    QuantGroup* groups = packed.groups(row);
    for (std::int64_t first = 0; first < packed.blocks(); first += kBlocks) {
      std::int32_t sum = 0;
      for (std::int64_t b = first; b < std::min(first + kBlocks, packed.blocks()); ++b) {
        std::int32_t start;
        std::memcpy(&start, groups[b].start, sizeof(start));
        sum += start;
        StoreStart(0, groups + b);
      }
      StoreStart(sum, groups + first);
    }
  }
}

struct ByteStep {
  using Vector = __m512i;
  static CULET_INLINE __m512i Start(int number) {
    return _mm512_set1_epi8(static_cast<char>(number));
  }
  static CULET_INLINE __m512i Do(__m512i sum) {
    return _mm512_dpbusd_epi32(sum, sum, _mm512_set1_epi8(3));
  }
  static CULET_INLINE __m512i Sum(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
  static CULET_INLINE float Value(__m512i a) {
    return static_cast<float>(_mm_cvtsi128_si32(_mm512_castsi512_si128(a)));
  }
};

}  // namespace

template <int kBlocks>
void PackInt8(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
              std::int64_t begin, std::int64_t end, float scale, std::byte* operand) {
  PackTogether<Int8Value, kBlocks>(x, x_stride, rows, k, begin, end, scale, operand);
}
template <int kBlocks>
void PackInt4(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
              std::int64_t begin, std::int64_t end, float scale, std::byte* operand) {
  PackTogether<std::int8_t, kBlocks>(x, x_stride, rows, k, begin, end, scale, operand);
}
template <int kBlocks>
void RunInt8(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride) {
  Run<Int8Block<kBlocks>>(operand, rows, w, begin, end, out, out_stride);
}
template <int kBlocks>
void RunInt4(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride) {
  Run<Int4Block<kBlocks>>(operand, rows, w, begin, end, out, out_stride);
}

}  // namespace culet::avx512vnni
CULET_TARGET_END

namespace culet {

void FillAvx512Vnni(CpuKernels& table) {
  using namespace avx512vnni;
  constexpr CpuLevel kLevel = CpuLevel::kAvx512Vnni;
  table.level = kLevel;
  constexpr auto kBytes = QuantizedRows::Bytes;
  table.matmul_int8 = {kLevel, 1, kBytes, PackInt8<1>, RunInt8<1>};
  table.matmul_int4 = {kLevel, 1, kBytes, PackInt4<1>, RunInt4<1>};
  table.matmul_int8_wide = {kLevel, 1, kBytes, PackInt8<kScaleBlocks>, RunInt8<kScaleBlocks>};
  table.matmul_int4_wide = {kLevel, 1, kBytes, PackInt4<kScaleBlocks>, RunInt4<kScaleBlocks>};
  table.peak_int8 = Peak<ByteStep>;
  table.peak_int4 = Peak<ByteStep>;
  table.peak_int8_step = kPeakChains * 64;
  table.peak_int4_step = table.peak_int8_step;
}

}  // namespace culet
