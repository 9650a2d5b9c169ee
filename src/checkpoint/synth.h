// Random checkpoints: real sizes to measure without real weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/json.h"

namespace culet {

struct SynthOptions {
  std::uint64_t seed = 1;
  std::filesystem::path tokenizer_file;  // copied in as tokenizer.json where given
  bool media = false;                    // with encoders of images and sounds
  std::string to;  // "int8" or "int4": weights of that recipe (MakeRecipe); empty: bf16
  // A larger tensor gets a shard of its own.
  std::uint64_t shard_bytes = 5'000'000'000;
  // Bytes of weights written and to write; called from this thread, about every 64 MB.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
};

// Writes a random bf16 checkpoint with the exact config of a published size ("e2b", "e4b", "12b",
// "26b-a4b", "31b") into `folder`, made if it is not there: config.json (published spelling; of
// text alone where options.media is false), generation_config.json, and one .safetensors file or
// shards with an index. Matrices are normal with deviation 0.02, norm weights lie around 1, bounds
// are ± 20. Integer weights are normal likewise, rounded; nothing is made in bf16 first, so that a
// disk and a memory that hold no more than them do. The same seed gives the same bytes. Memory:
// some 32 MB, whatever the size. Free space is checked first. Throws Error: kInvalidArgument (size,
// a folder that has a model already), kResource (space, with the numbers), kIo. On failure the
// files that it wrote are removed again.
void SynthesizeCheckpoint(const std::string& size, const std::filesystem::path& folder,
                          const SynthOptions& options);

// The same of any config.json (tests, odd sizes), with the encoders that it names.
void SynthesizeConfig(const OrderedJson& config_json, const OrderedJson& generation_config_json,
                      const std::filesystem::path& folder, const SynthOptions& options);

}  // namespace culet
