// Products of integer weights for NEON, on rows quantised to int8, with what every aarch64 has:
// smlal multiplies bytes and adds to 16 bits. (sdot, a later extension, is not used.)
//
// A vector of weights is 4 outputs × 4 columns. A product with the same 4 columns of x leaves two
// vectors of [2 outputs, 4 columns] i16; neighbours are added and widened by sadalp.
//
// int8: a product fits 16 bits and two need not (128 · 128 twice is 2^15), so each is widened.
// int4: weights stored + 8 are 0 … 15, and the 8 products that a lane has in a block of 32 columns
// fit 16 bits together (8 · 15 · 127 < 2^15): they are widened once a block. −8·Σx is added then.
//
// A tile is 16 outputs, computed as two halves of 8, times up to 4 rows: 16 sums, 4 weights, 2 of x
// and a few products are within 32 registers; the f32 sums of a tile live in the first-level cache.
// Each block of 32 columns ends in one f32 multiply-add of its exact sum with both scales; blocks
// are added in rising order, whatever the number of rows.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/neon/neon.h"
#include "ops/cpu/quantized_rows.h"

namespace culet::neon {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/neon/vec_inl.h"
#include "ops/cpu/simd/limits_inl.h"
// clang-format on

inline constexpr int kQuads = static_cast<int>(kTileOutputs) / 4;  // vectors of 4 outputs in a tile
inline constexpr std::int64_t kAheadBytes = 2048;

// Four columns of x beside each of four outputs.
CULET_INLINE int8x16_t Spread(const std::int8_t* p) {
  std::int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
// Four scales from `first` on, in bf16 or f32.
template <bool kWide>
CULET_INLINE float32x4_t LoadScales(const std::byte* p, int first) {
  if (kWide) return vld1q_f32(reinterpret_cast<const float*>(p) + first);
  return LoadBf16(reinterpret_cast<const std::uint16_t*>(p) + first).v;
}

// One block of 32 columns, 16 outputs: exact sums [rows][4 vectors of 4 outputs] i32.
struct Int4Block {
  using Value = std::int8_t;  // of x
  static constexpr std::int64_t kBytes = kTileOutputs * kQuantBlock / 2;

  template <int kRows>
  static CULET_INLINE void Sum(const std::int8_t* x, std::int64_t stride,
                               const QuantGroup* const* groups, std::int64_t block,
                               const std::uint8_t* w, int32x4_t (*sums)[kQuads]) {
    for (int quad = 0; quad < kQuads; quad += 2) {
      int16x8_t acc[kRows][2][2];  // [rows][quads][2 outputs, 4 columns]
      for (int row = 0; row < kRows; ++row) {
        for (int q = 0; q < 2; ++q) acc[row][q][0] = acc[row][q][1] = vdupq_n_s16(0);
      }
      for (int line = 0; line < 4; ++line) {
        const std::uint8_t* from = w + line * 64 + quad * 16;
        const uint8x16_t bytes[2] = {vld1q_u8(from), vld1q_u8(from + 16)};
        for (int high = 0; high < 2; ++high) {
          int8x16_t weights[2];
          for (int q = 0; q < 2; ++q) {
            weights[q] = vreinterpretq_s8_u8(high == 0 ? vandq_u8(bytes[q], vdupq_n_u8(15))
                                                       : vshrq_n_u8(bytes[q], 4));
          }
          for (int row = 0; row < kRows; ++row) {
            const int8x16_t four = Spread(x + row * stride + high * 16 + line * 4);
            for (int q = 0; q < 2; ++q) {
              acc[row][q][0] = vmlal_s8(acc[row][q][0], vget_low_s8(weights[q]), vget_low_s8(four));
              acc[row][q][1] = vmlal_high_s8(acc[row][q][1], weights[q], four);
            }
          }
        }
      }
      for (int row = 0; row < kRows; ++row) {
        const QuantGroup& group = groups[row][block];
        const int32x4_t start = vdupq_n_s32(group.start[0] + group.start[1]);
        for (int q = 0; q < 2; ++q) {
          const int32x4_t pairs =
              vpaddq_s32(vpaddlq_s16(acc[row][q][0]), vpaddlq_s16(acc[row][q][1]));
          sums[row][quad + q] = vaddq_s32(pairs, start);
        }
      }
    }
  }
};

struct Int8Block {
  using Value = std::int8_t;
  static constexpr std::int64_t kBytes = kTileOutputs * kQuantBlock;

  template <int kRows>
  static CULET_INLINE void Sum(const std::int8_t* x, std::int64_t stride, const QuantGroup* const*,
                               std::int64_t, const std::uint8_t* w, int32x4_t (*sums)[kQuads]) {
    for (int quad = 0; quad < kQuads; quad += 2) {
      int32x4_t acc[kRows][2][2];  // [rows][quads][2 outputs, 2 sums]
      for (int row = 0; row < kRows; ++row) {
        for (int q = 0; q < 2; ++q) acc[row][q][0] = acc[row][q][1] = vdupq_n_s32(0);
      }
      for (int line = 0; line < 8; line += 2) {
        int8x16_t weights[2][2];  // [lines][quads][4 outputs, 4 columns]
        for (int l = 0; l < 2; ++l) {
          for (int q = 0; q < 2; ++q) {
            weights[l][q] = vreinterpretq_s8_u8(vld1q_u8(w + (line + l) * 64 + (quad + q) * 16));
          }
        }
        for (int row = 0; row < kRows; ++row) {
          const std::int8_t* at = x + row * stride + line * 4;
          const int8x16_t four = Spread(at);
          const int8x16_t next = Spread(at + 4);
          for (int q = 0; q < 2; ++q) {
            acc[row][q][0] = vpadalq_s16(acc[row][q][0],
                                         vmull_s8(vget_low_s8(weights[0][q]), vget_low_s8(four)));
            acc[row][q][0] = vpadalq_s16(acc[row][q][0],
                                         vmull_s8(vget_low_s8(weights[1][q]), vget_low_s8(next)));
            acc[row][q][1] = vpadalq_s16(acc[row][q][1], vmull_high_s8(weights[0][q], four));
            acc[row][q][1] = vpadalq_s16(acc[row][q][1], vmull_high_s8(weights[1][q], next));
          }
        }
      }
      for (int row = 0; row < kRows; ++row) {
        for (int q = 0; q < 2; ++q) {
          sums[row][quad + q] = vpaddq_s32(acc[row][q][0], acc[row][q][1]);
        }
      }
    }
  }
};

CULET_INLINE void StoreOutputs(float* out, const float32x4_t* acc, std::int64_t count) {
  float values[kTileOutputs];
  for (int quad = 0; quad < kQuads; ++quad) vst1q_f32(values + quad * 4, acc[quad]);
  std::copy(values, values + std::min(count, kTileOutputs), out);
}

template <typename Block, int kRows, int kTiles, bool kWide>
void RunTilesOf(const QuantizedRows& x, std::int64_t row, const Matrix& w, std::int64_t n,
                std::int64_t spread, std::int64_t end, float* out, std::int64_t out_stride) {
  const WeightLayout layout = w.layout();
  const std::int64_t blocks = x.blocks();
  const std::int64_t group_blocks = w.group / kQuantBlock;
  const std::int8_t* values = x.row(row);
  const std::int64_t stride = x.width();
  const QuantGroup* groups[kRows];
  for (int r = 0; r < kRows; ++r) groups[r] = x.groups(row + r);
  const std::uint8_t* data[kTiles];
  const std::byte* scales[kTiles];
  const std::int64_t scale_step = kTileOutputs * (kWide ? 4 : 2);
  float32x4_t acc[kTiles][kRows][kQuads];
  for (int t = 0; t < kTiles; ++t) {
    // A tile beyond the last is computed as the first and dropped.
    const std::int64_t first = n + t * spread < end ? n + t * spread : n;
    data[t] = static_cast<const std::uint8_t*>(w.data) + layout.byte(first, 0);
    scales[t] = static_cast<const std::byte*>(w.scale_at(layout.scale(first, 0)));
    for (int r = 0; r < kRows; ++r) {
      for (int quad = 0; quad < kQuads; ++quad) acc[t][r][quad] = vdupq_n_f32(0);
    }
  }
  std::int64_t left = group_blocks;  // of the group of weights
  for (std::int64_t block = 0; block < blocks; ++block) {
    for (int t = 0; t < kTiles; ++t) {
      for (std::int64_t at = 0; at < Block::kBytes; at += 64) {
        FetchLine(reinterpret_cast<std::uintptr_t>(data[t]) +
                  static_cast<std::uintptr_t>(kAheadBytes + at));
      }
      int32x4_t sums[kRows][kQuads];
      Block::template Sum<kRows>(values, stride, groups, block, data[t], sums);
      for (int quad = 0; quad < kQuads; ++quad) {
        const float32x4_t of_weights = LoadScales<kWide>(scales[t], quad * 4);
        for (int r = 0; r < kRows; ++r) {
          const float32x4_t scale = vmulq_n_f32(of_weights, groups[r][block].scale);
          acc[t][r][quad] = vfmaq_f32(acc[t][r][quad], vcvtq_f32_s32(sums[r][quad]), scale);
        }
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
      StoreOutputs(out + (row + r) * out_stride + first, acc[t][r], end - first);
    }
  }
}

CULET_INLINE float MaxMagnitude32(const float* x) {
  uint32x4_t most = vdupq_n_u32(0);  // by bits
  for (int i = 0; i < 8; ++i) {
    const uint32x4_t bits = vreinterpretq_u32_f32(vld1q_f32(x + 4 * i));
    most = vmaxq_u32(most, vandq_u32(bits, vdupq_n_u32(0x7fffffff)));
  }
  return std::bit_cast<float>(vmaxvq_u32(most));
}

CULET_INLINE void Quantize32(float max_abs, const float* x, std::int8_t* q, QuantGroup* group) {
  const float inverse = 127.0f / max_abs;
  int16x8_t sums = vdupq_n_s16(0);  // lanes 0, 2, …: columns with k % 4 in {0, 1}
  for (int i = 0; i < 8; i += 4) {
    int16x4_t n[4];
    for (int j = 0; j < 4; ++j)
      n[j] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * (i + j)), inverse)));
    const int8x16_t bytes =
        vcombine_s8(vmovn_s16(vcombine_s16(n[0], n[1])), vmovn_s16(vcombine_s16(n[2], n[3])));
    vst1q_s8(q + 4 * i, bytes);
    sums = vpadalq_s8(sums, bytes);
  }
  const int16x4_t halves = vadd_s16(vget_low_s16(sums), vget_high_s16(sums));
  group->scale = max_abs / 127.0f;
  group->start[0] =
      static_cast<std::int16_t>(-8 * (vget_lane_s16(halves, 0) + vget_lane_s16(halves, 2)));
  group->start[1] =
      static_cast<std::int16_t>(-8 * (vget_lane_s16(halves, 1) + vget_lane_s16(halves, 3)));
}

