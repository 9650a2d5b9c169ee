// Matrix products for NEON: f32, f16 and bf16 weights widened to f32.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "ops/cpu/neon/neon.h"

#define CULET_TILE_ROWS 6

namespace culet::neon {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/neon/vec_inl.h"
static_assert(kTileRows == CULET_TILE_ROWS);
#include "ops/cpu/simd/matmul_inl.h"
#include "ops/cpu/simd/matmul_f32_inl.h"
// clang-format on

}  // namespace

void FillMatMulPart(CpuKernels& table) { FillF32Products(table, CpuLevel::kNeon); }

}  // namespace culet::neon
