// Attention for AVX512.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "ops/cpu/avx512/avx512.h"

#define CULET_TILE_ROWS 6

CULET_TARGET_BEGIN(CULET_AVX512_TARGET)
namespace culet::avx512 {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx512/vec_inl.h"
static_assert(kTileRows == CULET_TILE_ROWS);
#include "ops/cpu/simd/math_inl.h"
#include "ops/cpu/simd/attention_inl.h"
#include "ops/cpu/simd/dense_attention_inl.h"
// clang-format on

}  // namespace

void AttentionBlock(const AttentionBlockArgs& args) { Block(args); }

void FillAttentionPart(CpuKernels& table) {
  FillAttention(table, CpuLevel::kAvx512);
  FillDenseAttention(table, CpuLevel::kAvx512);
}

}  // namespace culet::avx512
CULET_TARGET_END
