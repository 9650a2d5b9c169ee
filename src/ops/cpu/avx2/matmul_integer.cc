// Products of integer weights for AVX2, on rows quantised to int8.
//
// int4: vpmaddubsw multiplies unsigned by signed bytes and adds two neighbours into 16 bits.
// Weights stored + 8 are 0 … 15: pairs are within ± 3,840, and the 16 pairs of a block of 32
// columns (8 for each of the two halves of a lane) fit 16 bits together, so that they are added
// there and widened once a block. The sums begin at −8·Σx.
//
// int8: pairs of bytes would not fit 16 bits, and the way around it (the sign moved to x) costs
// more than it saves: vpsignb shares the two pipes of the products (Zen 3, shared: 54 in place of
// 62 G multiply-adds/s). So vpmaddwd multiplies 16 bits, even columns and odd ones apart, x packed
// that way: the byte of the weight stays the upper one, over zeros, which one shift or one mask
// leaves. That makes sums 256 times as large (at most 128 · 128 · 32 · 256 = 2^27, and exact in
// f32), and the scale of x in the operand is 1/256 of what it was.
//
// A tile is 16 outputs (two vectors of 8) times up to 4 rows: 8 sums, 4 weights, a mask, 1 row and
// a product are 15 of 16 registers; the f32 sums of a tile live in the first-level cache. Each
// block of 32 columns ends in one f32 multiply-add of its exact sum with both scales; blocks are
// added in rising order, whatever the number of rows.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/avx2/avx2.h"
#include "ops/cpu/quantized_rows.h"

CULET_TARGET_BEGIN(CULET_AVX2_TARGET)
namespace culet::avx2 {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx2/vec_inl.h"
#include "ops/cpu/simd/limits_inl.h"
// clang-format on

// How far ahead of each stream lines are fetched: twice as far made no difference, 4 KB, which is
// another page, was 15% slower (Zen 3, two threads, weights in DRAM).
inline constexpr std::int64_t kAheadBytes = 1024;

CULET_INLINE void FetchAhead(const std::uint8_t* line) {
  FetchLine(reinterpret_cast<std::uintptr_t>(line) + kAheadBytes);
}
CULET_INLINE __m256i LoadBytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
// Likewise into a register: where several instructions take the value, g++ 12 reads it anew for
// each.
CULET_INLINE __m256i LoadOnce(const void* p) {
  __m256i value = LoadBytes(p);
  asm("" : "+x"(value));
  return value;
}
// Four bytes in every lane.
CULET_INLINE __m256i Spread(const void* p) {
  std::int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return _mm256_set1_epi32(four);
}
// Eight scales from `first` on, in bf16 or f32.
template <bool kWide>
CULET_INLINE __m256 LoadScales(const std::byte* p, int first) {
  if (kWide) return _mm256_loadu_ps(reinterpret_cast<const float*>(p) + first);
  const __m128i bits =
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(reinterpret_cast<const short*>(p) + first));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// The sum is pinned to a register and an order: g++ 12 regroups sums of integer vectors into trees,
// gathers the products of a whole block and spills them (a third of the speed).
CULET_INLINE __m256i Add16(__m256i sum, __m256i pairs) {
  sum = _mm256_add_epi16(sum, pairs);
  asm("" : "+x"(sum));
  return sum;
}
CULET_INLINE __m256i Add32(__m256i sum, __m256i values) {
  sum = _mm256_add_epi32(sum, values);
  asm("" : "+x"(sum));
  return sum;
}

// One block of 32 columns, 16 outputs: exact sums [rows][2 vectors of 8 outputs] i32, times 256 for
// int8.
struct Int4Block {
  using Value = std::int8_t;  // of x
  static constexpr std::int64_t kBytes = kTileOutputs * kQuantBlock / 2;

  template <int kRows>
  static CULET_INLINE void Sum(const std::int8_t* x, std::int64_t stride,
                               const QuantGroup* const* groups, std::int64_t block,
                               const std::uint8_t* w, __m256i (*sums)[2]) {
    const __m256i low = _mm256_set1_epi8(15);
    for (int row = 0; row < kRows; ++row) {
      sums[row][0] = sums[row][1] = Spread(groups[row][block].start);
    }
    for (int line = 0; line < 4; ++line) {
      FetchAhead(w + line * 64);
      const __m256i w0 = LoadOnce(w + line * 64);  // [8 outputs, 4 columns]
      const __m256i w1 = LoadOnce(w + line * 64 + 32);
      for (int half = 0; half < 2; ++half) {
        const __m256i v0 = _mm256_and_si256(half == 0 ? w0 : _mm256_srli_epi16(w0, 4), low);
        const __m256i v1 = _mm256_and_si256(half == 0 ? w1 : _mm256_srli_epi16(w1, 4), low);
        for (int row = 0; row < kRows; ++row) {
          const __m256i four = Spread(x + row * stride + half * 16 + line * 4);
          sums[row][0] = Add16(sums[row][0], _mm256_maddubs_epi16(v0, four));
          sums[row][1] = Add16(sums[row][1], _mm256_maddubs_epi16(v1, four));
        }
      }
    }
    const __m256i ones = _mm256_set1_epi16(1);
    for (int row = 0; row < kRows; ++row) {
      sums[row][0] = _mm256_madd_epi16(sums[row][0], ones);
      sums[row][1] = _mm256_madd_epi16(sums[row][1], ones);
    }
  }
};

struct Int8Block {
  using Value = std::int16_t;  // of x: columns 0, 2, 1, 3 of each four
  static constexpr std::int64_t kBytes = kTileOutputs * kQuantBlock;

