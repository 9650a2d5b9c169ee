#include "cli/model_path.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace culet::cli {
namespace {

namespace fs = std::filesystem;

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

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return text;
}

// "owner/name", as a hub has them.
bool ReadsLikeHubId(const std::string& name) {
  const std::size_t slash = name.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < name.size() &&
         name.find('/', slash + 1) == std::string::npos && name[0] != '.' && name[0] != '~';
}

// The hub's id of a published model that is named without its owner, "e2b" or "gemma-4-E2B-it";
// else "".
std::string IdOfPublishedName(const std::string& name) {
  std::string lower = Lower(name);
  constexpr std::string_view kFamily = "gemma-4-";
  if (lower.starts_with(kFamily)) lower.erase(0, kFamily.size());
  if (lower.ends_with("-it")) lower.resize(lower.size() - 3);
  const std::pair<std::string_view, const char*> sizes[] = {
      {"e2b", "E2B"},     {"e4b", "E4B"},         {"12b", "12B"},
      {"26b", "26B-A4B"}, {"26b-a4b", "26B-A4B"}, {"31b", "31B"}};
  for (const auto& [size, published] : sizes) {
    if (lower == size) return std::string("google/gemma-4-") + published + "-it";
  }
  return lower.starts_with("gemma") ? "google/" + name : "";
}

[[noreturn]] void RefuseHub(const std::string& name, const std::string& id) {
  const std::string folder = id.substr(id.find('/') + 1);
  throw Error(
      ErrorKind::kUnsupported,
      "\"" + name +
          "\" is no folder here and reads like a model of the Hugging Face hub; "
          "downloading is not built yet. Until then fetch it, for example with `hf download " +
          id + " --local-dir " + folder + "`, and give that folder");
}

}  // namespace

fs::path ResolveModel(const std::string& name, bool text_only) {
  if (name.empty()) {
    throw Error(
        ErrorKind::kInvalidArgument,
        "MODEL is missing: a folder, a .safetensors file beside its config.json, or the name of "
        "a bundled model (pebble)");
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
                name +
                    " is a file, but no .safetensors file; MODEL is a folder, a .safetensors file "
                    "beside its config.json, or the name of a bundled model (pebble)");
  }
  std::string tried = "\"" + name + "\" (a folder or file)";
  if (name.find('/') == std::string::npos) {
    for (const fs::path& folder : BundledFolders()) {
      if (fs::is_directory(folder / name, error)) return folder / name;
      tried += ", " + (folder / name).string();
    }
  }
  if (ReadsLikeHubId(name)) RefuseHub(name, name);
  const std::string id = IdOfPublishedName(name);
  if (!id.empty()) RefuseHub(name, id);
  throw Error(ErrorKind::kNotFound, "no model \"" + name + "\". Tried: " + tried +
                                        ". MODEL is a folder, a .safetensors file beside its "
                                        "config.json, or the name of a bundled model (pebble)");
}

}  // namespace culet::cli
