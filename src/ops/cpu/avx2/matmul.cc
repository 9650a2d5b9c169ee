// Matrix products for AVX2: f32, f16 and bf16 weights widened to f32.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cstring>
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
#include "ops/cpu/simd/matmul_inl.h"
#include "ops/cpu/simd/matmul_f32_inl.h"
// clang-format on

}  // namespace

void FillMatMulPart(CpuKernels& table) { FillF32Products(table, CpuLevel::kAvx2); }

}  // namespace culet::avx2
CULET_TARGET_END
