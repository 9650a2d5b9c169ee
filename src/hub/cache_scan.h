// What the cache holds, and how to take something out of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "hub/cache.h"

namespace culet::hub {

struct ScannedRevision {
  std::string commit;
  std::filesystem::path folder;
  std::vector<std::string> revisions;  // branches and tags that stand for it
  std::vector<std::string> missing;    // files that a model needs; empty: complete
  std::uint64_t bytes = 0;             // of its files, each blob once
  std::int64_t last_used_s = 0;        // seconds since 1970, as far as the disk tells
};

struct ScannedModel {
  std::string repository;
  std::filesystem::path folder;
  std::vector<ScannedRevision> revisions;
  std::uint64_t bytes = 0;          // on disk, each blob once
  std::uint64_t partial_bytes = 0;  // of files that are not whole
  std::int64_t last_used_s = 0;
};

// Every repository of the cache that holds a model: one with a config.json, or one that was begun.
// Throws Error where the cache cannot be read; what is odd in it is left out.
std::vector<ScannedModel> ScanCache(FileSystem& files, const std::filesystem::path& cache);

// What a removal takes away.
struct Removal {
  ModelReference reference;
  std::filesystem::path folder;                // of the repository
  bool whole = false;                          // the repository with all there is of it
  std::vector<std::filesystem::path> paths;    // else: links, blobs, references, in this order
  std::vector<std::filesystem::path> folders;  // else: of the snapshot, deepest first
  std::size_t revisions = 0;
  std::uint64_t bytes = 0;  // that become free
};

// `reference.revision` counts only where `one_revision`: then a snapshot goes with the references
// to it, and of its blobs those that no other snapshot links to. Throws Error(kNotFound).
Removal PlanRemoval(FileSystem& files, const std::filesystem::path& cache,
                    const ModelReference& reference, bool one_revision);
// The caller holds the repository's lock. A cut in the middle leaves nothing that looks whole.
void Remove(FileSystem& files, const Removal& removal);

}  // namespace culet::hub
