// Attention for AVX2.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "ops/cpu/avx2/avx2.h"

#define CULET_TILE_ROWS 3

CULET_TARGET_BEGIN(CULET_AVX2_TARGET)
namespace culet::avx2 {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx2/vec_inl.h"
static_assert(kTileRows == CULET_TILE_ROWS);
#include "ops/cpu/simd/math_inl.h"
#include "ops/cpu/simd/attention_inl.h"
#include "ops/cpu/simd/dense_attention_inl.h"
// clang-format on

}  // namespace

void FillAttentionPart(CpuKernels& table) {
  FillAttention(table, CpuLevel::kAvx2);
  FillDenseAttention(table, CpuLevel::kAvx2);
}

}  // namespace culet::avx2
CULET_TARGET_END
