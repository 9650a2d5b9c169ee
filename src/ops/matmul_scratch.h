// MatMul inside another op, which has its own scratch beside that of the products.
#pragma once

#include "ops/matmul.h"

namespace culet {

// MatMulMany with `scratch` [MatMulScratchBytes(rows, k)], 64-byte aligned, given by the caller.
void MatMulManyIn(Context& ctx, View<const float, 2> x, std::span<const MatMulTarget> targets,
                  std::byte* scratch);

}  // namespace culet
