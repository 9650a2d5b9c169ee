// Ops of the media encoders. Each row is computed alone but where said; all arithmetic in f32.
// Source: transformers Gemma4VisionModel, Gemma4AudioModel, Gemma4UnifiedVisionEmbedder.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "ops/types.h"

namespace culet {

// out = min(max(x, low), high)        out may be x
void Clamp(Context& ctx, View<const float, 2> x, float low, float high, View<float, 2> out);

// out[r] = (x[r] − mean) · (mean((x[r] − mean)²) + eps)^(−1/2) ⊙ w + b
//   w [n]; b [n], or empty for none; out may be x
void LayerNorm(Context& ctx, View<const float, 2> x, std::span<const float> w,
               std::span<const float> b, float eps, View<float, 2> out);

// out[r] = (x[r] − shift) ⊙ scale        shift, scale [n]; out may be x
void Standardize(Context& ctx, View<const float, 2> x, std::span<const float> shift,
                 std::span<const float> scale, View<float, 2> out);

// x[r] += b        b [n]
void AddBias(Context& ctx, std::span<const float> b, View<float, 2> x);

// x = x · σ(x), in place        σ(t) = 1 / (1 + e^(−t))
void Silu(Context& ctx, View<float, 2> x);

// out[r] = x[r, 0 : n] · σ(x[r, n : 2n])        x [rows, 2n], out [rows, n]
void Glu(Context& ctx, View<const float, 2> x, View<float, 2> out);

// Depthwise convolution over rows that only looks back; what is before the first row is zero.
//   out[t] = Σ_k w[k] ⊙ x[t − (K − 1) + k]        w [K, n], x, out [rows, n]; out is not x
void CausalConv(Context& ctx, View<const float, 2> x, View<const float, 2> w, View<float, 2> out);

// The operand of a 3×3 convolution with stride 2 and a border of zeros, as a matrix product: row
// (t, f) of `out` has what output (first + t, f) sees, ordered (channel, dt, df) as the weight
// [outputs, channels·3·3] is.
//   x [frames, bins, channels]: frames first_frame … of a picture of `all_frames` frames
//   out [steps·half_bins, channels·9], half_bins = ⌈bins / 2⌉
// Output t sees frames 2t − 1 to 2t + 1: those inside the picture must be among `x`.
void Unfold3x3(Context& ctx, View<const float, 3> x, std::int64_t first_frame,
               std::int64_t all_frames, std::int64_t first, std::int64_t steps, View<float, 2> out);

// Mean over squares of size×size of a grid of `width` columns, row by row.
//   x [width·height, n], out [(width / size)·(height / size), n]; size divides both
void PoolGrid(Context& ctx, View<const float, 2> x, std::int64_t width, std::int64_t size,
              View<float, 2> out);

}  // namespace culet
