#include "hub/pull.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "hub/lock.h"
#include "hub/partial_file.h"

namespace culet::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxIndexBytes = 64 << 20;
// Beyond the files themselves: lists of ranges, folders, and what others write meanwhile.
constexpr std::uint64_t kSpareBytes = 16 << 20;

std::string Gib(std::uint64_t bytes) {
  const bool small = bytes < (std::uint64_t{1} << 30);
  const std::uint64_t tenths = (bytes * 10 + (small ? 1u << 19 : 1u << 29)) >> (small ? 20 : 30);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) +
         (small ? " MiB" : " GiB");
}

class Puller {
 public:
  Puller(const World& world, const ModelReference& reference, const PullOptions& options)
      : world_(world),
        reference_(reference),
        options_(options),
        client_(world.settings, world.transport, world.clock, options.cancelled, options.notice),
        folder_(world.files, world.settings.cache, reference.repository) {}

  PullResult Run() {
    listing_ = FetchListing(client_, reference_);
    const std::vector<RemoteFile> wanted = WantedFiles();
    PullPlan plan = MakePlan(wanted);
    if (plan.missing_files > 0) {
      if (options_.confirm && !options_.confirm(plan)) throw Cancelled();
      FetchMissing(wanted, &plan);
    }
    Remember(plan);
    return {reference_, listing_.commit, plan.folder, plan.files.size(), plan.bytes, fetched_};
  }

 private:
  // In a cache that may only be read, a model that is whole stays usable.
  void Remember(const PullPlan& plan) const {
    try {
      folder_.WriteReference(reference_.revision, listing_.commit);
    } catch (const Error& error) {
      if (plan.missing_files > 0) throw;
      client_.Tell(std::string(error.what()) + "; the model is whole all the same");
    }
  }

  std::string Place(const std::string& file) const { return reference_.repository + "/" + file; }

  // Which files a model needs, in the order of fetching: small ones first, so that a snapshot with
  // weights has the rest.
  std::vector<RemoteFile> WantedFiles() {
    std::vector<RemoteFile> wanted;
    for (const std::string_view name : SmallFileNames()) {
      if (const RemoteFile* file = FindFile(listing_, name)) wanted.push_back(*file);
    }
    if (FindFile(listing_, "config.json") == nullptr) {
      throw Error(ErrorKind::kUnsupported,
                  reference_.Text() +
                      ": the repository has no config.json, so it holds no model "
                      "that culet reads (files in GGUF or of other tools?)");
    }
    if (const RemoteFile* weights = FindFile(listing_, kWeightsName)) {
      wanted.push_back(*weights);
      return wanted;
    }
    const RemoteFile* index = FindFile(listing_, kIndexName);
    if (index == nullptr) {
      throw Error(ErrorKind::kUnsupported,
                  reference_.Text() + ": the repository has neither " + kWeightsName + " nor " +
                      kIndexName +
                      "; culet reads safetensors weights alone. An adapter (LoRA) "
                      "must be merged into its base model first");
    }
    wanted.push_back(*index);
    for (const std::string& shard : ShardsOfIndex(IndexText(*index), Place(kIndexName))) {
      const RemoteFile* file = FindFile(listing_, shard);
      if (file == nullptr) {
        throw Error(ErrorKind::kCorrupt, Place(kIndexName) + ": names " + shard +
                                             ", which the repository does not have; the model "
                                             "there is not whole");
      }
      wanted.push_back(*file);
    }
    return wanted;
  }

  // The index is read before anything is written: it decides how much there is to fetch.
  std::string IndexText(const RemoteFile& index) {
    if (index.bytes > kMaxIndexBytes) {
      throw Error(ErrorKind::kCorrupt, Place(kIndexName) + ": " + std::to_string(index.bytes) +
                                           " bytes; no index is that long");
    }
    for (const fs::path& place :
         {folder_.Blob(index.hash), folder_.Snapshot(listing_.commit) / kIndexName}) {
      if (world_.files.Status(place, true).bytes != index.bytes) continue;
      std::string text = world_.files.ReadFile(place, kMaxIndexBytes);
      if (HashText(index.hash_kind, text) == index.hash) return text;
    }
    for (int attempt = 1;; ++attempt) {
      std::string text;
      const Answer answer =
          client_.Get(FileUrl(client_, reference_.repository, listing_.commit, kIndexName),
                      kMaxIndexBytes, &text);
      if (answer.response.status != 200) {
        client_.Refused(answer.response, answer.url.ForMessages(), reference_.repository,
                        Place(kIndexName));
      }
      const std::string found = HashText(index.hash_kind, text);
      if (found == index.hash) return text;
      const std::string what = Place(kIndexName) + ": what came has the hash " + found +
                               ", the hub's list says " + index.hash;
      if (attempt == 2) {
        throw Error(ErrorKind::kCorrupt, what +
                                             " (fetched twice). The hub or something on the way "
                                             "changes it; try again later or from another "
                                             "network");
      }
      client_.Tell(what + "; fetching it once more");
    }
  }

  // A blob is there under its name only when it was whole and right; its length is looked at all
  // the same, as a file may have been cut later.
  bool IsThere(const RemoteFile& file) const {
    const fs::path place = folder_.Snapshot(listing_.commit) / file.name;
    const FileStatus own = world_.files.Status(place, false);
    if (own.kind == FileStatus::Kind::kFile) return own.bytes == file.bytes;
    const FileStatus blob = world_.files.Status(folder_.Blob(file.hash), true);
    return blob.kind == FileStatus::Kind::kFile && blob.bytes == file.bytes;
  }

