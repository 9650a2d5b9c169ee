// What the cache holds of copies in integer weights, and how to take something out of it.
#include <algorithm>
#include <memory>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "api/boundary.h"
#include "api/quantized_copy.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/folder_in_making.h"
#include "culet/quantize.h"
#include "hub/cache.h"
#include "hub/reference.h"
#include "hub/settings.h"

namespace culet {
namespace {

namespace fs = std::filesystem;
using State = CachedCopy::State;
using Kind = FileStatus::Kind;

constexpr std::string_view kNew = ".new";
constexpr std::size_t kHashDigits = 16;

// NAME-HASH-int8 as {NAME, int8}.
std::optional<std::pair<std::string, std::string>> ParseCopyName(std::string_view name) {
  const std::size_t format = name.rfind('-');
  if (format == std::string_view::npos || format < kHashDigits + 1) return std::nullopt;
  const std::string_view to = name.substr(format + 1);
  const std::size_t hash = format - kHashDigits;
  if ((to != "int8" && to != "int4") || name[hash - 1] != '-' ||
      !hub::IsHex(name.substr(hash, kHashDigits), kHashDigits)) {
    return std::nullopt;
  }
  return std::pair(std::string(name.substr(0, hash - 1)), std::string(to));
}

// A folder of the cache.
struct Entry {
  std::string copy;          // the name of the copy that it is or was to be; empty: of none
  bool is_leftover = false;  // of a process that is no more
};

// Nothing for what is no copy, or is being made.
std::optional<Entry> EntryOf(FileSystem& files, const fs::path& copies, const std::string& name) {
  if (files.Status(copies / name, false).kind != Kind::kFolder) return std::nullopt;
  if (ParseCopyName(name)) return Entry{name, !files.Exists(copies / name / kCopyKeyFile)};
  const std::optional<UnfinishedName> unfinished = UnfinishedName::Parse(name);
  if (unfinished && !unfinished->IsAbandoned()) return std::nullopt;
  const std::string base = unfinished ? unfinished->of : name;
  if (base.ends_with(kNew) && ParseCopyName(base.substr(0, base.size() - kNew.size()))) {
    return Entry{base.substr(0, base.size() - kNew.size()), true};
  }
  // Whoever is no more may have been making any other folder here.
  if (unfinished) return Entry{"", true};
  return std::nullopt;
}

std::unique_ptr<RandomFile> TryLock(FileSystem& files, const fs::path& copy) {
  std::unique_ptr<RandomFile> lock = files.Open(CopyLockPath(copy), OpenMode::kReadWrite);
  if (!lock->TryLock()) return nullptr;
  return lock;
}

std::uint64_t FolderBytes(FileSystem& files, const fs::path& folder) {
  std::uint64_t bytes = 0;
  for (const std::string& name : files.List(folder)) {
    const FileStatus status = files.Status(folder / name, false);
    bytes += status.kind == Kind::kFolder ? FolderBytes(files, folder / name)
                                          : std::min(status.bytes, status.disk_bytes);
  }
  return bytes;
}

// Throws Error. What makes the folder a copy goes first.
std::uint64_t RemoveFolder(FileSystem& files, const fs::path& folder) {
  const std::uint64_t bytes = FolderBytes(files, folder);
  files.Remove(folder / kCopyKeyFile);
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) ThrowFileError("remove", folder, error.value());
  return bytes;
}

// A model in the cache of the hub by its name there.
std::string NameOf(FileSystem& files, const fs::path& cache, const fs::path& source) {
  const auto snapshot = hub::SnapshotReference(cache, source);
  if (!snapshot) return source.string();
  const hub::CacheFolder folder(files, cache, snapshot->repository);
  const bool is_main = folder.Commit("main") == snapshot->revision;
  return is_main ? snapshot->repository : snapshot->Text();
}

// Whether the next use of the model takes the copy `name` that was made of `source`. It may have
// been made of the folder, or of a file in it that was named.
State StateOf(const std::string& name, const OrderedJson& key, const fs::path& source) {
  std::vector<fs::path> paths = {source};
  for (const auto& file : key.at("files").items()) {
    if (file.key().ends_with(".safetensors")) paths.push_back(source / file.key());
  }
  for (const fs::path& path : paths) {
    try {
      const Copy copy = CopyOf(path, key.at("to").get<std::string>());
      if (copy.folder.filename() == name) return IsGood(copy) ? State::kCurrent : State::kChanged;
    } catch (const Error&) {
      continue;  // the model is not there, or not whole
    }
  }
  return State::kGone;
}

CachedCopy DescribeEntry(FileSystem& files, const fs::path& cache, const fs::path& folder,
                         const Entry& entry) {
  CachedCopy copy;
  copy.state = State::kUnfinished;
  copy.folder = folder;
  copy.bytes = FolderBytes(files, folder);
  if (const auto parts = ParseCopyName(entry.copy)) std::tie(copy.model, copy.to) = *parts;
  if (entry.is_leftover) return copy;
  const fs::path file = folder / kCopyKeyFile;
  try {
    const OrderedJson key = ParseOrderedJson(files.ReadFile(file, kMaxCopyKeyBytes), file.string());
    const fs::path source = key.at("model").get<std::string>();
    copy.state = StateOf(folder.filename().string(), key, source);
    copy.source = source;
    copy.model = NameOf(files, cache, source);
  } catch (const Error&) {            // made-of.json is damaged: no use takes the copy
  } catch (const Json::exception&) {  // the same
  }
  return copy;
}

fs::path Canonical(const fs::path& path) {
  std::error_code error;
  fs::path canonical = fs::weakly_canonical(path, error);
  return error ? path : canonical;
}

fs::path HubCache(FileSystem& files) {
  return Canonical(hub::ReadSettings(hub::ProcessEnvironment, files).cache);
}

// "NAME-HASH-": what the names of a model's copies begin with.
std::string StemOf(const fs::path& path) {
  std::string name = CopyOf(path, "int8").folder.filename().string();
  name.resize(name.rfind('-') + 1);
  return name;
}

// Whether `reference`, a model of the hub and maybe one revision of it, is what `source` is.
bool IsSnapshotOf(FileSystem& files, const fs::path& cache, const fs::path& source,
                  const hub::ModelReference& reference, bool one_revision) {
  const auto snapshot = hub::SnapshotReference(cache, source);
  if (!snapshot || snapshot->repository != reference.repository) return false;
  const hub::CacheFolder folder(files, cache, reference.repository);
  return !one_revision || folder.Commit(reference.revision) == snapshot->revision;
}

}  // namespace

