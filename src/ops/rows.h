// Small ops on rows. Each row is computed alone; all arithmetic in f32 unless said.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "ops/types.h"

namespace culet {

// out[r] = table[ids[r], first_col : first_col + out.extent(1)] · scale          out [rows, n]
void Embed(Context& ctx, const Matrix& table, std::span<const std::int32_t> ids,
           std::int64_t first_col, float scale, View<float, 2> out);

// out[r] = x[r] · (mean(x[r]²) + eps)^(−1/2) ⊙ w     w [n], or empty for none; out may be x
// The weight multiplies directly: no "1 +" (unlike Gemma 1 to 3).
void RmsNorm(Context& ctx, View<const float, 2> x, std::span<const float> w, float eps,
             View<float, 2> out);

// x[r] = (x[r] + norm(branch[r]; w)) · scale
void AddNorm(Context& ctx, View<const float, 2> branch, std::span<const float> w, float eps,
             float scale, View<float, 2> x);

// Norm over the last dimension of each head, then rotary turn (w, cos and sin may be empty: no
// weight, no turn). Half-split pairs: dimension j turns with j + head_dim/2. With more than one
// axis a head is so many equal parts, each turned by its own part of cos and sin with pairs of its
// own.
//   x [rows, heads, head_dim], in place      cos, sin [rows, head_dim/2]
void NormRope(Context& ctx, View<float, 3> x, std::span<const float> w, float eps,
              View<const float, 2> cos, View<const float, 2> sin, int axes = 1);

// out = gelu_tanh(gate) ⊙ up       gelu(t) = t/2 · (1 + tanh(√(2/π)·(t + 0.044715·t³)))
// out may be gate
void GeluMul(Context& ctx, View<const float, 2> gate, View<const float, 2> up, View<float, 2> out);

// Per-layer embeddings (source: Gemma4TextModel.project_per_layer_inputs):
//   token [rows, layers·width] (already scaled by √width) gets
//   token = (token + norm(projected · projected_scale; w)) · 2^(−1/2)     norm over `width`
void PleCombine(Context& ctx, View<const float, 2> projected, float projected_scale,
                std::span<const float> w, float eps, View<float, 2> token);

// out[i] = x[rows[i]]
void GatherRows(Context& ctx, View<const float, 2> x, std::span<const std::int32_t> rows,
                View<float, 2> out);

// x[r] = rows[r] where that is not null; the others stay.        rows [x.extent(0)] of [n]
void ReplaceRows(Context& ctx, std::span<const float* const> rows, View<float, 2> x);

// x = x ⊙ w · scale        w [n], or empty for none
void ScaleRows(Context& ctx, std::span<const float> w, float scale, View<float, 2> x);

// out = a + b
void AddRows(Context& ctx, View<const float, 2> a, View<const float, 2> b, View<float, 2> out);

// logits = cap · tanh(logits / cap), in place
void SoftCap(Context& ctx, float cap, View<float, 2> logits);

// cos, sin [rows, head_dim/2] of positions·frequency, the product in f32 (as the reference forms
// it).
void RopeTables(Context& ctx, std::span<const std::int32_t> positions,
                std::span<const float> frequencies, View<float, 2> cos, View<float, 2> sin);

}  // namespace culet
