// Attention of the audio tower: each step sees a few steps around itself, and how far they are away
// has learned keys of its own.
// Source: transformers Gemma4AudioAttention, whose blocks and relative shift only save time.
//
//   out[t,h] = Σ_s p(t,h,s) · v[s,h]        s over the steps with t − s < past and s − t < future
//
//   p(t,h,·) = softmax( cap · tanh( (q[t,h] · k[s,h] + q[t,h] · relative[past − (t − s), h]) / cap
//   ))
//
//   q, k, v, out  [steps, heads, head_dim] f32      relative  [positions, heads, head_dim] f32
//
// A distance without a row of `relative` adds nothing. Every step sees itself.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "ops/types.h"

namespace culet {

struct LocalWindow {
  std::int64_t past = 1;    // steps that are seen up to t, t itself among them; at least 1
  std::int64_t future = 0;  // steps from t on that are seen, t itself among them; 0 as 1
  float cap = 50.0f;
};

// out may be q.
void LocalAttention(Context& ctx, View<const float, 3> q, View<const float, 3> k,
                    View<const float, 3> v, View<const float, 3> relative,
                    const LocalWindow& window, View<float, 3> out);

std::size_t LocalAttentionScratchBytes(const LocalWindow& window, std::int64_t head_dim,
                                       int threads);

}  // namespace culet
