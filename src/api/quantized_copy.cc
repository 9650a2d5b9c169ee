// Copies in integer weights that the cache holds, made at the first use.
#include "api/quantized_copy.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <span>
#include <vector>

#include "api/boundary.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/folder_in_making.h"
#include "checkpoint/model_files.h"
#include "checkpoint/quantize_checkpoint.h"
#include "culet/quantize.h"
#include "hub/clock.h"
#include "hub/lock.h"
#include "hub/settings.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

// Changes whenever a recipe or the layout does: copies of before are made anew.
constexpr int kCopyVersion = 2;

fs::path CopiesFolder() {
  if (const std::optional<fs::path> folder = FindCopiesFolder()) return *folder;
  throw Error(ErrorKind::kInvalidArgument,
              "there is no folder for quantised copies: none of CULET_CACHE, XDG_CACHE_HOME and "
              "HOME is set");
}

// Before anything is announced or made.
void RefuseQuantized(const fs::path& path, const std::string& to) {
  FileSystem& files = FileSystem::Real();
  const ModelFiles model = FindModelFiles(files, path);
  if (!LoadModelConfig(files, model.config).quantization) return;
  throw Error(ErrorKind::kUnsupported,
              model.config.string() +
                  ": has quantization_config: the model is quantised already. " +
                  "Load it as it is, without asking for " + to);
}

std::uint64_t HashText(const std::string& text) {
  return HashBytes(std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace

std::optional<fs::path> FindCopiesFolder() {
  const auto variable = [](const char* name) { return hub::ProcessEnvironment(name).value_or(""); };
  fs::path folder = variable("CULET_CACHE");
  if (folder.empty() && !variable("XDG_CACHE_HOME").empty()) {
    folder = fs::path(variable("XDG_CACHE_HOME")) / "culet";
  }
  if (folder.empty() && !variable("HOME").empty()) {
    folder = fs::path(variable("HOME")) / ".cache" / "culet";
  }
  if (folder.empty()) return std::nullopt;
  return folder / "quantized";
}

// The files of the model with sizes and times, and what they are made into.
Copy CopyOf(const fs::path& path, const std::string& to) {
  FileSystem& files = FileSystem::Real();
  const ModelFiles model = FindModelFiles(files, path);
  std::error_code error;
  fs::path folder = fs::weakly_canonical(model.folder, error);
  if (error) folder = fs::absolute(model.folder);
  OrderedJson key;
  key["version"] = kCopyVersion;
  key["to"] = to;
  key["model"] = folder.string();
  std::vector<fs::path> all = model.shards;
  all.push_back(model.config);
  for (const char* name : CompanionFiles()) {
    if (files.Exists(model.folder / name)) all.push_back(model.folder / name);
  }
  std::sort(all.begin(), all.end());
  for (const fs::path& file : all) {
    // In the clock's own steps: two saves within a second differ.
    key["files"][file.filename().string()] = {
        files.Status(file, true).bytes,
        fs::last_write_time(file, error).time_since_epoch().count()};
  }
  // One folder a model and format: a copy of files that have changed takes the old one's place.
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016" PRIx64,
                HashText(folder.string() + "\n" + model.weights.filename().string()));
  const std::string name = folder.filename().string();
  return {CopiesFolder() / (name + "-" + hash + "-" + to), key.dump(1) + "\n"};
}

bool IsGood(const Copy& copy) {
  FileSystem& files = FileSystem::Real();
  const fs::path key = copy.folder / kCopyKeyFile;
  if (!files.Exists(key) || files.ReadFile(key, kMaxCopyKeyBytes) != copy.key) return false;
  // One that was damaged since is made anew.
  try {
    Checkpoint::Open(files, copy.folder);
  } catch (const Error&) {
    return false;
  }
  return true;
}

bool HasQuantizedCopy(const fs::path& path, const std::string& to) try {
  RefuseQuantized(path, to);
  return IsGood(CopyOf(path, to));
} catch (...) {
  RethrowAsError();
}

fs::path QuantizedCopy(const fs::path& path, const std::string& to,
                       const QuantizeOptions& options) try {
  RefuseQuantized(path, to);
  const Copy copy = CopyOf(path, to);
  if (IsGood(copy)) return copy.folder;
  FileSystem& files = FileSystem::Real();
  files.CreateFolders(copy.folder.parent_path());
  const hub::Lock lock(
      files, CopyLockPath(copy.folder), hub::Clock::Real(),
      [&] {
        if (options.on_progress) options.on_progress("waiting for another process", 0, 1);
        return false;
      },
      [] {});
  if (IsGood(copy)) return copy.folder;  // somebody else made it
  RemoveUnfinished(copy.folder);
  RemoveLeftovers(copy.folder.parent_path(), copy.folder.filename().string());
  // Made beside, so that whoever has the old one open keeps its files.
  fs::path made = copy.folder;
  made += ".new";
  QuantizeOptions quantize = options;
  quantize.to = to;
  quantize.group = 0;
  quantize.keep.clear();
  quantize.report = QuantizeReport::kNone;
  QuantizeModel(path, made, quantize);
  files.WriteFileAtomically(made / kCopyKeyFile, copy.key);
  // The old one goes aside first, under a name that is swept if this process ends here.
  const fs::path old =
      copy.folder.parent_path() / UnfinishedName::Make(copy.folder.filename().string());
  const bool had_old = files.Exists(copy.folder);
  if (had_old) files.Rename(copy.folder, old);
  files.Rename(made, copy.folder);
  std::error_code ignored;
  if (had_old) fs::remove_all(old, ignored);
  return copy.folder;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
