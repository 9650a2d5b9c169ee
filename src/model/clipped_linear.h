// Products with the bounded linear layers of the towers.
#pragma once

#include <cstdint>
#include <span>

#include "model/media_weights.h"
#include "ops/context.h"

namespace culet {

// One layer and where its output goes.
struct ClippedTarget {
  const ClippedLinear* linear;
  View<float, 2> out;
};

// out = clamp(W · clamp(x, input bounds), output bounds) for layers that read the same x. `clipped`
// [rows of x, cols of x] holds the bounded x where there are bounds; it may be x itself where
// nothing else reads x and the layers have equal input bounds.
void ClippedProducts(Context& ctx, View<const float, 2> x, std::span<const ClippedTarget> targets,
                     View<float, 2> clipped);
void ClippedProduct(Context& ctx, View<const float, 2> x, const ClippedLinear& linear,
                    View<float, 2> clipped, View<float, 2> out);

}  // namespace culet
