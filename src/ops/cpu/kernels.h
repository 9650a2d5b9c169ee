// The table of CPU kernels. One table a level, filled upward from plain: a level that has no kernel
// of its own for an op keeps the one below. Ops check shapes and split work over threads; kernels
// get raw pointers that already fit, and neither allocate, throw nor know of threads.
//
// To add a kernel: a file in ops/cpu/<level>/, a line in that level's Fill function (table.h). A
// new level is a row of table.cc, not `proven` until it has run on a CPU that has it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/cpu_features.h"
#include "base/dtype.h"
#include "ops/types.h"

namespace culet {

// One row of the table: the function and the level that it was written for.
template <typename Fn>
struct Kernel {
  Fn* run = nullptr;
  CpuLevel level = CpuLevel::kPlain;
  template <typename... Args>
  void operator()(Args... args) const {
    run(args...);
  }
};

// Product with one weight format. `pack` brings x [rows, k] into the form that `run` reads (its
// layout is the kernel's own business and may depend on `rows`); weights that share `pack` share
// the operand.
struct MatMulKernel {
  CpuLevel level = CpuLevel::kPlain;
  std::int64_t pack_rows = 1;  // `pack` takes shares that begin at multiples of this
  std::size_t (*operand_bytes)(std::int64_t rows, std::int64_t k) = nullptr;
  // Rows [begin, end) of x, x_stride in elements. `scale`: of integers, the one scale of all of x
  // (Matrix::input_scale), or 0: each group its own.
  void (*pack)(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
               std::int64_t begin, std::int64_t end, float scale, std::byte* operand) = nullptr;
  // out[0 … rows, begin … end); `begin` is a multiple of kTileOutputs where w lies in tiles.
  void (*run)(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
              std::int64_t end, float* out, std::int64_t out_stride) = nullptr;
};

// Keys are summed in blocks of this many positions, at multiples of it.
inline constexpr std::int64_t kBlockKeys = 256;
inline constexpr std::int64_t kBlockPages = kBlockKeys / kPageTokens;

// One block of keys for a tile of queries that share a kv head.
struct AttentionBlockArgs {
  std::int64_t queries = 0;
  std::int64_t head_dim = 0;
  std::int64_t stride = 0;          // of q and out, in elements: head_dim rounded up to 16
  const float* q = nullptr;         // [queries, stride], zero beyond head_dim
  const KeyRange* range = nullptr;  // [queries], within the block: 0 … kBlockKeys; may be empty
  DType dtype = DType::kF32;        // of the pages
  std::int64_t row_bytes = 0;       // from a position's row to the next one's, of K and of V
  std::int64_t k_scales = 0;        // int8: bytes from a row's first value to its scales
  std::int64_t v_scales = 0;
  // [kPageTokens] rows of head_dim values each; null where no query looks.
  const void* k_page[kBlockPages] = {};
  const void* v_page[kBlockPages] = {};
  float* scores = nullptr;   // scratch [queries, kBlockKeys]
  float* widened = nullptr;  // scratch [WidenedFloats(stride)]: keys or values in f32
  // The partial state: largest score (−∞ where the range is empty), Σ e^(s − max), Σ e^(s − max)·V.
  float* max = nullptr;  // [queries]
  float* sum = nullptr;  // [queries]
  float* out = nullptr;  // [queries, stride]
};

// Whether the level amx multiplies pages of these in tiles, each f32 as two bf16, and does not
// leave them to the kernel of the level below.
inline constexpr std::int64_t kMostTiledDims = 512;
inline bool AttentionInTiles(DType dtype, std::int64_t head_dim) {
  return dtype == DType::kBF16 && head_dim % 32 == 0 && head_dim <= kMostTiledDims;
}

// Four keys, or of a page's values the columns that a pass takes: at most 4 vectors of 16.
inline constexpr std::int64_t WidenedFloats(std::int64_t stride) {
  return std::max(4 * stride, kPageTokens * 64);
}

// Attention in which every query sees every key (ops/dense_attention.h) takes keys in blocks of
// kDenseKeys and queries in tiles of kDenseTile, of which a multiple of kDenseGroup is computed.
inline constexpr std::int64_t kDensePanel = 16;
inline constexpr std::int64_t kDenseKeys = 256;
inline constexpr std::int64_t kDenseGroup = 12;
inline constexpr std::int64_t kDenseTile = 48;
// From a query's scores to the next one's. A power of two would put a tile's into few sets of a
// cache.
inline constexpr std::int64_t kDenseScores = kDenseKeys + kDensePanel;

// A block of keys joined with the running state of a tile of queries.
struct DenseAttentionArgs {
  std::int64_t queries = 0;  // a multiple of kDenseGroup, at most kDenseTile
  std::int64_t keys = 0;     // at most kDenseKeys
  std::int64_t head_dim = 0;
  std::int64_t stride = 0;   // of out: head_dim rounded up to kDensePanel
  const float* q = nullptr;  // [queries, head_dim]
  const float* k = nullptr;  // panels of keys, each [head_dim, kDensePanel], zero beyond `keys`
  const float* v = nullptr;  // panels of columns, each [keys, kDensePanel], zero beyond head_dim
  float* scores = nullptr;   // scratch [queries, kDenseScores]
  float* max = nullptr;      // [queries] largest score so far; −∞ at first
  float* sum = nullptr;      // [queries] Σ e^(s − max)
  float* out = nullptr;      // [queries, stride] Σ e^(s − max)·v
};

struct CpuKernels {
  CpuLevel level = CpuLevel::kPlain;