fs::path CopyLockPath(const fs::path& copy) {
  fs::path path = copy;
  path += ".lock";
  return path;
}

std::uint64_t RemoveUnfinished(const fs::path& copy) {
  FileSystem& files = FileSystem::Real();
  const std::string made = copy.filename().string() + std::string(kNew);
  std::uint64_t bytes = 0;
  for (const std::string& name : files.List(copy.parent_path())) {
    const std::optional<UnfinishedName> unfinished = UnfinishedName::Parse(name);
    if (name != made && !(unfinished && unfinished->of == made)) continue;
    try {
      bytes += RemoveFolder(files, copy.parent_path() / name);
    } catch (const Error&) {
      continue;
    }
  }
  return bytes;
}

std::uint64_t RemoveLeftovers(const fs::path& copies, const std::string& but) {
  FileSystem& files = FileSystem::Real();
  std::uint64_t bytes = 0;
  for (const std::string& name : files.List(copies)) {
    try {
      const std::optional<Entry> entry = EntryOf(files, copies, name);
      if (!entry || !entry->is_leftover || entry->copy == but) continue;
      std::unique_ptr<RandomFile> lock;
      if (!entry->copy.empty()) {
        lock = TryLock(files, copies / entry->copy);
        if (lock == nullptr) continue;
      }
      bytes += RemoveFolder(files, copies / name);
      if (lock != nullptr && !files.Exists(copies / entry->copy)) {
        files.Remove(CopyLockPath(copies / entry->copy));
      }
    } catch (const Error&) {
      continue;
    }
  }
  return bytes;
}