  template <int kRows>
  static CULET_INLINE void Sum(const std::int16_t* x, std::int64_t stride, const QuantGroup* const*,
                               std::int64_t, const std::uint8_t* w, __m256i (*sums)[2]) {
    const __m256i upper = _mm256_set1_epi16(-256);
    for (int row = 0; row < kRows; ++row) sums[row][0] = sums[row][1] = _mm256_setzero_si256();
    for (int line = 0; line < 8; ++line) {
      FetchAhead(w + line * 64);
      const __m256i w0 = LoadOnce(w + line * 64);  // [8 outputs, 4 columns]
      const __m256i w1 = LoadOnce(w + line * 64 + 32);
      const __m256i even0 = _mm256_slli_epi16(w0, 8);  // [8 outputs, 2] i16
      const __m256i even1 = _mm256_slli_epi16(w1, 8);
      const __m256i odd0 = _mm256_and_si256(w0, upper);
      const __m256i odd1 = _mm256_and_si256(w1, upper);
      for (int row = 0; row < kRows; ++row) {
        const std::int16_t* four = x + row * stride + line * 4;
        const __m256i even = Spread(four);
        sums[row][0] = Add32(sums[row][0], _mm256_madd_epi16(even0, even));
        sums[row][1] = Add32(sums[row][1], _mm256_madd_epi16(even1, even));
        const __m256i odd = Spread(four + 2);
        sums[row][0] = Add32(sums[row][0], _mm256_madd_epi16(odd0, odd));
        sums[row][1] = Add32(sums[row][1], _mm256_madd_epi16(odd1, odd));
      }
    }
  }
};

CULET_INLINE void StoreOutputs(float* out, __m256 low, __m256 high, std::int64_t count) {
  if (count >= kTileOutputs) {
    _mm256_storeu_ps(out, low);
    _mm256_storeu_ps(out + 8, high);
    return;
  }
  float values[kTileOutputs];
  _mm256_storeu_ps(values, low);
  _mm256_storeu_ps(values + 8, high);
  std::copy(values, values + count, out);
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
  const QuantGroup* groups[kRows];
  for (int r = 0; r < kRows; ++r) groups[r] = x.groups(row + r);
  const std::uint8_t* data[kTiles];
  const std::byte* scales[kTiles];
  const std::int64_t scale_step = kTileOutputs * (kWide ? 4 : 2);
  __m256 acc[kTiles][kRows][2];
  for (int t = 0; t < kTiles; ++t) {
    const std::int64_t first = n + t * spread < end ? n + t * spread : n;
    data[t] = static_cast<const std::uint8_t*>(w.data) + layout.byte(first, 0);
    scales[t] = static_cast<const std::byte*>(w.scale_at(layout.scale(first, 0)));
    for (int r = 0; r < kRows; ++r) acc[t][r][0] = acc[t][r][1] = _mm256_setzero_ps();
  }
  std::int64_t left = group_blocks;  // of the group of weights
  for (std::int64_t block = 0; block < blocks; ++block) {
    for (int t = 0; t < kTiles; ++t) {
      __m256i sums[kRows][2];
      Block::template Sum<kRows>(values, stride, groups, block, data[t], sums);
      const __m256 low = LoadScales<kWide>(scales[t], 0);
      const __m256 high = LoadScales<kWide>(scales[t], 8);
      for (int r = 0; r < kRows; ++r) {
        const __m256 scale = _mm256_set1_ps(groups[r][block].scale);
        acc[t][r][0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r][0]), _mm256_mul_ps(low, scale),
                                       acc[t][r][0]);
        acc[t][r][1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r][1]), _mm256_mul_ps(high, scale),
                                       acc[t][r][1]);
      }
      data[t] += Block::kBytes;
    }
    values += kQuantBlock;
    if (--left == 0) {
      left = group_blocks;
      for (int t = 0; t < kTiles; ++t) scales[t] += scale_step;
    }
  }
  for (int t = 0; t < kTiles && n + t * spread < end; ++t) {
    const std::int64_t first = n + t * spread;
    for (int r = 0; r < kRows; ++r) {
      StoreOutputs(out + (row + r) * out_stride + first, acc[t][r][0], acc[t][r][1], end - first);
    }
  }
}

