// What culet doctor says of kernel levels.
#pragma once

#include <string>
#include <vector>

#include "culet/machine.h"

namespace culet::cli {

// "plain, avx2 (used: the best of this CPU), avx512 (not on this CPU), …"
std::string KernelLevelsText(const MachineInfo& machine);
// What a user should mend or know, each with how; empty where the best kernels are used.
std::vector<std::string> KernelLevelsAdvice(const MachineInfo& machine);

}  // namespace culet::cli