CULET_INLINE void Quantize32To(float scale, const float* x, std::int8_t* q, QuantGroup* group) {
  QuantizeGroupTo(scale, x, kQuantBlock, q, group);
}

CULET_INLINE void StoreValues(std::int8_t* to, const std::int8_t* q, QuantGroup*) {
  std::memcpy(to, q, kQuantBlock);
}

inline constexpr int kPanelRows = 4;
inline constexpr int kPanelTiles = 1;
inline constexpr int kTallRows = 0;
#include "ops/cpu/simd/matmul_integer_inl.h"

struct Int8Step {
  using Vector = int32x4_t;
  static CULET_INLINE Vector Start(int number) { return vdupq_n_s32(number); }
  static CULET_INLINE Vector Sum(Vector a, Vector b) { return vaddq_s32(a, b); }
  static CULET_INLINE float Value(Vector a) { return static_cast<float>(vgetq_lane_s32(a, 0)); }
  // As the product does it: a multiplication and a sadalp for half a vector of weights.
  static CULET_INLINE Vector Do(Vector sum) {
    return vpadalq_s16(sum, vmull_s8(vget_low_s8(vreinterpretq_s8_s32(sum)), vdup_n_s8(3)));
  }
};
struct Int4Step {
  using Vector = int16x8_t;
  static CULET_INLINE Vector Start(int number) {
    return vdupq_n_s16(static_cast<std::int16_t>(number));
  }
  static CULET_INLINE Vector Sum(Vector a, Vector b) { return vaddq_s16(a, b); }
  static CULET_INLINE float Value(Vector a) { return static_cast<float>(vgetq_lane_s16(a, 0)); }
  static CULET_INLINE Vector Do(Vector sum) {
    return vmlal_s8(sum, vget_low_s8(vreinterpretq_s8_s16(sum)), vdup_n_s8(15));
  }
};

}  // namespace

void FillIntegerMatMulPart(CpuKernels& table) {
  constexpr auto kBytes = QuantizedRows::Bytes;
  table.matmul_int8 = {CpuLevel::kNeon, 1, kBytes, Pack<std::int8_t>, Run<Int8Block>};
  table.matmul_int4 = {CpuLevel::kNeon, 1, kBytes, Pack<std::int8_t>, Run<Int4Block>};
  table.matmul_int8_wide = table.matmul_int8;
  table.matmul_int4_wide = table.matmul_int4;
  table.peak_int8 = Peak<Int8Step>;
  table.peak_int4 = Peak<Int4Step>;
  table.peak_int8_step = kPeakChains * 8;
  table.peak_int4_step = kPeakChains * 8;
}

}  // namespace culet::neon
