// culet doctor: the machine, the cache and the way to the hub, and what to mend.
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/kernel_levels.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "culet/culet.h"
#include "culet/hub.h"
#include "culet/json.h"
#include "hub/cache_scan.h"
#include "hub/settings.h"

namespace culet::cli {
namespace {

namespace fs = std::filesystem;

// The nearest folder that exists: where a new one would be made.
fs::path NearestFolder(fs::path path) {
  std::error_code ignored;
  while (!fs::is_directory(path, ignored) && path.has_parent_path() && path != path.parent_path()) {
    path = path.parent_path();
  }
  return path;
}

struct CacheState {
  fs::path folder;
  bool exists = false;
  bool writable = false;
  std::uint64_t free_bytes = 0;
  std::size_t models = 0, incomplete = 0;
  std::uint64_t bytes = 0;
  std::string error;
};

CacheState LookAtCache(const fs::path& folder) {
  CacheState state;
  state.folder = folder;
  std::error_code ignored;
  state.exists = fs::is_directory(folder, ignored);
  const fs::path nearest = NearestFolder(folder);
  state.writable = ::access(nearest.c_str(), W_OK | X_OK) == 0;
  struct statvfs disk {};
  if (::statvfs(nearest.c_str(), &disk) == 0) {
    state.free_bytes = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  }
  if (!state.exists) return state;
  try {
    for (const hub::ScannedModel& model : hub::ScanCache(FileSystem::Real(), folder)) {
      ++state.models;
      state.bytes += model.bytes;
      state.incomplete += std::ranges::none_of(
          model.revisions, [](const auto& revision) { return revision.missing.empty(); });
    }
  } catch (const Error& error) {
    state.error = error.what();
  }
  return state;
}

// What a user should mend, each with how.
std::vector<std::string> Advice(const MachineInfo& machine, const CacheState& cache,
                                const hub::Settings& settings) {
  std::vector<std::string> advice = KernelLevelsAdvice(machine);
  std::uint64_t smallest = 0;
  for (const PublishedModel& model : PublishedModels()) {
    if (smallest == 0 || model.resident_bytes < smallest) smallest = model.resident_bytes;
  }
  if (machine.free_bytes > 0 && machine.free_bytes < smallest) {
    advice.push_back(fmt::format(
        "{} of memory are free; the smallest published model takes {} (culet list --available)",
        FormatBytes(machine.free_bytes), FormatBytes(smallest)));
  }
  if (!cache.error.empty()) advice.push_back(cache.error);
  if (!cache.writable) {
    advice.push_back(cache.folder.string() +
                     " cannot be written to: change its owner, or set HF_HUB_CACHE to another "
                     "folder");
  } else if (cache.free_bytes < (std::uint64_t{12} << 30)) {
    advice.push_back(fmt::format(
        "{} are free on the cache's disk; e2b is about 10 GiB. `culet list` and `culet rm` make "
        "room, or set HF_HUB_CACHE to a folder on another disk",
        FormatBytes(cache.free_bytes)));
  }
  if (cache.incomplete > 0) {
    advice.push_back(
        fmt::format("{} of the cache's models are not complete: `culet list` shows "
                    "which, `culet pull` goes on",
                    cache.incomplete));
  }
  if (settings.token.empty()) {
    advice.emplace_back("no access token: gated models need one (HF_TOKEN, or `hf auth login`)");
  }
  if (settings.offline) {
    advice.push_back(settings.offline_because + ": nothing will be fetched");
  }
  return advice;
}

void Line(const std::string& name, const std::string& value) {
  Output::Standard().Write(fmt::format("{:<14} {}\n", name, value));
}

int RunDoctor(bool json) {
  const MachineInfo machine = DescribeMachine();
  const hub::Settings settings = hub::ReadSettings(hub::ProcessEnvironment, FileSystem::Real());
  const CacheState cache = LookAtCache(settings.cache);
  const std::vector<std::string> advice = Advice(machine, cache, settings);
  const std::string token = settings.token.empty() ? "none" : "from " + settings.token_source;
  if (json) {
    JsonObject object;
    object.AddMembers(ToJson(machine));
    object.Add("cache", {{"path", cache.folder.string()},
                         {"exists", cache.exists},
                         {"writable", cache.writable},
                         {"free_bytes", cache.free_bytes},
                         {"models", cache.models},
                         {"incomplete", cache.incomplete},
                         {"bytes", cache.bytes}});
    object.Add("endpoint", settings.endpoint);
    object.Add("offline", settings.offline);
    object.Add("token", !settings.token.empty());
    object.Add("token_source", settings.token_source);
    object.Add("advice", advice);
    Output::Standard().Write(object.Text() + "\n");
    return 0;
  }
  Line("processor", fmt::format("{}, {} threads", machine.cpu_model, machine.threads));
  Line("kernels", KernelLevelsText(machine));
  Line("memory", fmt::format("{} free of {}", FormatBytes(machine.free_bytes),
                             FormatBytes(machine.memory_bytes)));
  Line("cache",
       fmt::format("{}{}: {} models, {}", cache.folder.string(),
                   cache.exists ? "" : " (not made yet)", cache.models, FormatBytes(cache.bytes)));
  Line("disk", fmt::format("{} free, {}", FormatBytes(cache.free_bytes),
                           cache.writable ? "writable" : "not writable"));
  Line("hub", settings.endpoint + (settings.offline ? " (offline)" : ""));
  Line("token", token);
  Output::Standard().Write("\n");
  if (advice.empty()) Output::Standard().Write("Nothing to mend.\n");
  for (const std::string& line : advice) Output::Standard().Write("- " + line + "\n");
  return 0;
}

}  // namespace

Command AddDoctor(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command =
      AddSubcommand(app, "doctor", "Look at the machine, the cache and the way to the hub",
                    "  culet doctor\n  culet doctor --json");
  AddFlag(*command, "--json", json.get(), "one JSON object");
  return {command, [json] { return RunDoctor(*json); }};
}

}  // namespace culet::cli
