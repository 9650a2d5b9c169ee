// The Hugging Face cache, as huggingface_hub lays it out, so that every tool finds what another one
// fetched:
//
//   models--OWNER--NAME/blobs/HASH                    what files hold, named by its hash
//   models--OWNER--NAME/refs/REVISION                 the commit that a branch or tag stood for
//   models--OWNER--NAME/snapshots/COMMIT/FILE         a link to ../../blobs/HASH
//   models--OWNER--NAME/.no_exist/COMMIT/FILE         empty: the repository has no such file
//   .locks/models--OWNER--NAME/                       lock files
//
// A blob gets its name only when its hash was checked, a link is made only to such a blob, and a
// reference is written only when the snapshot is whole. Where the file system has no links, a
// snapshot holds the files themselves.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "hub/reference.h"

namespace culet::hub {

// The folder of one repository in the cache. Throws Error with the path.
class CacheFolder {
 public:
  // `repository` must have passed ProblemOfRepository.
  CacheFolder(FileSystem& files, const std::filesystem::path& cache, const std::string& repository);

  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& cache() const { return cache_; }
  std::filesystem::path locks() const;
  std::filesystem::path Blob(const std::string& hash) const;
  std::filesystem::path Snapshot(const std::string& commit) const;
  std::filesystem::path Reference(const std::string& revision) const;

  // The commit that a revision stood for when it was last fetched; a commit is itself. Nothing
  // where the cache does not know it, or holds what is no commit.
  std::optional<std::string> Commit(const std::string& revision) const;
  // Remembers it; nothing is written where it says so already or the revision is the commit.
  void WriteReference(const std::string& revision, const std::string& commit) const;

  // Whether snapshots/COMMIT/NAME is a link to that blob, or a file of its own.
  bool IsInSnapshot(const std::string& commit, const std::string& name,
                    const std::string& hash) const;
  // Makes snapshots/COMMIT/NAME stand for the blob. `no_links`: the blob itself is moved there.
  void AddToSnapshot(const std::string& commit, const std::string& name, const std::string& hash,
                     bool no_links) const;
  // Remembers that the repository has no such file at that commit; failing to is no harm.
  void NoteAbsent(const std::string& commit, const std::string& name) const;
  bool IsNotedAbsent(const std::string& commit, const std::string& name) const;

  // Makes the folders, and the mark by which backups know a cache.
  void Prepare(const std::string& commit) const;

 private:
  FileSystem& files_;
  std::filesystem::path cache_;
  std::filesystem::path path_;
};

// "models--google--gemma" → "google/gemma"; nothing for what is no folder of a model.
std::optional<std::string> RepositoryOf(const std::string& folder_name);
// The model that `folder` is a snapshot of, with its commit as the revision; nothing where it is no
// snapshot of `cache`. Looks at names alone.
std::optional<ModelReference> SnapshotReference(const std::filesystem::path& cache,
                                                const std::filesystem::path& folder);

// A snapshot as it lies in the cache.
struct CachedSnapshot {
  std::string commit;
  std::filesystem::path folder;
  std::vector<std::string> missing;  // names of files that a model needs; empty: it is complete
};

// What is there of a model; nothing where the cache has never heard of it or its revision.
std::optional<CachedSnapshot> FindSnapshot(FileSystem& files, const std::filesystem::path& cache,
                                           const ModelReference& reference);
// What a model needs and the snapshot's folder lacks: config.json, tokenizer.json where the
// repository has one, model.safetensors or every shard of the index.
std::vector<std::string> MissingFiles(FileSystem& files, const CacheFolder& folder,
                                      const std::string& commit);

}  // namespace culet::hub
