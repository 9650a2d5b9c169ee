// What each level puts into the table, over what the levels below have put there.
#pragma once

#include "ops/cpu/kernels.h"

namespace culet {

void FillPlain(CpuKernels& table);
#if defined(__aarch64__)
void FillNeon(CpuKernels& table);
#elif defined(__x86_64__)
void FillAvx2(CpuKernels& table);
void FillAvx512(CpuKernels& table);
void FillAvx512Vnni(CpuKernels& table);
void FillAvx512Bf16(CpuKernels& table);
void FillAmx(CpuKernels& table);
#endif

}  // namespace culet
