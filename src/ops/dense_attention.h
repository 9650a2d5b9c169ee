// Attention in which every row of a group sees every row of it: the patches of one image.
// Source: transformers Gemma4VisionAttention.
//
//   out[r,h] = Σ_s p(r,h,s) · v[s, h div (heads/kv_heads)]     s over the rows of r's group
//
//   p(r,h,·) = softmax( q[r,h] · k[s, h div (heads/kv_heads)] )   no 1/√head_dim: both are normed
//
//   q, out  [rows, heads, head_dim] f32     k, v  [rows, kv_heads, head_dim] f32
//
// Keys pass in blocks of kDenseKeys with a running maximum and sum: no rows × rows scores in
// memory. A row's result does not depend, bit for bit, on the other groups of the call or on
// threads. Cost: 2·heads·head_dim·Σ length² multiply-adds.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "ops/types.h"

namespace culet {

// `lengths`: rows of each group, one behind the other; together all rows. out may be q.
void DenseAttention(Context& ctx, View<const float, 3> q, View<const float, 3> k,
                    View<const float, 3> v, std::span<const std::int64_t> lengths,
                    View<float, 3> out);

// For groups of up to `rows` rows.
std::size_t DenseAttentionScratchBytes(std::int64_t rows, std::int64_t kv_heads,
                                       std::int64_t head_dim, int threads);

}  // namespace culet
