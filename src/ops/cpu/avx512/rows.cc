// Row kernels and the machine's limits for AVX512.
#include "ops/cpu/simd/target.h"

#include <cmath>
#include <cstring>

#include "ops/cpu/avx512/avx512.h"
#include "ops/cpu/table.h"

CULET_TARGET_BEGIN(CULET_AVX512_TARGET)
namespace culet::avx512 {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx512/vec_inl.h"
#include "ops/cpu/simd/math_inl.h"
#include "ops/cpu/simd/rows_inl.h"
#include "ops/cpu/simd/encoder_inl.h"
#include "ops/cpu/simd/limits_inl.h"
// clang-format on

}  // namespace

void FillRowsPart(CpuKernels& table) {
  FillRows(table, CpuLevel::kAvx512);
  FillEncoder(table, CpuLevel::kAvx512);
  table.read_stream = ReadStream;
  table.peak_f32 = Peak<F32Step>;
  table.peak_bf16 = Peak<F32Step>;  // bf16 weights are widened
  table.peak_f32_step = kPeakChains * kLanes;
  table.peak_bf16_step = table.peak_f32_step;
}

}  // namespace culet::avx512
CULET_TARGET_END

namespace culet {

void FillAvx512(CpuKernels& table) {
  table.level = CpuLevel::kAvx512;
  avx512::FillMatMulPart(table);
  avx512::FillAttentionPart(table);
  avx512::FillRowsPart(table);
}

}  // namespace culet
