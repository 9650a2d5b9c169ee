#include "cli/model_path.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <vector>

#include "base/error.h"
#include "cli/pull_display.h"
#include "culet/hub.h"
#include "hub/reference.h"

namespace culet::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhatModelIs =
    "a folder, a .safetensors file beside its config.json, the name of a bundled model (pebble) or "
    "of a model of the hub (e2b, owner/name)";

std::vector<fs::path> BundledFolders() {
  std::vector<fs::path> folders;
  if (const char* list = std::getenv("CULET_MODELS")) {
    std::string rest = list;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(':'), rest.size());
      if (end > 0) folders.push_back(rest.substr(0, end));
      rest.erase(0, end + 1);
    }
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    const fs::path folder = program.parent_path();
    folders.push_back((folder / "../../models").lexically_normal());           // build/release
    folders.push_back((folder / "../share/culet/models").lexically_normal());  // bin
  }
  folders.push_back("models");
  return folders;
}

// A path, or a bundled model; nothing where it is neither, and then `tried` lists the places.
std::optional<fs::path> FindLocal(const std::string& name, bool text_only, std::string* tried) {
  if (name.empty()) {
    throw Error(ErrorKind::kInvalidArgument, "MODEL is missing: " + std::string(kWhatModelIs) +
                                                 ". `culet list --available` shows names");
  }
  std::error_code error;
  const fs::path path = name;
  if (fs::is_directory(path, error)) return path;
  if (fs::exists(path, error)) {
    if (path.extension() == ".safetensors") return path;
    if (text_only &&
        (path.filename() == "tokenizer.json" || path.filename() == "chat_template.jinja")) {
      return path;
    }
    throw Error(ErrorKind::kInvalidArgument,
                name + " is a file, but no .safetensors file; MODEL is " + kWhatModelIs);
  }
  *tried = "\"" + name + "\" (a folder or file)";
  if (name.find('/') == std::string::npos) {
    for (const fs::path& folder : BundledFolders()) {
      if (fs::is_directory(folder / name, error)) return folder / name;
      *tried += ", " + (folder / name).string();
    }
  }
  return std::nullopt;
}

// Not a name of the hub either.
[[noreturn]] void RefuseUnknown(const std::string& name, const std::string& tried,
                                const std::string& why) {
  throw Error(ErrorKind::kNotFound, "no model \"" + name + "\". Tried: " + tried +
                                        ", the hub (it reads like none of its names: " + why +
                                        "). MODEL is " + kWhatModelIs +
                                        ". `culet list --available` shows names");
}

std::string Joined(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 5;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kMost; ++i) {
    text += (text.empty() ? "" : ", ") + names[i];
  }
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
  return text;
}

// In the cache, as far as it is needed; nothing where it has to be fetched, and then `missing` says
// what.
std::optional<fs::path> FindInCache(const std::string& name, bool text_only, std::string* missing) {
  const std::optional<CachedModel> cached = FindCached(name);
  if (!cached) {
    *missing = "is not in the cache";
    return std::nullopt;
  }
  if (cached->missing.empty() || text_only) return cached->folder;
  *missing = "is in the cache (" + cached->folder.string() + ") without " + Joined(cached->missing);
  return std::nullopt;
}

}  // namespace

fs::path ResolveModel(const std::string& name, bool text_only) {
  std::string tried;
  if (const auto local = FindLocal(name, text_only, &tried)) return *local;
  std::string why;
  if (!hub::ParseReference(name, &why)) RefuseUnknown(name, tried, why);
  std::string missing;
  if (const auto cached = FindInCache(name, text_only, &missing)) return *cached;
  throw Error(ErrorKind::kNotFound, "the model \"" + name + "\" " + missing + ". Tried: " + tried +
                                        ", the cache " + CacheFolderText() + ". `culet pull " +
                                        name + "` fetches it");
}

fs::path ResolveOrFetch(const std::string& name, const FetchChoice& choice) {
  std::string tried;
  if (const auto local = FindLocal(name, false, &tried)) return *local;
  std::string why;
  if (!hub::ParseReference(name, &why)) RefuseUnknown(name, tried, why);
  std::string missing;
  if (const auto cached = FindInCache(name, false, &missing)) return *cached;
  try {
    return PullShown(name, choice.offline, !choice.yes).folder;
  } catch (const Error& error) {
    throw Error(error.kind(), "the model \"" + name + "\" " + missing +
                                  ", and cannot be fetched: " + error.what() + ". Tried: " + tried +
                                  ", the cache " + CacheFolderText() + ", the hub");
  }
}

}  // namespace culet::cli
