// Finding the model that a user named.
#include "culet/find.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "culet/hub.h"
#include "hub/reference.h"
#include "hub/settings.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> BundledFolders(const FindOptions& options) {
  std::vector<fs::path> folders;
  if (const char* list = std::getenv("CULET_MODELS")) {
    std::string rest = list;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(':'), rest.size());
      if (end > 0) folders.push_back(rest.substr(0, end));
      rest.erase(0, end + 1);
    }
  }
  folders.insert(folders.end(), options.bundled.begin(), options.bundled.end());
  folders.push_back("models");
  return folders;
}

std::string Sentence(const std::string& hint) { return hint.empty() ? "" : ". " + hint; }

std::string CacheFolder() {
  return hub::ReadSettings(hub::ProcessEnvironment, FileSystem::Real()).cache.string();
}

// A path, or a bundled model; nothing where it is neither, and then `tried` lists the places.
std::optional<fs::path> FindLocal(const std::string& name, const FindOptions& options,
                                  std::string* tried) {
  if (name.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                "no model is named; give " + WhatNamesAModel() + Sentence(options.list_hint));
  }
  std::error_code error;
  const fs::path path = name;
  if (fs::is_directory(path, error)) return path;
  if (fs::exists(path, error)) {
    if (path.extension() == ".safetensors") return path;
    if (options.text_only &&
        (path.filename() == "tokenizer.json" || path.filename() == "chat_template.jinja")) {
      return path;
    }
    throw Error(ErrorKind::kInvalidArgument,
                name + " is a file, but no .safetensors file; a model is " + WhatNamesAModel());
  }
  *tried = "\"" + name + "\" (a folder or file)";
  if (name.find('/') == std::string::npos) {
    for (const fs::path& folder : BundledFolders(options)) {
      if (fs::is_directory(folder / name, error)) return folder / name;
      *tried += ", " + (folder / name).string();
    }
  }
  return std::nullopt;
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

std::string WhatNamesAModel() {
  return "a folder, a .safetensors file beside its config.json, the name of a bundled model "
         "(pebble) or of a model of the hub (e2b, owner/name)";
}

fs::path FindModel(const std::string& name, const FindOptions& options) {
  std::string tried;
  if (const auto local = FindLocal(name, options, &tried)) return *local;
  std::string why;
  if (!hub::ParseReference(name, &why)) {
    throw Error(ErrorKind::kNotFound, "no model \"" + name + "\". Tried: " + tried +
                                          ", the hub (it reads like none of its names: " + why +
                                          "). A model is " + WhatNamesAModel() +
                                          Sentence(options.list_hint));
  }
  std::string missing;
  if (const auto cached = FindInCache(name, options.text_only, &missing)) return *cached;
  if (!options.fetch) {
    throw Error(ErrorKind::kNotFound, "the model \"" + name + "\" " + missing +
                                          ". Tried: " + tried + ", the cache " + CacheFolder() +
                                          Sentence(options.fetch_hint));
  }
  try {
    return options.fetch(name);
  } catch (const Error& error) {
    throw Error(error.kind(), "the model \"" + name + "\" " + missing +
                                  ", and cannot be fetched: " + error.what() + ". Tried: " + tried +
                                  ", the cache " + CacheFolder() + ", the hub");
  }
}

}  // namespace culet