std::string_view CachedCopyStateName(State state) {
  switch (state) {
    case State::kCurrent: return "current";
    case State::kChanged: return "changed";
    case State::kGone: return "gone";
    case State::kUnfinished: return "unfinished";
  }
  return "";
}

std::vector<CachedCopy> QuantizedCopies() try {
  FileSystem& files = FileSystem::Real();
  std::vector<CachedCopy> found;
  const std::optional<fs::path> copies = FindCopiesFolder();
  if (!copies) return found;
  const fs::path cache = HubCache(files);
  for (const std::string& name : files.List(*copies)) {
    const std::optional<Entry> entry = EntryOf(files, *copies, name);
    if (entry) found.push_back(DescribeEntry(files, cache, *copies / name, *entry));
  }
  std::sort(found.begin(), found.end(), [](const CachedCopy& a, const CachedCopy& b) {
    return std::tie(a.model, a.to, a.folder) < std::tie(b.model, b.to, b.folder);
  });
  return found;
} catch (...) {
  RethrowAsError();
}

std::vector<CachedCopy> QuantizedCopiesOf(const std::string& name, const FindOptions& options) try {
  FileSystem& files = FileSystem::Real();
  std::vector<CachedCopy> found = QuantizedCopies();
  FindOptions only_look = options;
  only_look.fetch = nullptr;
  std::string stem;
  fs::path there;
  std::optional<Error> not_there;
  try {
    there = Canonical(FindModel(name, only_look));
    stem = StemOf(there);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInvalidArgument) throw;
    not_there = error;
  }
  const fs::path cache = HubCache(files);
  std::string ignored;
  // A folder of that name counts before the hub, here as everywhere.
  const bool is_local = !there.empty() && !hub::SnapshotReference(cache, there);
  const std::optional<hub::ModelReference> reference =
      is_local ? std::nullopt : hub::ParseReference(name, &ignored);
  const bool one_revision = name.find('@') != std::string::npos;
  std::erase_if(found, [&](const CachedCopy& copy) {
    if (copy.folder.filename() == name || (!is_local && copy.model == name)) return false;
    if (Canonical(copy.folder) == there) return false;
    if (!stem.empty() && copy.folder.filename().string().find(stem) <= 1) return false;
    return !reference || !IsSnapshotOf(files, cache, copy.source, *reference, one_revision);
  });
  if (found.empty() && not_there) throw Error(*not_there);
  return found;
} catch (...) {
  RethrowAsError();
}

std::uint64_t RemoveQuantizedCopy(const fs::path& folder) try {
  FileSystem& files = FileSystem::Real();
  const fs::path named = folder.has_filename() ? folder : folder.parent_path();
  const std::optional<fs::path> copies = FindCopiesFolder();
  if (!copies || Canonical(named.parent_path()) != Canonical(*copies)) {
    throw Error(ErrorKind::kInvalidArgument,
                folder.string() + ": is no folder of the cache of quantised copies" +
                    (copies ? ", " + copies->string() : "") + "; nothing else is removed");
  }
  const std::string name = named.filename().string();
  const std::optional<Entry> entry = EntryOf(files, *copies, name);
  if (!entry) {
    throw Error(ErrorKind::kNotFound,
                folder.string() + ": is no quantised copy, or one that is being made just now");
  }
  std::uint64_t bytes = 0;
  if (entry->copy.empty()) {
    bytes = RemoveFolder(files, *copies / name);
  } else {
    const fs::path copy = *copies / entry->copy;
    const std::unique_ptr<RandomFile> lock = TryLock(files, copy);
    if (lock == nullptr) {
      throw Error(ErrorKind::kResource,
                  folder.string() +
                      ": another process is making it just now; stop that or try "
                      "again when it is done");
    }
    if (name == entry->copy) bytes += RemoveFolder(files, copy);
    bytes += RemoveUnfinished(copy);
    if (!files.Exists(copy)) files.Remove(CopyLockPath(copy));
  }
  return bytes + RemoveLeftovers(*copies, entry->copy);
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
