// The machine that culet finds itself on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "culet/export.h"

namespace culet {

struct KernelLevel {
  std::string name;        // "avx2"
  bool available = false;  // this CPU, this system and this build have it
  bool proven = false;     // has run on real hardware; one that has not is used only where named
};

struct MachineInfo {
  std::string cpu_model;            // "AMD EPYC …"
  int threads = 0;                  // CPUs that this process may use
  std::vector<KernelLevel> levels;  // of CPUs of this kind, from plain upwards
  std::string level;                // that will be used
  bool level_forced = false;        // by CULET_CPU
  std::uint64_t memory_bytes = 0;   // of the machine; 0: the system does not say
  std::uint64_t free_bytes = 0;     // for this process, its container's limit counted
};

// Looks anew at each call. Any thread. Throws Error(kInvalidArgument) where CULET_CPU names a level
// that is not there.
CULET_EXPORT MachineInfo DescribeMachine();

}  // namespace culet
