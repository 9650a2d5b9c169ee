// One file from the hub into a blob of the cache: by several ranges at once, gone on from after a
// cut, checked by its hash before it gets its name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/file.h"
#include "hub/client.h"
#include "hub/listing.h"

namespace culet::hub {

struct FetchOptions {
  int connections = 4;
  // Of one request; smaller, down to 1 MiB, where a file would not give each connection one.
  std::uint64_t piece_bytes = 32 << 20;
};

struct FetchProgress {
  enum class Phase { kFetching, kChecking };
  Phase phase = Phase::kFetching;
  std::uint64_t done = 0;  // bytes there, or checked
};

// Fetches `file` from `url` to the blob's name. The caller holds the blob's lock. `on_progress` is
// called on the calling thread, about ten times a second. A hash that does not fit makes it fetch
// once more from nothing.
// Throws Error: kIo (network, status), kCorrupt (a second wrong hash), kResource (disk full),
// kNotFound; Cancelled. In every case what came and is not known to be wrong is kept.
void FetchFile(const Client& client, FileSystem& files, const RemoteFile& file,
               const std::string& repository, const std::string& url,
               const std::filesystem::path& blob, const FetchOptions& options,
               const std::function<void(const FetchProgress&)>& on_progress);

}  // namespace culet::hub
