// What this CPU can do, as levels that kernels are written for.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace culet {

// Each level includes those before it.
enum class CpuLevel {
  kPlain,       // any x86-64 (or other CPU): portable C++
  kAvx2,        // AVX2, FMA, F16C
  kAvx512,      // AVX-512 F, BW, DQ, VL
  kAvx512Bf16,  // and AVX512_BF16 (and VNNI)
  kAmx,         // and AMX-TILE, AMX-BF16, with the system's permission
};

std::string_view CpuLevelName(CpuLevel level);  // "plain", "avx2", "avx512", "avx512bf16", "amx"
std::optional<CpuLevel> CpuLevelFromName(std::string_view name);

// The highest level that CPU and operating system both support.
CpuLevel DetectCpuLevel();
// For messages: "AMD EPYC …"; "unknown" where the system does not say.
std::string CpuModelName();

}  // namespace culet
