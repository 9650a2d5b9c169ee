// Models of the Hugging Face hub: found in the cache that every tool shares, fetched into it.
//
// Cache, hub, access token, offline mode and proxies come from the variables that huggingface_hub
// reads: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, https_proxy and so on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "culet/export.h"

namespace culet {

// What a pull is about to do.
struct PullPreview {
  std::string model;            // "google/gemma-4-E2B-it"; "…@v1" where it is not the main branch
  std::string commit;           // 40 hexadecimal digits
  std::string endpoint;         // "https://huggingface.co"
  std::filesystem::path cache;  // where it goes
  std::uint64_t bytes = 0;      // of all files of the model
  std::uint64_t missing_bytes = 0;
  std::size_t missing_files = 0;
};

struct PullStatus {
  enum class Phase { kFetching, kChecking, kFileDone };  // kChecking: the hash of what came
  Phase phase = Phase::kFetching;
  std::string file;
  std::uint64_t file_done = 0, file_bytes = 0;
  std::uint64_t done = 0, bytes = 0;  // of all files; what was there before counts as done
};

struct PullSettings {
  bool offline = false;  // also where HF_HUB_OFFLINE is set
  int connections = 0;   // at once; 0: CULET_HUB_CONNECTIONS, else 4
  // The first three are called on the thread that called Pull.
  // Asked once, where something is to be fetched; false stops. Not set: yes.
  std::function<bool(const PullPreview&)> confirm;
  std::function<void(const PullStatus&)> on_status;   // about ten times a second
  std::function<void(const std::string&)> on_notice;  // a line for the user
  std::function<bool()> cancelled;                    // asked often, from several threads
};

struct PulledModel {
  std::string model;
  std::string commit;
  std::filesystem::path folder;  // to give to Model::Load
  std::size_t files = 0;
  std::uint64_t bytes = 0;          // of all files
  std::uint64_t fetched_bytes = 0;  // by this call
};

// Makes the cache hold the model as the hub has it now: config, tokenizer, template and weights,
// each checked by its hash. `name`: "e2b", "google/gemma-4-E2B-it", either with "@revision". What
// came before a cut, of this process or another, is gone on from. Offline it only looks into the
// cache. Nothing where `confirm` or `cancelled` stopped it: what has come is kept.
// Throws Error: kInvalidArgument (no such kind of name), kNotFound (model, revision), kIo (network,
// refused, gated), kCorrupt (hash), kResource (disk).
// Threads: any; two pulls of one model wait for each other, across processes too.
CULET_EXPORT std::optional<PulledModel> Pull(const std::string& name,
                                             const PullSettings& settings = {});

// What the cache holds of a model, without asking the hub.
struct CachedModel {
  std::string model;
  std::string commit;
  std::filesystem::path folder;
  std::vector<std::string> missing;  // files that it needs; empty: complete
};
// Nothing where the cache has none of it, or `name` reads like no model of the hub. Throws
// Error(kIo) where the cache cannot be read. Any thread.
CULET_EXPORT std::optional<CachedModel> FindCached(const std::string& name);

// A published model that has a short name.
struct PublishedModel {
  std::string name;                 // "e2b"
  std::string model;                // "google/gemma-4-E2B-it"
  bool base = false;                // pre-trained only
  std::vector<std::string> inputs;  // that culet takes
  bool cached = false;              // complete
  std::uint64_t weight_bytes = 0;   // of the text decoder in bf16, which is most of the files
  // As ModelInfo has it, on this machine at the default context.
  std::uint64_t resident_bytes = 0;
  bool fits = false;  // the memory that is free now is enough for that
};
// Those that culet knows by a short name, small ones first. Throws Error(kIo) as FindCached. Any
// thread.
CULET_EXPORT std::vector<PublishedModel> PublishedModels();

}  // namespace culet
