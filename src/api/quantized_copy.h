// Copies in integer weights that the cache holds: what lies there under which name.
//
//   NAME-HASH-int8/                            a copy; made-of.json in it says of which files
//   NAME-HASH-int8.lock                        held by who makes or removes it
//   NAME-HASH-int8.new/                        whole, and about to take the copy's place
//   .NAME-HASH-int8.new.unfinished.PROCESS.0/  being made by that process (FolderInMaking)
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace culet {

inline constexpr const char* kCopyKeyFile = "made-of.json";
inline constexpr std::uint64_t kMaxCopyKeyBytes = 16 << 20;

// The folder of all copies, there or not; nothing where no variable names one.
std::optional<std::filesystem::path> FindCopiesFolder();

// A copy: where it lies, and what it must say of itself to be good.
struct Copy {
  std::filesystem::path folder;
  std::string key;
};
// Of the model that `path` is. Weights are not read. Throws Error as FindModelFiles.
Copy CopyOf(const std::filesystem::path& path, const std::string& to);
bool IsGood(const Copy& copy);

// Of the copy of that folder. Its file may be deleted by who holds it.
std::filesystem::path CopyLockPath(const std::filesystem::path& copy);

// Both give the bytes that become free, and leave what cannot be removed.
// What making `copy` has left; the caller holds its lock.
std::uint64_t RemoveUnfinished(const std::filesystem::path& copy);
// What processes that are no more have left in `copies` of others than the copy named `but`, as far
// as nobody holds their locks.
std::uint64_t RemoveLeftovers(const std::filesystem::path& copies, const std::string& but);

}  // namespace culet
