#include "hub/cache_scan.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "hub/listing.h"

namespace culet::hub {
namespace {

namespace fs = std::filesystem;
using Kind = FileStatus::Kind;

constexpr int kMaxDepth = 32;

// Every file and link below a folder, links not followed; deepest first where `on_folder` is asked.
void Walk(FileSystem& files, const fs::path& folder, int depth,
          const std::function<void(const fs::path&, const FileStatus&)>& on_file,
          const std::function<void(const fs::path&)>& on_folder) {
  if (depth > kMaxDepth) return;
  for (const std::string& name : files.List(folder)) {
    const fs::path path = folder / name;
    const FileStatus status = files.Status(path, false);
    if (status.kind == Kind::kFolder) {
      Walk(files, path, depth + 1, on_file, on_folder);
    } else if (status.kind != Kind::kMissing) {
      on_file(path, status);
    }
  }
  if (on_folder) on_folder(folder);
}

// What a file of a snapshot is held by: the blob that it links to, or itself.
fs::path HolderOf(FileSystem& files, const fs::path& path, const FileStatus& status) {
  if (status.kind != Kind::kLink) return path;
  return (path.parent_path() / files.ReadLink(path)).lexically_normal();
}

// Commit → names below refs/.
std::map<std::string, std::vector<std::string>> References(FileSystem& files,
                                                           const CacheFolder& folder) {
  std::map<std::string, std::vector<std::string>> references;
  const fs::path root = folder.path() / "refs";
  Walk(
      files, root, 0,
      [&](const fs::path& path, const FileStatus&) {
        const std::string name = path.lexically_relative(root).generic_string();
        if (!ProblemOfRevision(name).empty()) return;
        if (const auto commit = folder.Commit(name)) references[*commit].push_back(name);
      },
      nullptr);
  return references;
}

// Blobs by path with their sizes, of one snapshot.
std::map<fs::path, FileStatus> Holders(FileSystem& files, const fs::path& snapshot) {
  std::map<fs::path, FileStatus> holders;
  Walk(
      files, snapshot, 0,
      [&](const fs::path& path, const FileStatus& status) {
        const FileStatus held = files.Status(path, true);
        if (held.kind == Kind::kFile) holders[HolderOf(files, path, status)] = held;
      },
      nullptr);
  return holders;
}

std::vector<std::string> Snapshots(FileSystem& files, const CacheFolder& folder) {
  std::vector<std::string> commits = files.List(folder.path() / "snapshots");
  std::erase_if(commits, [](const std::string& name) { return !IsCommit(name); });
  return commits;
}

std::vector<std::string> MissingQuietly(FileSystem& files, const CacheFolder& folder,
                                        const std::string& commit) {
  try {
    return MissingFiles(files, folder, commit);
  } catch (const Error&) {
    return {kIndexName};  // it is there and cannot be read
  }
}

ScannedModel ScanModel(FileSystem& files, const CacheFolder& folder,
                       const std::string& repository) {
  ScannedModel model;
  model.repository = repository;
  model.folder = folder.path();
  const auto references = References(files, folder);
  std::map<fs::path, FileStatus> all;
  for (const std::string& commit : Snapshots(files, folder)) {
    ScannedRevision revision;
    revision.commit = commit;
    revision.folder = folder.Snapshot(commit);
    if (const auto found = references.find(commit); found != references.end()) {
      revision.revisions = found->second;
    }
    revision.missing = MissingQuietly(files, folder, commit);
    for (const auto& [path, status] : Holders(files, revision.folder)) {
      revision.bytes += status.bytes;
      revision.last_used_s = std::max({revision.last_used_s, status.accessed_s, status.modified_s});
      all[path] = status;
    }
    model.last_used_s = std::max(model.last_used_s, revision.last_used_s);
    model.revisions.push_back(std::move(revision));
  }
  for (const auto& [path, status] : all) model.bytes += status.bytes;
  for (const std::string& name : files.List(folder.path() / "blobs")) {
    if (!name.ends_with(".incomplete")) continue;
    const FileStatus status = files.Status(folder.path() / "blobs" / name, false);
    model.partial_bytes += std::min(status.bytes, status.disk_bytes);
    model.last_used_s = std::max(model.last_used_s, status.modified_s);
  }
  return model;
}

bool HoldsModel(FileSystem& files, const ScannedModel& model) {
  if (model.partial_bytes > 0) return true;
  return std::any_of(model.revisions.begin(), model.revisions.end(),
                     [&](const ScannedRevision& revision) {
                       return files.Exists(revision.folder / "config.json");
                     });
}

}  // namespace

std::vector<ScannedModel> ScanCache(FileSystem& files, const fs::path& cache) {
  std::vector<ScannedModel> models;
  for (const std::string& name : files.List(cache)) {
    const auto repository = RepositoryOf(name);
    if (!repository) continue;
    ScannedModel model = ScanModel(files, CacheFolder(files, cache, *repository), *repository);
    if (HoldsModel(files, model)) models.push_back(std::move(model));
  }
  return models;
}

Removal PlanRemoval(FileSystem& files, const fs::path& cache, const ModelReference& reference,
                    bool one_revision) {
  const CacheFolder folder(files, cache, reference.repository);
  Removal removal;
  removal.reference = reference;
  removal.folder = folder.path();
  const std::vector<std::string> commits = Snapshots(files, folder);
  if (files.Status(folder.path(), true).kind != Kind::kFolder) {
    throw Error(ErrorKind::kNotFound, reference.repository + ": is not in the cache, " +
                                          cache.string() + ". `culet list` shows what is");
  }
  const std::string commit = folder.Commit(reference.revision).value_or("");
  const bool known = std::find(commits.begin(), commits.end(), commit) != commits.end();
  if (one_revision && !known) {
    throw Error(ErrorKind::kNotFound,
                reference.Text() + ": the cache (" + folder.path().string() +
                    ") has no such revision of it. `culet list` shows which it has");
  }
  if (!one_revision || commits.size() == 1) {
    removal.whole = true;
    removal.revisions = commits.size();
    Walk(
        files, folder.path(), 0,
        [&](const fs::path&, const FileStatus& status) {
          if (status.kind == Kind::kFile)
            removal.bytes += std::min(status.bytes, status.disk_bytes);
        },
        nullptr);
    return removal;
  }
  removal.revisions = 1;
  std::set<fs::path> used;  // by other snapshots
  for (const std::string& other : commits) {
    if (other == commit) continue;
    for (const auto& [path, status] : Holders(files, folder.Snapshot(other))) used.insert(path);
  }
  // References first, then links, then blobs: whatever a cut leaves is not taken for whole.
  const auto references = References(files, folder);
  if (const auto found = references.find(commit); found != references.end()) {
    for (const std::string& name : found->second) removal.paths.push_back(folder.Reference(name));
  }
  Walk(
      files, folder.Snapshot(commit), 0,
      [&](const fs::path& path, const FileStatus&) { removal.paths.push_back(path); },
      [&](const fs::path& path) { removal.folders.push_back(path); });
  for (const auto& [path, status] : Holders(files, folder.Snapshot(commit))) {
    if (used.count(path) != 0) continue;
    removal.bytes += status.bytes;
    // Never a file outside of the repository's folder, wherever a link may lead.
    if (path.parent_path() == folder.path() / "blobs") removal.paths.push_back(path);
  }
  return removal;
}

void Remove(FileSystem& files, const Removal& removal) {
  if (!removal.whole) {
    for (const fs::path& path : removal.paths) files.Remove(path);
    for (const fs::path& path : removal.folders) files.Remove(path);
    return;
  }
  // What makes a model look whole goes first.
  for (const fs::path& folder :
       {removal.folder / "refs", removal.folder / "snapshots", removal.folder}) {
    if (files.Status(folder, false).kind != Kind::kFolder) continue;
    Walk(
        files, folder, 0, [&](const fs::path& path, const FileStatus&) { files.Remove(path); },
        [&](const fs::path& path) { files.Remove(path); });
  }
}

}  // namespace culet::hub
