// The parts of the avx2 level, by op group.
#pragma once

#include "ops/cpu/kernels.h"

namespace culet::avx2 {

void FillMatMulPart(CpuKernels& table);
void FillIntegerMatMulPart(CpuKernels& table);
void FillAttentionPart(CpuKernels& table);
void FillRowsPart(CpuKernels& table);

}  // namespace culet::avx2
