// What ops_emulated_test has in the place of two parts of the library.
#include "base/cpu_features.h"
#include "ops/cpu/avx512/avx512.h"

namespace culet {

// EmulatedCpuLevel, by the build: all that x86-64 has.
CpuLevel DetectCpuLevel() { return CpuLevel::kAmx; }

// g++ 12 fails on the attention with SIMDe (an internal error): the level below's stays.
namespace avx512 {
void FillAttentionPart(CpuKernels&) {}
void AttentionBlock(const AttentionBlockArgs& args) {
  KernelsOf(CpuLevel::kAvx2).attention_block(args);
}
}  // namespace avx512

}  // namespace culet
