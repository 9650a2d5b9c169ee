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
#include "checkpoint/model_files.h"
#include "culet/quantize.h"
#include "hub/clock.h"
#include "hub/lock.h"
#include "hub/settings.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

// Changes whenever a recipe or the layout does: copies of before are made anew.
constexpr int kCopyVersion = 1;

fs::path CopiesFolder() {
  if (const std::optional<fs::path> folder = FindCopiesFolder()) return *folder;
  throw Error(ErrorKind::kInvalidArgument,
              "there is no folder for quantised copies: none of CULET_CACHE, XDG_CACHE_HOME and "
              "HOME is set");
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
  for (const char* name :
       {"config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        "generation_config.json", "processor_config.json"}) {
    if (files.Exists(model.folder / name)) all.push_back(model.folder / name);
  }
  std::sort(all.begin(), all.end());
  for (const fs::path& file : all) {
    const FileStatus status = files.Status(file, true);
    key["files"][file.filename().string()] = {status.bytes, status.modified_s};
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
  return files.Exists(key) && files.ReadFile(key, kMaxCopyKeyBytes) == copy.key;
}

bool HasQuantizedCopy(const fs::path& path, const std::string& to) try {
  return IsGood(CopyOf(path, to));
} catch (...) {
  RethrowAsError();
}

fs::path QuantizedCopy(const fs::path& path, const std::string& to,
                       const QuantizeOptions& options) try {
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
  std::error_code ignored;
  fs::remove_all(copy.folder, ignored);
  files.Rename(made, copy.folder);
  return copy.folder;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
