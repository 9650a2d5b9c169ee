// In the place of src/ops/cpu/simd/target.h, for ops_emulated_test: the same intrinsics, by SIMDe,
// where the machine lacks AVX-512. No regions: these sources are compiled for AVX2 as a whole.
#pragma once

#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "ops/emulated/missing.h"

#define CULET_TARGET_BEGIN(features)
#define CULET_TARGET_END
#define CULET_AVX2_TARGET
#define CULET_AVX512_TARGET
#define CULET_AVX512VNNI_TARGET
#define CULET_AVX512BF16_TARGET
#define CULET_AMX_TARGET
#define CULET_INLINE inline

namespace culet {

using Four = __m128;
CULET_INLINE Four LoadFour(const float* p) {
  Four four;
  std::memcpy(&four, p, sizeof(four));
  return four;
}
CULET_INLINE void StoreFour(float* p, Four four) { std::memcpy(p, &four, sizeof(four)); }
CULET_INLINE void FetchLine(std::uintptr_t) {}

}  // namespace culet
