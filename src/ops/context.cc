#include "ops/context.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "ops/cpu/kernels.h"

namespace culet {
namespace {

std::string LevelList() {
  std::string list;
  for (const CpuLevel level : AvailableLevels()) {
    if (!list.empty()) list += ", ";
    list += CpuLevelName(level);
  }
  return list;
}

// Throws where the machine, or culet, lacks `level`.
CpuLevel Checked(CpuLevel level, const std::string& place) {
  const std::string name(CpuLevelName(level));
  const std::span<const CpuLevel> known = LevelsOfArchitecture();
  if (level > DetectCpuLevel() || std::ranges::find(known, level) == known.end()) {
    throw Error(ErrorKind::kInvalidArgument, place + " asks for kernels of level \"" + name +
                                                 "\"; this CPU (" + CpuModelName() + ") has " +
                                                 LevelList() + ". Choose one of these.");
  }
  if (!IsBuilt(level)) {
    throw Error(ErrorKind::kInvalidArgument, place + " asks for kernels of level \"" + name +
                                                 "\", which culet does not have yet; here it has " +
                                                 LevelList() + ". Choose one of these.");
  }
  return level;
}

constexpr std::size_t kAlignment = 64;

}  // namespace

CpuLevel ChosenLevel() {
  const char* forced = std::getenv("CULET_CPU");
  if (forced == nullptr || *forced == '\0') return BestLevel();
  const std::optional<CpuLevel> level = CpuLevelFromName(forced);
  if (!level) {
    throw Error(ErrorKind::kInvalidArgument, "CULET_CPU is \"" + std::string(forced) +
                                                 "\"; culet knows " + CpuLevelNames() +
                                                 ", and this machine has " + LevelList() + ".");
  }
  return Checked(*level, "CULET_CPU");
}

CpuLevel BestLevel() {
  CpuLevel best = CpuLevel::kPlain;
  for (const CpuLevel level : AvailableLevels()) {
    if (IsProven(level)) best = level;
  }
  return best;
}

std::vector<CpuLevel> AvailableLevels() {
  std::vector<CpuLevel> levels;
  for (const CpuLevel level : LevelsOfArchitecture()) {
    if (level <= DetectCpuLevel() && IsBuilt(level)) levels.push_back(level);
  }
  return levels;
}

Context::Context(int threads) : Context(threads, ChosenLevel()) {}

Context::Context(int threads, CpuLevel level, ThreadPriority priority)
    : level_(Checked(level, "the caller")), kernels_(&KernelsOf(level)) {
  pool_ = std::make_unique<ThreadPool>(threads, priority);
}

Context::~Context() = default;

std::byte* Context::Scratch(std::size_t bytes) {
  if (bytes > scratch_bytes_) {
    scratch_storage_.reset();  // before the new one: both together may not fit
    scratch_ = nullptr;
    scratch_bytes_ = 0;  // stays so where the new one cannot be had
    scratch_storage_ = std::make_unique_for_overwrite<std::byte[]>(bytes + kAlignment);
    const auto address = reinterpret_cast<std::uintptr_t>(scratch_storage_.get());
    scratch_ = scratch_storage_.get() + (kAlignment - address % kAlignment) % kAlignment;
    scratch_bytes_ = bytes;
  }
  return scratch_;
}

}  // namespace culet
