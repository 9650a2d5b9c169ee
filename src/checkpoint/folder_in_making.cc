#include "checkpoint/folder_in_making.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUnfinished = ".unfinished.";

[[noreturn]] void RefuseTaken(const fs::path& name) {
  throw Error(ErrorKind::kInvalidArgument,
              name.string() + ": is there already and nothing is overwritten; name another folder");
}

// What killed processes have left in `parent` of a folder `of`.
void RemoveAbandoned(const fs::path& parent, const std::string& of) {
  std::error_code error;
  std::vector<fs::path> left;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto name = UnfinishedName::Parse(entry->path().filename().string());
    if (name && name->of == of && name->IsAbandoned()) left.push_back(entry->path());
  }
  for (const fs::path& path : left) fs::remove_all(path, error);
}

}  // namespace

std::string UnfinishedName::Make(const std::string& of) {
  static std::atomic<int> number{0};
  // Appended, as g++ 12 warns of a text in front of a std::string (GCC bug 105651).
  std::string name = ".";
  name += of;
  name += kUnfinished;
  name += std::to_string(getpid());
  name += '.';
  name += std::to_string(number++);
  return name;
}

std::optional<UnfinishedName> UnfinishedName::Parse(std::string_view name) {
  const std::size_t mark = name.rfind(kUnfinished);
  if (!name.starts_with('.') || mark == std::string_view::npos || mark == 0) return std::nullopt;
  const std::string_view rest = name.substr(mark + kUnfinished.size());
  int process = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), process);
  if (error != std::errc() || process <= 0) return std::nullopt;
  if (end != rest.data() + rest.size() && *end != '.') return std::nullopt;
  return UnfinishedName{std::string(name.substr(1, mark - 1)), process};
}

bool UnfinishedName::IsAbandoned() const { return kill(process, 0) != 0 && errno == ESRCH; }

FolderInMaking::FolderInMaking(fs::path name) : name_(std::move(name)) {
  if (name_.empty()) throw Error(ErrorKind::kInvalidArgument, "the folder to make has no name");
  if (!name_.has_filename()) name_ = name_.parent_path();  // "model/"
  std::error_code error;
  within_ = fs::exists(name_, error);
  if (within_ && !fs::is_directory(name_, error)) RefuseTaken(name_);
  const fs::path parent = within_ ? name_ : fs::absolute(name_).parent_path();
  // ".": of a folder that is there the name says nothing.
  const std::string of = within_ ? "model" : name_.filename().string();
  RemoveAbandoned(parent, of);
  if (within_ && !fs::is_empty(name_, error)) RefuseTaken(name_);
  for (fs::path above = parent; !above.empty() && !fs::exists(above, error);) {
    first_made_ = above;
    above = above.parent_path();
  }
  path_ = parent / UnfinishedName::Make(of);
  FileSystem::Real().CreateFolders(path_);
}

FolderInMaking::~FolderInMaking() {
  if (path_.empty()) return;
  std::error_code error;
  fs::remove_all(path_, error);
  if (first_made_.empty()) return;
  // From below, as far as nobody has put anything into them.
  for (fs::path above = path_.parent_path(); fs::remove(above, error) && above != first_made_;) {
    above = above.parent_path();
  }
}

void FolderInMaking::Commit() {
  FileSystem& files = FileSystem::Real();
  if (within_) {
    // config.json last: a folder without it is not taken for a model.
    std::vector<std::string> names = files.List(path_);
    std::stable_partition(names.begin(), names.end(),
                          [](const std::string& name) { return name != "config.json"; });
    for (const std::string& name : names) files.Rename(path_ / name, name_ / name);
    std::error_code ignored;
    fs::remove(path_, ignored);
  } else {
    files.Rename(path_, name_);
  }
  path_.clear();
}

}  // namespace culet
