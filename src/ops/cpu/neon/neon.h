// The parts of the neon level, by op group. They have never run on real hardware: tested under
// qemu, not tuned.
#pragma once

#include "ops/cpu/kernels.h"

namespace culet::neon {

void FillMatMulPart(CpuKernels& table);
void FillIntegerMatMulPart(CpuKernels& table);
void FillAttentionPart(CpuKernels& table);
void FillRowsPart(CpuKernels& table);

}  // namespace culet::neon
