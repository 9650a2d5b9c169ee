// Regions of code compiled for more than the base CPU: by attributes on each function, never by
// compiler flags, so that no inline function of a shared header leaks into the base build.
//
//   #include "ops/cpu/simd/target.h"      first: it brings the intrinsics
//   … every other include
//   CULET_TARGET_BEGIN("avx2,fma,f16c")
//   namespace culet::avx2 { … }
//   CULET_TARGET_END
//
// Inside: no lambdas (g++ does not give them the target) and no includes of other rooms.
// On aarch64, whose base CPU has NEON, there are no regions.
#pragma once

// g++ 12 takes the deliberately undefined operands inside its own AVX-512 intrinsics for mistakes
// (GCC bug 105593), at lines of its header: so for the rest of the file, from before the header on.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif
#include <cstdint>
#include <cstring>

#define CULET_DO_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define CULET_TARGET_BEGIN(features) \
  CULET_DO_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define CULET_TARGET_END _Pragma("clang attribute pop")
#else
#define CULET_TARGET_BEGIN(features) \
  _Pragma("GCC push_options") CULET_DO_PRAGMA(GCC target(features))
#define CULET_TARGET_END _Pragma("GCC pop_options")
#endif

#define CULET_AVX2_TARGET "avx2,fma,f16c"
#define CULET_AVX512_TARGET "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"
#define CULET_AVX512VNNI_TARGET "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
#define CULET_AVX512BF16_TARGET \
  "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16"
#define CULET_AMX_TARGET                                                             \
  "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,amx-tile," \
  "amx-int8,amx-bf16"

// For the vocabulary: called in every inner loop.
#define CULET_INLINE inline __attribute__((always_inline))

namespace culet {

// What every level has: four f32 in a register, which Reduce4 makes of four vectors, and + between
// them.
#if defined(__aarch64__)
using Four = float32x4_t;
#else
using Four = __m128;
#endif
CULET_INLINE Four LoadFour(const float* p) {
  Four four;
  std::memcpy(&four, p, sizeof(four));
  return four;
}
CULET_INLINE void StoreFour(float* p, Four four) { std::memcpy(p, &four, sizeof(four)); }

// Into the second-level cache. `address` may lie where nothing is: nothing is read there.
CULET_INLINE void FetchLine(std::uintptr_t address) {
  __builtin_prefetch(reinterpret_cast<const void*>(address), 0, 2);
}

}  // namespace culet
