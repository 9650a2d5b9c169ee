#include "culet/machine.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "api/boundary.h"
#include "api/model_impl.h"
#include "base/cpu_features.h"
#include "base/thread_pool.h"
#include "ops/context.h"
#include "ops/cpu/kernels.h"

namespace culet {
namespace {

// What a container's limit (cgroup v2) leaves, page cache apart: that is given back when needed.
// Nothing where there is no limit.
std::optional<std::uint64_t> MemoryLeftInContainer() {
  std::uint64_t limit = 0;
  if (!(std::ifstream("/sys/fs/cgroup/memory.max") >> limit)) return std::nullopt;
  std::ifstream statistics("/sys/fs/cgroup/memory.stat");
  std::string name;
  std::uint64_t bytes = 0;
  while (statistics >> name >> bytes) {
    if (name == "anon") return limit > bytes ? limit - bytes : 0;
  }
  return limit;
}

// A line of /proc/meminfo in bytes; 0 where the system does not say.
std::uint64_t SystemMemory(const std::string& line) {
  std::ifstream info("/proc/meminfo");
  std::string name;
  std::uint64_t kib = 0;
  std::string unit;
  while (info >> name >> kib >> unit) {
    if (name == line) return kib << 10;
  }
  return 0;
}

}  // namespace

std::uint64_t AvailableMemory() {
  const std::uint64_t available = SystemMemory("MemAvailable:");
  const std::optional<std::uint64_t> left = MemoryLeftInContainer();
  return left ? std::min(available, *left) : available;
}

MachineInfo DescribeMachine() try {
  MachineInfo info;
  info.cpu_model = CpuModelName();
  info.threads = DefaultThreads();
  const std::vector<CpuLevel> available = AvailableLevels();
  for (const CpuLevel level : LevelsOfArchitecture()) {
    info.levels.push_back({.name = std::string(CpuLevelName(level)),
                           .available = std::ranges::find(available, level) != available.end(),
                           .proven = IsProven(level)});
  }
  info.level = CpuLevelName(ChosenLevel());
  info.level_forced = std::getenv("CULET_CPU") != nullptr;
  info.memory_bytes = SystemMemory("MemTotal:");
  info.free_bytes = AvailableMemory();
  return info;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
