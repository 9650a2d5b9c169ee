// Matrix products with weights.
//
//   out[r, n] = Σ_k x[r, k] · W[n, k]          x [rows, k] f32,  W [n, k],  out [rows, n] f32
//
// Precision (docs/precision.md): for bf16 weights and sums of more than kExactCols addends x is
// rounded to bf16 (nearest, ties to even) first, on every level; products and sums are f32 (the
// plain kernel sums in double). Shorter sums, and f32 and f16 weights, keep x in f32. A row's
// result does not depend on the other rows of the call: bit for bit the same for 1 row and for 512,
// for any number of threads.
//
// For integer weights x becomes int8 too, in groups of 128 columns with scales of their own
// (ops/cpu/quantized_rows.h). A weight whose model was trained with fixed scales has them instead
// (transformers: apply_srq of integrations/gemma_quant.py); NaN stays NaN:
//   q(t, s) = clamp(round(t / s), −128, 127) · s     ties to even;  t where s = 0
//   out = q(Σ_k q(x[r, k], input_scale) · W[n, k], output_scale)
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "ops/types.h"

namespace culet {

// Rounding x pays where the multiply-add units bind, and averages out over long sums. Short sums
// are a small part of the work of real models, and all of a small model's, whose every rounding
// shows: on the tiny bf16 goldens the largest error fell from up to 2 times that of the reference's
// own bf16 run to under a half of it.
inline constexpr std::int64_t kExactCols = 512;

// Throws Error(kInternal) where shapes do not fit. Threads: splits over n. Allocates nothing once
// Context::Scratch has MatMulScratchBytes.
void MatMul(Context& ctx, View<const float, 2> x, const Matrix& w, View<float, 2> out);

// Several weights of one input in one go (q, k, v; gate, up): one conversion of x, one barrier.
struct MatMulTarget {
  Matrix w;
  View<float, 2> out;
};
void MatMulMany(Context& ctx, View<const float, 2> x, std::span<const MatMulTarget> targets);

// out = gelu(x · gateᵀ) ⊙ (x · upᵀ), gelu as GeluMul has it (GEGLU, Shazeer 2020): what MatMulMany
// and GeluMul give, bit for bit, without the second factor as a whole. Threads: splits over n.
// Allocates nothing once Context::Scratch has MatMulGeGluScratchBytes.
void MatMulGeGlu(Context& ctx, View<const float, 2> x, const Matrix& gate, const Matrix& up,
                 View<float, 2> out);
std::size_t MatMulGeGluScratchBytes(std::int64_t rows, std::int64_t max_cols, int threads);

std::size_t MatMulScratchBytes(std::int64_t rows, std::int64_t max_cols);

}  // namespace culet
