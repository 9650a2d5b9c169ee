// A folder that appears whole or not at all, and what is left of one whose process was killed.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace culet {

// What a folder is called until it is made: ".OUT.unfinished.PROCESS.NUMBER".
struct UnfinishedName {
  std::string of;  // OUT
  int process = 0;

  // A new one of this process.
  static std::string Make(const std::string& of);
  // Nothing where `name` reads otherwise.
  static std::optional<UnfinishedName> Parse(std::string_view name);
  // Its process is no more. Also false where this user may not ask.
  bool IsAbandoned() const;
};

// A folder that is made under a hidden name beside its own, or within it where it is there and
// empty, and gets its name, or its files, at the end. Throws Error, kInvalidArgument where there is
// something already that is no empty folder. Threads: several may make one folder; the last wins.
class FolderInMaking {
 public:
  // Also removes what processes that are no more have left of this name.
  explicit FolderInMaking(std::filesystem::path name);
  // Removes what was made, folders above it included, unless it was committed.
  ~FolderInMaking();
  FolderInMaking(const FolderInMaking&) = delete;
  FolderInMaking& operator=(const FolderInMaking&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void Commit();

 private:
  std::filesystem::path name_, path_;
  bool within_ = false;               // path_ is in name_
  std::filesystem::path first_made_;  // of the folders above, the highest that was not there
};

}  // namespace culet
