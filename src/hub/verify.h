// Every byte of a model against its hash.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "hub/clock.h"

namespace culet::hub {

struct VerifiedFile {
  std::string name;
  std::filesystem::path path;  // of the bytes: the blob
  std::uint64_t bytes = 0;
  std::string expected;  // empty: nobody knows its hash (it is no link into a cache)
  std::string found;
  bool right() const { return expected == found; }
};

// Hashes every file of a snapshot's folder. The hash that a file must have is the name of the blob
// that it links to. `on_progress(file, done, bytes)` with bytes of all files.
// Throws Error(kIo, kNotFound), Cancelled.
std::vector<VerifiedFile> VerifyFolder(
    FileSystem& files, const std::filesystem::path& folder, const CancelCheck& cancelled,
    const std::function<void(const std::string&, std::uint64_t, std::uint64_t)>& on_progress);

}  // namespace culet::hub