  PullPlan MakePlan(const std::vector<RemoteFile>& wanted) const {
    PullPlan plan;
    plan.reference = reference_;
    plan.commit = listing_.commit;
    plan.folder = folder_.Snapshot(listing_.commit);
    std::vector<std::string> counted;  // two names may share one blob
    for (const RemoteFile& file : wanted) {
      PlannedFile planned{file, IsThere(file), 0};
      plan.bytes += file.bytes;
      const bool linked =
          planned.there && folder_.IsInSnapshot(listing_.commit, file.name, file.hash);
      if (!linked) ++plan.missing_files;
      if (!planned.there) {
        planned.begun = PartialFile::BytesThere(world_.files, folder_.Blob(file.hash), file.bytes);
        if (std::find(counted.begin(), counted.end(), file.hash) == counted.end()) {
          plan.missing_bytes += file.bytes - planned.begun;
        }
        counted.push_back(file.hash);
      }
      plan.files.push_back(std::move(planned));
    }
    return plan;
  }

  void Prepare() const {
    try {
      folder_.Prepare(listing_.commit);
    } catch (const Error& error) {
      throw Error(error.kind(), std::string(error.what()) +
                                    ". The cache must be a folder that you may write: HF_HOME or "
                                    "HF_HUB_CACHE names another one");
    }
  }

  void CheckSpace(const PullPlan& plan) const {
    const std::uint64_t free = world_.files.FreeBytes(world_.settings.cache);
    if (plan.missing_bytes == 0 || free >= plan.missing_bytes + kSpareBytes) return;
    throw Error(ErrorKind::kResource,
                plan.reference.Text() + " needs " + Gib(plan.missing_bytes + kSpareBytes) +
                    " more in " + world_.settings.cache.string() + ", " + Gib(free) +
                    " are free there. Free some, for example with `culet rm`, or let HF_HOME name "
                    "a folder on a larger disk");
  }

  void FetchMissing(const std::vector<RemoteFile>& wanted, PullPlan* plan) {
    CheckSpace(*plan);
    Prepare();
    const Lock lock(
        world_.files, folder_.locks() / "culet.lock", world_.clock, options_.cancelled, [&] {
          client_.Tell("another pull of " + reference_.repository + " is going on; waiting for it");
        });
    *plan = MakePlan(wanted);
    if (lock.waited()) CheckSpace(*plan);
    done_before_ = 0;
    for (const PlannedFile& planned : plan->files) {
      Fetch(planned.file, *plan);
      folder_.AddToSnapshot(listing_.commit, planned.file.name, planned.file.hash,
                            world_.settings.no_links);
      done_before_ += planned.file.bytes;
    }
    for (const std::string_view name : SmallFileNames()) {
      if (FindFile(listing_, name) == nullptr) {
        folder_.NoteAbsent(listing_.commit, std::string(name));
      }
    }
  }

  void Fetch(const RemoteFile& file, const PullPlan& plan) {
    if (IsThere(file)) return;
    const fs::path blob = folder_.Blob(file.hash);
    // huggingface_hub's own lock of this blob: its older versions go on at the end of a beginning
    // that PartialFile takes over.
    const Lock lock(
        world_.files, folder_.locks() / (file.hash + ".lock"), world_.clock, options_.cancelled,
        [&] { client_.Tell("another program fetches " + file.name + "; waiting for it"); });
    if (IsThere(file)) return;
    const std::uint64_t begun = PartialFile::BytesThere(world_.files, blob, file.bytes);
    const auto report = [&](PullProgress::Phase phase, std::uint64_t done) {
      if (!options_.on_progress) return;
      const std::uint64_t here = phase == PullProgress::Phase::kFetching ? done : file.bytes;
      options_.on_progress({phase, file.name, done, file.bytes, done_before_ + here, plan.bytes});
    };
    try {
      FetchFile(client_, world_.files, file, reference_.repository,
                FileUrl(client_, reference_.repository, listing_.commit, file.name), blob,
                options_.fetch, [&](const FetchProgress& progress) {
                  report(progress.phase == FetchProgress::Phase::kFetching
                             ? PullProgress::Phase::kFetching
                             : PullProgress::Phase::kChecking,
                         progress.done);
                });
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kResource) ThrowDiskFull(error, plan);
      throw;
    }
    fetched_ += file.bytes - std::min(begun, file.bytes);
    report(PullProgress::Phase::kFileDone, file.bytes);
  }

  [[noreturn]] void ThrowDiskFull(const Error& error, const PullPlan& plan) const {
    std::vector<RemoteFile> wanted;
    for (const PlannedFile& planned : plan.files) wanted.push_back(planned.file);
    const PullPlan now = MakePlan(wanted);
    throw Error(ErrorKind::kResource,
                std::string(error.what()) + ". " + Gib(now.missing_bytes) + " of " +
                    reference_.Text() + " are still missing, " +
                    Gib(world_.files.FreeBytes(world_.settings.cache)) +
                    " are free. Free some and pull again: what has come is kept");
  }

  const World& world_;
  const ModelReference& reference_;
  const PullOptions& options_;
  const Client client_;
  const CacheFolder folder_;
  Listing listing_;
  std::uint64_t done_before_ = 0;  // bytes of the files before the one that is fetched
  std::uint64_t fetched_ = 0;
};

}  // namespace

PullResult Pull(const World& world, const ModelReference& reference, const PullOptions& options) {
  if (world.settings.offline) {
    throw Error(ErrorKind::kIo, reference.Text() + ": " + world.settings.offline_because +
                                    ", so nothing is fetched");
  }
  return Puller(world, reference, options).Run();
}

}  // namespace culet::hub
