// Mixture of experts. Source: transformers Gemma4TextRouter, Gemma4TextExperts.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "ops/types.h"

namespace culet {

// From router logits [rows, experts]: softmax over all, the k largest (ties: the lower index),
// their weights renormalised to sum 1, then times expert_scale[e] — after renormalising, so that
// they need not sum to 1. Written in falling order of probability.
//   expert [rows, k] i32, weight [rows, k] f32
void RouteTopK(Context& ctx, View<const float, 2> logits, std::span<const float> expert_scale,
               View<std::int32_t, 2> expert, View<float, 2> weight);

// out[r] = Σ_j weight[r,j] · down_e · ( gelu(gate_e·z[r]) ⊙ up_e·z[r] ),  e = expert[r,j], j rising
//
//   gate_up [experts · 2·width, hidden]: for each expert `width` rows gate, then `width` rows up
//   down    [experts · hidden, width]
//   z, out  [rows, hidden]
// Rows are grouped by expert, so that each chosen expert's weights are read once; others are not
// read. A row's result does not depend on the other rows, bit for bit.
void Experts(Context& ctx, View<const float, 2> z, const Matrix& gate_up, const Matrix& down,
             std::int64_t experts, View<const std::int32_t, 2> expert, View<const float, 2> weight,
             View<float, 2> out);

std::size_t ExpertsScratchBytes(std::int64_t rows, std::int64_t k, std::int64_t hidden,
                                std::int64_t width, std::int64_t experts);

}  // namespace culet