// The 32 values of a group, −128 … 127, and where sums over them start.
CULET_INLINE void StoreGroup(const __m256i* n, std::int8_t* q, QuantGroup* group) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i bytes = _mm256_permutevar8x32_epi32(
      _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3])), order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);  // [8, 2] i16
  __m128i sum = _mm_add_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  sum = _mm_add_epi16(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi16(sum, _mm_shuffle_epi32(sum, 0xb1));
  const __m128i start = _mm_slli_epi16(_mm_sub_epi16(_mm_setzero_si128(), sum), 3);
  const std::int32_t both = _mm_cvtsi128_si32(start);
  std::memcpy(group->start, &both, sizeof(both));
}

// By bits: they order as the numbers do, NaN above all.
CULET_INLINE float MaxMagnitude32(const float* x) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i most = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i) {
    const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(x + 8 * i));
    most = _mm256_max_epi32(most, _mm256_and_si256(bits, magnitude));
  }
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

CULET_INLINE void Quantize32(float max_abs, const float* x, std::int8_t* q, QuantGroup* group) {
  const __m256 inverse = _mm256_set1_ps(127.0f / max_abs);
  __m256i n[4];
  for (int i = 0; i < 4; ++i) {
    n[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
  }
  group->scale = max_abs / 127.0f;
  StoreGroup(n, q, group);
}

CULET_INLINE void Quantize32To(float scale, const float* x, std::int8_t* q, QuantGroup* group) {
  const __m256 width = _mm256_set1_ps(scale);
  __m256i n[4];
  int odd = 0;  // lanes that are no number
  for (int i = 0; i < 4; ++i) {
    const __m256 steps = _mm256_div_ps(_mm256_loadu_ps(x + 8 * i), width);
    odd |= _mm256_movemask_ps(_mm256_cmp_ps(steps, steps, _CMP_UNORD_Q));
    n[i] = _mm256_cvtps_epi32(
        _mm256_min_ps(_mm256_max_ps(steps, _mm256_set1_ps(-128.0f)), _mm256_set1_ps(127.0f)));
  }
  if (odd != 0) {
    QuantizeGroupTo(scale, x, kQuantBlock, q, group);
    return;
  }
  group->scale = scale;
  StoreGroup(n, q, group);
}

CULET_INLINE void StoreValues(std::int8_t* to, const std::int8_t* q, QuantGroup*) {
  std::memcpy(to, q, kQuantBlock);
}
// Each four columns as 0, 2, 1, 3.
CULET_INLINE void StoreValues(std::int16_t* to, const std::int8_t* q, QuantGroup* group) {
  group->scale *= 1.0f / 256;  // Int8Block
  const __m256i bytes = LoadBytes(q);
  const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
  const __m256i odd = _mm256_srai_epi16(bytes, 8);
  const __m256i low = _mm256_unpacklo_epi32(even, odd);
  const __m256i high = _mm256_unpackhi_epi32(even, odd);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 16),
                      _mm256_permute2x128_si256(low, high, 0x31));
}

inline constexpr int kPanelRows = 4;
inline constexpr int kPanelTiles = 1;
inline constexpr int kTallRows = 0;
#include "ops/cpu/simd/matmul_integer_inl.h"

struct ByteSteps {
  using Vector = __m256i;
  static CULET_INLINE __m256i Start(int number) {
    return _mm256_set1_epi8(static_cast<char>(number));
  }
  static CULET_INLINE __m256i Sum(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
  static CULET_INLINE float Value(__m256i a) {
    return static_cast<float>(_mm256_extract_epi32(a, 0));
  }
};
struct Int4Step : ByteSteps {
  static CULET_INLINE __m256i Do(__m256i sum) {
    return Add16(sum, _mm256_maddubs_epi16(_mm256_set1_epi8(15), sum));
  }
};
struct Int8Step : ByteSteps {
  static CULET_INLINE __m256i Do(__m256i sum) {
    return Add32(sum, _mm256_madd_epi16(sum, _mm256_set1_epi16(3)));
  }
};

}  // namespace

void FillIntegerMatMulPart(CpuKernels& table) {
  constexpr CpuLevel kLevel = CpuLevel::kAvx2;
  constexpr auto kBytes8 = QuantizedRowsOf<std::int16_t>::Bytes;
  constexpr auto kBytes4 = QuantizedRows::Bytes;
  table.matmul_int8 = {kLevel, 1, kBytes8, Pack<std::int16_t>, Run<Int8Block>};
  table.matmul_int4 = {kLevel, 1, kBytes4, Pack<std::int8_t>, Run<Int4Block>};
  table.matmul_int8_wide = table.matmul_int8;
  table.matmul_int4_wide = table.matmul_int4;
  table.peak_int8 = Peak<Int8Step>;
  table.peak_int4 = Peak<Int4Step>;
  table.peak_int8_step = kPeakChains * 16;
  table.peak_int4_step = kPeakChains * 32;
}

}  // namespace culet::avx2
CULET_TARGET_END
