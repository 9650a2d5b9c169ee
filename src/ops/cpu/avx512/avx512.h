// The parts of the avx512 level, by op group.
#pragma once

#include "ops/cpu/kernels.h"

namespace culet::avx512 {

void FillMatMulPart(CpuKernels& table);
void FillAttentionPart(CpuKernels& table);
void FillRowsPart(CpuKernels& table);

// What the table has at this level, for those above it.
void AttentionBlock(const AttentionBlockArgs& args);

}  // namespace culet::avx512
