// The parts of the plain level, by op group.
#pragma once

#include "ops/cpu/kernels.h"

namespace culet {

void FillPlainMatMul(CpuKernels& table);
void FillPlainAttention(CpuKernels& table);
void FillPlainRows(CpuKernels& table);
void FillPlainEncoder(CpuKernels& table);

}  // namespace culet
