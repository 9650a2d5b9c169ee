// Row kernels and the machine's limits for NEON.
#include "ops/cpu/simd/target.h"

#include <cmath>
#include <cstring>

#include "ops/cpu/neon/neon.h"
#include "ops/cpu/table.h"

namespace culet::neon {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/neon/vec_inl.h"
#include "ops/cpu/simd/math_inl.h"
#include "ops/cpu/simd/rows_inl.h"
#include "ops/cpu/simd/encoder_inl.h"
#include "ops/cpu/simd/limits_inl.h"
// clang-format on

// fmla adds to the register that it reads: F32Step, whose addend is a constant, would copy that
// each time.
struct AddingStep : F32Steps {
  static CULET_INLINE F32 Do(F32 sum) { return Fma(Set(0.5f), Set(0x1p-20f), sum); }
};

}  // namespace

void FillRowsPart(CpuKernels& table) {
  FillRows(table, CpuLevel::kNeon);
  FillEncoder(table, CpuLevel::kNeon);
  table.read_stream = ReadStream;
  table.peak_f32 = Peak<AddingStep>;
  table.peak_bf16 = Peak<AddingStep>;  // bf16 weights are widened
  table.peak_f32_step = kPeakChains * kLanes;
  table.peak_bf16_step = table.peak_f32_step;
}

}  // namespace culet::neon

namespace culet {

void FillNeon(CpuKernels& table) {
  table.level = CpuLevel::kNeon;
  neon::FillMatMulPart(table);
  neon::FillIntegerMatMulPart(table);
  neon::FillAttentionPart(table);
  neon::FillRowsPart(table);
}

}  // namespace culet
