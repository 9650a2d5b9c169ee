#include "ops/cpu/table.h"

#include <array>

namespace culet {
namespace {

struct Row {
  CpuLevel level;
  void (*fill)(CpuKernels& table);
  bool proven;  // has run on real hardware, not only under an emulator
};

// By level; each adds to what the ones before it have put there.
constexpr Row kRows[] = {
    {CpuLevel::kPlain, FillPlain, true},
#if defined(__aarch64__)
    {CpuLevel::kNeon, FillNeon, false},
#elif defined(__x86_64__)
    {CpuLevel::kAvx2, FillAvx2, true},
    {CpuLevel::kAvx512, FillAvx512, true},
    {CpuLevel::kAvx512Vnni, FillAvx512Vnni, true},
    {CpuLevel::kAvx512Bf16, FillAvx512Bf16, true},
    {CpuLevel::kAmx, FillAmx, true},
#endif
};
constexpr std::size_t kLevels = std::size(kRows);

using Tables = std::array<CpuKernels, kLevels>;

// Only the levels that the machine has are filled: the code that fills a level is compiled for it.
Tables MakeTables() {
  Tables tables;
  for (std::size_t index = 0; index < kLevels; ++index) {
    if (kRows[index].level > DetectCpuLevel()) break;
    if (index > 0) tables[index] = tables[index - 1];
    kRows[index].fill(tables[index]);
  }
  return tables;
}

// kLevels where nothing is built for `level`.
std::size_t IndexOf(CpuLevel level) {
  std::size_t index = 0;
  while (index < kLevels && kRows[index].level != level) ++index;
  return index;
}

}  // namespace

bool IsBuilt(CpuLevel level) { return IndexOf(level) < kLevels; }

bool IsProven(CpuLevel level) { return IsBuilt(level) && kRows[IndexOf(level)].proven; }

const CpuKernels& KernelsOf(CpuLevel level) {
  static const Tables tables = MakeTables();
  CULET_DCHECK(IsBuilt(level) && level <= DetectCpuLevel());
  return tables[IndexOf(level)];
}

}  // namespace culet
