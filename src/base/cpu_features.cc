#include "base/cpu_features.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace culet {
namespace {

constexpr std::array<std::string_view, 7> kNames = {"plain",      "neon",       "avx2", "avx512",
                                                    "avx512vnni", "avx512bf16", "amx"};

#if defined(__x86_64__)

constexpr CpuLevel kArchitecture[] = {CpuLevel::kPlain,      CpuLevel::kAvx2,
                                      CpuLevel::kAvx512,     CpuLevel::kAvx512Vnni,
                                      CpuLevel::kAvx512Bf16, CpuLevel::kAmx};

// Which register files the operating system saves (XCR0). Only called where OSXSAVE is set.
std::uint64_t EnabledState() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

// Linux hands out the 8 KB of tile registers only to processes that ask (arch_prctl).
bool RequestAmx() {
  constexpr long kRequestXcompPerm = 0x1023;
  constexpr long kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestXcompPerm, kTileData) == 0;
}

CpuLevel Detect() {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return CpuLevel::kPlain;
  const bool osxsave = c & (1u << 27);
  const bool fma = c & (1u << 12);
  const bool f16c = c & (1u << 29);
  if (!osxsave || !fma || !f16c) return CpuLevel::kPlain;
  const std::uint64_t state = EnabledState();
  std::uint32_t b7 = 0, c7 = 0, d7 = 0;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return CpuLevel::kPlain;
  const std::uint32_t subleaves = a;
  if ((state & 0x6) != 0x6 || !(b7 & (1u << 5))) return CpuLevel::kPlain;
  // F, DQ, BW, VL and the opmask and upper-register state.
  const std::uint32_t avx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
  if ((b7 & avx512) != avx512 || (state & 0xe6) != 0xe6) return CpuLevel::kAvx2;
  std::uint32_t a71 = 0;
  if (subleaves >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);
  const bool vnni = c7 & (1u << 11);
  const bool bf16 = a71 & (1u << 5);
  if (!vnni) return CpuLevel::kAvx512;
  if (!bf16) return CpuLevel::kAvx512Vnni;
  const std::uint32_t amx = (1u << 22) | (1u << 24) | (1u << 25);
  const std::uint64_t tiles = (1u << 17) | (1u << 18);
  if ((d7 & amx) != amx || (state & tiles) != tiles || !RequestAmx()) return CpuLevel::kAvx512Bf16;
  return CpuLevel::kAmx;
}

#elif defined(__aarch64__)

constexpr CpuLevel kArchitecture[] = {CpuLevel::kPlain, CpuLevel::kNeon};
CpuLevel Detect() { return CpuLevel::kNeon; }

#else

constexpr CpuLevel kArchitecture[] = {CpuLevel::kPlain};
CpuLevel Detect() { return CpuLevel::kPlain; }

#endif

}  // namespace

std::string_view CpuLevelName(CpuLevel level) { return kNames[static_cast<std::size_t>(level)]; }

std::optional<CpuLevel> CpuLevelFromName(std::string_view name) {
  for (std::size_t index = 0; index < kNames.size(); ++index) {
    if (kNames[index] == name) return static_cast<CpuLevel>(index);
  }
  return std::nullopt;
}

std::string CpuLevelNames() {
  std::string names;
  for (std::size_t index = 0; index < kNames.size(); ++index) {
    if (index > 0) names += index + 1 < kNames.size() ? ", " : " and ";
    names += kNames[index];
  }
  return names;
}

std::span<const CpuLevel> LevelsOfArchitecture() { return kArchitecture; }

CpuLevel DetectCpuLevel() {
  static const CpuLevel level = Detect();
  return level;
}

std::string CpuModelName() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown";
}

}  // namespace culet
