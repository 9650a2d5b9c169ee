#include "ops/cpu/table.h"

#include <array>

namespace culet {
namespace {

using Tables = std::array<CpuKernels, 4>;

Tables MakeTables() {
  Tables tables;
  FillPlain(tables[0]);
  for (std::size_t index = 1; index < tables.size(); ++index) tables[index] = tables[index - 1];
  return tables;
}

}  // namespace

CpuLevel HighestBuiltLevel() { return CpuLevel::kPlain; }

const CpuKernels& KernelsOf(CpuLevel level) {
  static const Tables tables = MakeTables();
  CULET_DCHECK(level <= HighestBuiltLevel());
  return tables[static_cast<std::size_t>(level)];
}

}  // namespace culet
