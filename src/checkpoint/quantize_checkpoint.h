// A model folder with integer weights, made of one without.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantize_recipe.h"
#include "checkpoint/safetensors.h"

namespace culet {

// Column weights of calibration by name in the file: [columns] of each. See quantize.h.
using ColumnWeights = std::map<std::string, std::vector<float>>;

struct QuantizeWriteOptions {
  ColumnWeights column_weights;  // of tensors that are not in it all columns count alike
  std::uint64_t shard_bytes = 5'000'000'000;  // a larger tensor gets a shard of its own
  // Bytes of the source that are done and to do; called from this thread, several times a second.
  // What it throws ends the writing.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
};

// Names of what belongs to a model besides config.json and weights, and comes along where it is
// there: tokenizer, templates, card, …
std::span<const char* const> CompanionFiles();

// Whether values and scales of a weight, of `dense_bytes` where it is dense, each fill whole cache
// lines. Those that do come first in a file, so that theirs begin at one.
bool FillsLines(const WeightLayout& layout, std::uint64_t dense_bytes);
// The one or two tensors of a file that a weight is; `dense` and `shape` where it is dense.
void AddEntries(const std::string& name, const WeightLayout& layout, DType dense,
                const std::vector<std::int64_t>& shape,
                std::vector<SafetensorsWriter::Entry>* entries);

// Writes into the empty `folder` what `tensors` (PlanQuantization) say of `checkpoint`: weights in
// one file or several, config.json with quantization_config (docs/decisions/008), tokenizer and
// other files that belong to a model. Memory: some 100 MB beside the scales of the largest tensor.
// Throws Error: kResource (space, checked first), kCorrupt naming a weight that is no finite
// number, kUnsupported (quantised already), kIo; what was written is left to the caller.
void WriteQuantized(const Checkpoint& checkpoint, const QuantizeRecipe& recipe,
                    const std::vector<PlannedTensor>& tensors, ThreadPool& pool,
                    const std::filesystem::path& folder, const QuantizeWriteOptions& options);

// The member quantization_config of such a model's config.json. `source`: of the weights before.
OrderedJson DescribeRecipe(DType source, const QuantizeRecipe& recipe, bool calibrated);

}  // namespace culet
