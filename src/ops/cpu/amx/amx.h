// The parts of the amx level, by op group.
#pragma once

#include "ops/cpu/kernels.h"

namespace culet::amx {

void FillBf16MatMulPart(CpuKernels& table);
void FillIntegerMatMulPart(CpuKernels& table);
void FillAttentionPart(CpuKernels& table);
void FillLimitsPart(CpuKernels& table);

}  // namespace culet::amx
