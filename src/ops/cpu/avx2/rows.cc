// Row kernels and the machine's limits for AVX2.
#include "ops/cpu/simd/target.h"

#include <cmath>
#include <cstring>

#include "ops/cpu/avx2/avx2.h"
#include "ops/cpu/table.h"

CULET_TARGET_BEGIN(CULET_AVX2_TARGET)
namespace culet::avx2 {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx2/vec_inl.h"
#include "ops/cpu/simd/math_inl.h"
#include "ops/cpu/simd/rows_inl.h"
#include "ops/cpu/simd/encoder_inl.h"
#include "ops/cpu/simd/limits_inl.h"
// clang-format on

}  // namespace

void FillRowsPart(CpuKernels& table) {
  FillRows(table, CpuLevel::kAvx2);
  FillEncoder(table, CpuLevel::kAvx2);
  table.read_stream = ReadStream;
  table.peak_f32 = Peak<F32Step>;
  table.peak_bf16 = Peak<F32Step>;  // bf16 weights are widened
  table.peak_f32_step = kPeakChains * kLanes;
  table.peak_bf16_step = table.peak_f32_step;
}

}  // namespace culet::avx2
CULET_TARGET_END

namespace culet {

void FillAvx2(CpuKernels& table) {
  table.level = CpuLevel::kAvx2;
  avx2::FillMatMulPart(table);
  avx2::FillIntegerMatMulPart(table);
  avx2::FillAttentionPart(table);
  avx2::FillRowsPart(table);
}

}  // namespace culet
