#include "hub/cache.h"

#include "base/error.h"
#include "hub/listing.h"

namespace culet::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxReferenceBytes = 4096;
constexpr std::uint64_t kMaxIndexBytes = 64 << 20;
constexpr const char* kTagText =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache of models that can be downloaded again; backups may skip it.\n"
    "# See https://bford.info/cachedir/\n";

std::string FolderName(const std::string& repository) {
  std::string name = "models--" + repository;
  return name.replace(name.find('/'), 1, "--");
}

}  // namespace

std::optional<std::string> RepositoryOf(const std::string& folder_name) {
  constexpr std::string_view kPrefix = "models--";
  if (!folder_name.starts_with(kPrefix)) return std::nullopt;
  const std::string rest = folder_name.substr(kPrefix.size());
  const std::size_t separator = rest.find("--");
  if (separator == std::string::npos) return std::nullopt;
  const std::string repository = rest.substr(0, separator) + "/" + rest.substr(separator + 2);
  if (!ProblemOfRepository(repository).empty()) return std::nullopt;
  return repository;
}

std::optional<ModelReference> SnapshotReference(const fs::path& cache, const fs::path& folder) {
  const fs::path snapshots = folder.parent_path();
  const fs::path model = snapshots.parent_path();
  if (snapshots.filename() != "snapshots" || model.parent_path() != cache) return std::nullopt;
  const std::string commit = folder.filename().string();
  const std::optional<std::string> repository = RepositoryOf(model.filename().string());
  if (!repository || !IsCommit(commit)) return std::nullopt;
  return ModelReference{*repository, commit};
}

CacheFolder::CacheFolder(FileSystem& files, const fs::path& cache, const std::string& repository)
    : files_(files), cache_(cache), path_(cache / FolderName(repository)) {
  CULET_DCHECK(ProblemOfRepository(repository).empty());
}

fs::path CacheFolder::locks() const { return cache_ / ".locks" / path_.filename(); }
fs::path CacheFolder::Blob(const std::string& hash) const { return path_ / "blobs" / hash; }
fs::path CacheFolder::Snapshot(const std::string& commit) const {
  return path_ / "snapshots" / commit;
}
fs::path CacheFolder::Reference(const std::string& revision) const {
  return path_ / "refs" / revision;
}

std::optional<std::string> CacheFolder::Commit(const std::string& revision) const {
  if (IsCommit(revision)) return revision;
  const fs::path path = Reference(revision);
  const FileStatus status = files_.Status(path, true);
  if (status.kind != FileStatus::Kind::kFile || status.bytes > kMaxReferenceBytes) {
    return std::nullopt;
  }
  std::string commit = files_.ReadFile(path, kMaxReferenceBytes);
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
  if (!IsCommit(commit)) return std::nullopt;
  return commit;
}

void CacheFolder::WriteReference(const std::string& revision, const std::string& commit) const {
  if (revision == commit || Commit(revision) == commit) return;
  const fs::path path = Reference(revision);
  files_.CreateFolders(path.parent_path());
  files_.WriteFileAtomically(path, commit);
}

bool CacheFolder::IsInSnapshot(const std::string& commit, const std::string& name,
                               const std::string& hash) const {
  const fs::path place = Snapshot(commit) / name;
  const FileStatus now = files_.Status(place, false);
  if (now.kind != FileStatus::Kind::kLink) return now.kind == FileStatus::Kind::kFile;
  const fs::path target = (place.parent_path() / files_.ReadLink(place)).lexically_normal();
  return target == Blob(hash).lexically_normal() && files_.Exists(place);
}

void CacheFolder::AddToSnapshot(const std::string& commit, const std::string& name,
                                const std::string& hash, bool no_links) const {
  const fs::path place = Snapshot(commit) / name;
  const fs::path blob = Blob(hash);
  const fs::path target = fs::path("../../blobs") / hash;
  const FileStatus now = files_.Status(place, false);
  if (now.kind == FileStatus::Kind::kLink && files_.ReadLink(place) == target) return;
  if (files_.Status(blob, true).kind == FileStatus::Kind::kMissing) return;  // moved before
  files_.Remove(place);
  if (!no_links && files_.CreateLink(target, place)) return;
  files_.Rename(blob, place);
}

void CacheFolder::NoteAbsent(const std::string& commit, const std::string& name) const {
  try {
    const fs::path folder = path_ / ".no_exist" / commit;
    if (files_.Exists(folder / name)) return;
    files_.CreateFolders(folder);
    files_.Open(folder / name, OpenMode::kReadWrite);
  } catch (const Error&) {
    // It only saves other tools a question.
  }
}

bool CacheFolder::IsNotedAbsent(const std::string& commit, const std::string& name) const {
  return files_.Exists(path_ / ".no_exist" / commit / name);
}

void CacheFolder::Prepare(const std::string& commit) const {
  files_.CreateFolders(path_ / "blobs");
  files_.CreateFolders(Snapshot(commit));
  files_.CreateFolders(locks());
  const fs::path tag = cache_ / "CACHEDIR.TAG";
  if (!files_.Exists(tag)) files_.WriteFileAtomically(tag, kTagText);
}

std::vector<std::string> MissingFiles(FileSystem& files, const CacheFolder& folder,
                                      const std::string& commit) {
  const fs::path snapshot = folder.Snapshot(commit);
  std::vector<std::string> missing;
  const auto need = [&](const std::string& name) {
    if (!files.Exists(snapshot / name)) missing.push_back(name);
  };
  need("config.json");
  if (!folder.IsNotedAbsent(commit, "tokenizer.json")) need("tokenizer.json");
  if (files.Exists(snapshot / kWeightsName)) return missing;
  if (!files.Exists(snapshot / kIndexName)) {
    missing.push_back(kWeightsName);
    return missing;
  }
  const std::string text = files.ReadFile(snapshot / kIndexName, kMaxIndexBytes);
  for (const std::string& shard : ShardsOfIndex(text, (snapshot / kIndexName).string())) {
    need(shard);
  }
  return missing;
}

std::optional<CachedSnapshot> FindSnapshot(FileSystem& files, const fs::path& cache,
                                           const ModelReference& reference) {
  const CacheFolder folder(files, cache, reference.repository);
  const std::optional<std::string> commit = folder.Commit(reference.revision);
  if (!commit) return std::nullopt;
  CachedSnapshot found;
  found.commit = *commit;
  found.folder = folder.Snapshot(*commit);
  if (files.Status(found.folder, true).kind != FileStatus::Kind::kFolder) return std::nullopt;
  found.missing = MissingFiles(files, folder, *commit);
  return found;
}

}  // namespace culet::hub
