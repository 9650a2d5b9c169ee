#include "cli/model_path.h"

#include <vector>

#include "base/error.h"
#include "cli/pull_display.h"
#include "culet/find.h"

namespace culet::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kListHint = "`culet list --available` shows names";

// Where this program's own models lie.
std::vector<fs::path> BundledFolders() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const fs::path folder = program.parent_path();
  return {(folder / "../../models").lexically_normal(),            // build/release
          (folder / "../share/culet/models").lexically_normal()};  // bin
}

FindOptions OptionsFor(const std::string& name) {
  if (name.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                "MODEL is missing: " + WhatNamesAModel() + ". " + kListHint);
  }
  FindOptions options;
  options.bundled = BundledFolders();
  options.list_hint = kListHint;
  options.fetch_hint = "`culet pull " + name + "` fetches it";
  return options;
}

}  // namespace

fs::path ResolveModel(const std::string& name, bool text_only) {
  FindOptions options = OptionsFor(name);
  options.text_only = text_only;
  return FindModel(name, options);
}

fs::path ResolveOrFetch(const std::string& name, const FetchChoice& choice) {
  FindOptions options = OptionsFor(name);
  options.fetch = [&](const std::string& model) {
    return PullShown(model, choice.offline, !choice.yes).folder;
  };
  return FindModel(name, options);
}

}  // namespace culet::cli
