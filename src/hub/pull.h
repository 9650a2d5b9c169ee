// A whole model from the hub into the cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "hub/cache.h"
#include "hub/client.h"
#include "hub/fetch.h"
#include "hub/listing.h"

namespace culet::hub {

// What the hub room needs of the world.
struct World {
  const Settings& settings;
  FileSystem& files;
  Transport& transport;
  Clock& clock;
};

struct PlannedFile {
  RemoteFile file;
  bool there = false;       // whole, in the cache
  std::uint64_t begun = 0;  // bytes of it that are there where it is not whole
};

// What a pull will do.
struct PullPlan {
  ModelReference reference;
  std::string commit;
  std::filesystem::path folder;  // of the snapshot
  std::vector<PlannedFile> files;
  std::uint64_t bytes = 0;          // of all files
  std::uint64_t missing_bytes = 0;  // to fetch
  std::size_t missing_files = 0;
};

struct PullProgress {
  enum class Phase { kFetching, kChecking, kFileDone };
  Phase phase = Phase::kFetching;
  std::string file;
  std::uint64_t file_done = 0, file_bytes = 0;
  std::uint64_t done = 0, bytes = 0;  // of all; what was there before counts as done
};

struct PullOptions {
  // Asked once where something is to be fetched; false ends the pull, which throws Cancelled.
  std::function<bool(const PullPlan&)> confirm;
  std::function<void(const PullProgress&)> on_progress;  // on the calling thread
  Notice notice;                                         // on the calling thread
  CancelCheck cancelled;                                 // from any thread
  FetchOptions fetch;
};

struct PullResult {
  ModelReference reference;
  std::string commit;
  std::filesystem::path folder;
  std::size_t files = 0;
  std::uint64_t bytes = 0;          // of all files
  std::uint64_t fetched_bytes = 0;  // by this call
};

// Makes the cache hold the model as the hub has it now. Two at once take turns: the second waits
// and finds what the first fetched.
// Throws Error (each with what to do): kNotFound, kIo, kCorrupt, kResource (disk); Cancelled.
PullResult Pull(const World& world, const ModelReference& reference, const PullOptions& options);

}  // namespace culet::hub
