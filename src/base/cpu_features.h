// What this CPU can do, as levels that kernels are written for.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace culet {

// Of one machine's levels, each includes those before it.
enum class CpuLevel {
  kPlain,  // any CPU: portable C++
  // aarch64
  kNeon,  // Advanced SIMD of Armv8.0, which every such CPU has
  // x86-64
  kAvx2,        // AVX2, FMA, F16C
  kAvx512,      // AVX-512 F, BW, DQ, VL
  kAvx512Vnni,  // and AVX512_VNNI
  kAvx512Bf16,  // and AVX512_BF16
  kAmx,         // and AMX-TILE, AMX-BF16, AMX-INT8, with the system's permission
};

std::string_view CpuLevelName(CpuLevel level);  // "plain", "neon", "avx2", "avx512", …
std::optional<CpuLevel> CpuLevelFromName(std::string_view name);
// For messages: "plain, neon, avx2, avx512, … and amx".
std::string CpuLevelNames();
// Those of this machine's architecture, from plain upwards: what some CPU of the kind has.
std::span<const CpuLevel> LevelsOfArchitecture();

// The highest level that CPU and operating system both support.
CpuLevel DetectCpuLevel();
// For messages: "AMD EPYC …"; "unknown" where the system does not say.
std::string CpuModelName();

}  // namespace culet