  MatMulKernel matmul_f32;
  MatMulKernel matmul_bf16;
  // bf16 weights in sums of at most kExactCols addends: x stays f32 (the pack of matmul_f32), the
  // weights are widened; at amx x becomes three bf16. Every vector level has its own but those of
  // bf16 and of integers.
  MatMulKernel matmul_bf16_exact;
  MatMulKernel matmul_f16;
  // Integer weights in tiles; x is quantised by `pack` (ops/cpu/quantized_rows.h).
  MatMulKernel matmul_int8;
  MatMulKernel matmul_int4;
  // For weights whose groups are multiples of kScaleBlocks blocks, or whole rows: a sum may run
  // over so many before it meets a scale, of weights or of x.
  MatMulKernel matmul_int8_wide;
  MatMulKernel matmul_int4_wide;

  Kernel<void(const AttentionBlockArgs& args)> attention_block;
  // (max, sum, out) joined with the partial state of the next block.      out, block_out [n]
  Kernel<void(float* max, float* sum, float* out, float block_max, float block_sum,
              const float* block_out, std::int64_t n)>
      attention_merge;

  // Rows; `n` elements each. `w`, `cos` and `sin` may be null.
  Kernel<void(const void* row, DType dtype, float scale, float* out, std::int64_t n)> widen;
  Kernel<void(const float* x, const float* w, float eps, float* out, std::int64_t n)> rms_norm;
  // x = (x + norm(branch · branch_scale; w)) · scale
  Kernel<void(const float* branch, float branch_scale, const float* w, float eps, float scale,
              float* x, std::int64_t n)>
      add_norm;
  Kernel<void(float* x, const float* cos, const float* sin, std::int64_t n)> rope;
  Kernel<void(const float* gate, const float* up, float* out, std::int64_t n)> gelu_mul;
  Kernel<void(const float* w, float scale, float* x, std::int64_t n)> scale;
  Kernel<void(const float* a, const float* b, float* out, std::int64_t n)> add;
  Kernel<void(float cap, float* x, std::int64_t n)> soft_cap;
  // x = clamp(round(x / step), −128, 127) · step, ties to even; NaN stays NaN
  Kernel<void(float step, float* x, std::int64_t n)> round_to_steps;
  Kernel<void(const float* x, DType dtype, void* out, std::int64_t n)> narrow;  // f32 → f32, bf16
  // out += weight · x
  Kernel<void(const float* x, float weight, float* out, std::int64_t n)> add_scaled;

  // Media encoders (ops/encoder.h). `b` of layer_norm may be null.
  Kernel<void(const float* x, float low, float high, float* out, std::int64_t n)> clamp;
  Kernel<void(const float* x, const float* w, const float* b, float eps, float* out,
              std::int64_t n)>
      layer_norm;
  Kernel<void(const float* x, const float* shift, const float* scale, float* out, std::int64_t n)>
      standardize;
  Kernel<void(const float* x, float* out, std::int64_t n)> silu;
  Kernel<void(const float* x, const float* gate, float* out, std::int64_t n)> glu;
  // out += a ⊙ b
  Kernel<void(const float* a, const float* b, float* out, std::int64_t n)> mul_add;
  // *out = Σ a·b
  Kernel<void(const float* a, const float* b, float* out, std::int64_t n)> dot;
  Kernel<void(const DenseAttentionArgs& args)> dense_attention_block;

  // For machine_limits: reads `bytes` once in four forward streams and returns a number that
  // depends on all of them; `steps` rounds of independent multiply-adds in registers, and how many
  // a round is.
  std::uint64_t (*read_stream)(const std::byte* data, std::size_t bytes) = nullptr;
  float (*peak_f32)(std::int64_t steps) = nullptr;
  float (*peak_bf16)(std::int64_t steps) = nullptr;
  std::int64_t peak_f32_step = 0;  // multiply-adds a step
  std::int64_t peak_bf16_step = 0;
  // For int8 and int4 weights: bytes multiplied and added up in 32 bits, or (int4, where products
  // are small enough) in 16.
  float (*peak_int8)(std::int64_t steps) = nullptr;
  float (*peak_int4)(std::int64_t steps) = nullptr;
  std::int64_t peak_int8_step = 0;
  std::int64_t peak_int4_step = 0;
};

// The table of `level`. The machine must have the level.
const CpuKernels& KernelsOf(CpuLevel level);
// Whether `level` has kernels in this build.
bool IsBuilt(CpuLevel level);
// Whether they have run on real hardware. Those that have not are never chosen, only named.
bool IsProven(CpuLevel level);

}  // namespace culet
