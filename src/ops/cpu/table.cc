#include "ops/cpu/table.h"

#include <array>

namespace culet {
namespace {

using Fill = void (*)(CpuKernels&);

// By level; each adds to what the ones before it have put there.
constexpr Fill kFills[] = {
    FillPlain,
#if defined(__x86_64__)
    FillAvx2,
    FillAvx512,
    FillAvx512Bf16,
#endif
};
constexpr std::size_t kLevels = std::size(kFills);

using Tables = std::array<CpuKernels, kLevels>;

// Only the levels that the machine has are filled: the code that fills a level is compiled for it.
Tables MakeTables() {
  Tables tables;
  for (std::size_t index = 0; index < kLevels; ++index) {
    if (index > static_cast<std::size_t>(DetectCpuLevel())) break;
    if (index > 0) tables[index] = tables[index - 1];
    kFills[index](tables[index]);
  }
  return tables;
}

}  // namespace

CpuLevel HighestBuiltLevel() { return static_cast<CpuLevel>(kLevels - 1); }

const CpuKernels& KernelsOf(CpuLevel level) {
  static const Tables tables = MakeTables();
  CULET_DCHECK(level <= HighestBuiltLevel() && level <= DetectCpuLevel());
  return tables[static_cast<std::size_t>(level)];
}

}  // namespace culet
