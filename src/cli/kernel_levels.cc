#include "cli/kernel_levels.h"

#include <algorithm>

namespace culet::cli {
namespace {

// A level that is here but has never run on real hardware; empty where there is none.
std::string UnprovenLevel(const MachineInfo& machine) {
  const auto found = std::ranges::find_if(
      machine.levels, [](const KernelLevel& level) { return level.available && !level.proven; });
  return found == machine.levels.end() ? "" : found->name;
}

std::string WhyUsed(const MachineInfo& machine) {
  if (machine.level_forced) return "used: CULET_CPU says so";
  if (!UnprovenLevel(machine).empty()) return "used: the best that has run on real hardware";
  return "used: the best of this CPU";
}

}  // namespace

std::string KernelLevelsText(const MachineInfo& machine) {
  std::string text;
  for (const KernelLevel& level : machine.levels) {
    std::vector<std::string> notes;
    if (level.name == machine.level) notes.push_back(WhyUsed(machine));
    if (!level.available) {
      notes.emplace_back(level.name == "amx" ? "not on this CPU, or not granted by its system"
                                             : "not on this CPU");
    } else if (!level.proven) {
      notes.emplace_back("never run on real hardware");
    }
    if (!text.empty()) text += ", ";
    text += level.name;
    for (std::size_t index = 0; index < notes.size(); ++index) {
      text += (index == 0 ? " (" : "; ") + notes[index];
    }
    if (!notes.empty()) text += ")";
  }
  return text;
}

std::vector<std::string> KernelLevelsAdvice(const MachineInfo& machine) {
  std::vector<std::string> advice;
  const std::string unproven = UnprovenLevel(machine);
  const bool only_plain = std::ranges::none_of(machine.levels, [](const KernelLevel& level) {
    return level.available && level.name != "plain";
  });
  if (machine.level_forced) {
    advice.push_back("CULET_CPU forces the kernels of level " + machine.level +
                     (machine.level == unproven
                          ? ", which have never run on real hardware: check what comes out"
                          : "; unset it for the best ones"));
  } else if (!unproven.empty()) {
    advice.push_back("the kernels of level " + unproven +
                     " are tested under an emulator only and not taken by themselves: " +
                     "CULET_CPU=" + unproven + " takes them");
  }
  if (only_plain) {
    advice.emplace_back(
        "this CPU has no AVX2: only the portable kernels run, many times slower than it could be");
  }
  return advice;
}

}  // namespace culet::cli
