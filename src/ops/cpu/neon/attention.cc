// Attention for NEON.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "ops/cpu/neon/neon.h"

#define CULET_TILE_ROWS 6

namespace culet::neon {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/neon/vec_inl.h"
static_assert(kTileRows == CULET_TILE_ROWS);
#include "ops/cpu/simd/math_inl.h"
#include "ops/cpu/simd/attention_inl.h"
#include "ops/cpu/simd/dense_attention_inl.h"
// clang-format on

}  // namespace

void FillAttentionPart(CpuKernels& table) {
  FillAttention(table, CpuLevel::kNeon);
  FillDenseAttention(table, CpuLevel::kNeon);
}

}  // namespace culet::neon
