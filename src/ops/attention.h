// Attention of a batch over the paged KV cache, and appending to that cache.
// Source: transformers Gemma4TextAttention.
//
//   out[r,h] = Σ_s p(r,h,s) · V[s, h div (heads/kv_heads)]      s over visible(r) of the kind
//
//   p(r,h,·) = softmax( q[r,h] · K[s, h div (heads/kv_heads)] )  no 1/√head_dim: both are normed
//
//   q, out  [rows, heads, head_dim] f32        pages  [kv_heads, kPageTokens, head_dim] f32 or bf16
//
// Where K and V of a cache lie in one row (KvLayer::turning), V is the key before its weight and
// turn, and `k_weight` [head_dim] is that weight: it is multiplied into q where K rests.
//
// Keys are summed in blocks at absolute positions (multiples of 256), partial results merged in
// rising order: a row's result does not depend, bit for bit, on the other rows, on chunking or on
// threads. q and weights are f32, K and V widen to f32; at the level amx docs/precision.md says
// what enters the products.
#pragma once

#include <span>

#include "ops/context.h"
#include "ops/types.h"

namespace culet {

void Attention(Context& ctx, View<const float, 3> q, const KvLayer& cache, const BatchPlan& plan,
               int kind, View<float, 3> out, std::span<const float> k_weight = {});

// Stores k, v [rows, kv_heads, head_dim] f32 at each row's position, rounded to the cache's dtype.
void AppendKv(Context& ctx, View<const float, 3> k, View<const float, 3> v, const KvLayer& cache,
              const BatchPlan& plan, int kind);

std::size_t AttentionScratchBytes(std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
                                  std::int64_t max_positions, int threads);

}  // namespace culet
