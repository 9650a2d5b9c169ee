// Measuring: the machine's limits, this process's memory, random checkpoints.
#include "culet/tools.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "api/boundary.h"
#include "api/model_impl.h"
#include "base/error.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/synth.h"
#include "checkpoint/tensor_table.h"
#include "ops/machine_limits.h"

namespace culet {
namespace {

constexpr double kReadSeconds = 0.1;
// Smaller weights may sit in a cache, so a buffer of our own is read instead.
constexpr std::size_t kLeastReadBytes = std::size_t{256} << 20;
// Between two weights lie scales, norms and other small tensors.
constexpr std::ptrdiff_t kMostBetween = std::ptrdiff_t{1} << 20;

// The matrices that every decoded token reads, where they lie in the files, in stretches as long as
// they are: after the first token their pages are present.
std::vector<std::span<const std::byte>> WeightsOfEveryToken(const Checkpoint& checkpoint) {
  std::vector<const TensorView*> tensors;
  for (const ExpectedTensor& expected : ExpectedTensors(checkpoint.config())) {
    // Not read whole: tables, of which a token takes rows, and stacks of experts.
    const bool table = expected.name == "embed_tokens_per_layer.weight" ||
                       (expected.name == "embed_tokens.weight" && !checkpoint.head_is_embedding());
    if (table || expected.shape.size() != 2 || !checkpoint.has_tensor(expected.name)) continue;
    const QuantizedTensor* integers = checkpoint.quantized(expected.name);
    if (integers != nullptr && integers->repacks_values()) continue;
    tensors.push_back(&checkpoint.tensor(expected.name));
  }
  // A head of its own beside a config that ties it is not among those that a config asks for.
  if (checkpoint.config().tie_word_embeddings && !checkpoint.head_is_embedding() &&
      checkpoint.quantized("lm_head.weight") == nullptr) {
    tensors.push_back(&checkpoint.tensor("lm_head.weight"));
  }
  std::ranges::sort(tensors, {}, [](const TensorView* tensor) { return tensor->bytes.data(); });
  std::vector<std::span<const std::byte>> stretches;
  const MappedFile* file = nullptr;  // of the last one
  for (const TensorView* tensor : tensors) {
    const std::byte* begin = tensor->bytes.data();
    const std::byte* end = begin + tensor->bytes.size();
    if (tensor->file == file &&
        begin - stretches.back().data() - std::ssize(stretches.back()) <= kMostBetween) {
      stretches.back() = {stretches.back().data(), end};
    } else {
      stretches.push_back(tensor->bytes);
      file = tensor->file;
    }
  }
  return stretches;
}

}  // namespace

void Synthesize(const std::string& size, const std::filesystem::path& folder,
                const SynthesizeOptions& options) try {
  SynthOptions synth;
  synth.seed = options.seed;
  synth.tokenizer_file = options.tokenizer;
  synth.progress = options.on_progress;
  synth.media = options.media;
  synth.to = options.to;
  SynthesizeCheckpoint(size, folder, synth);
} catch (...) {
  RethrowAsError();
}

MachineLimits MeasureMachine(Model& model) try {
  const Model::Impl& impl = model.impl();
  const std::vector<std::span<const std::byte>> weights = WeightsOfEveryToken(*impl.checkpoint);
  std::size_t bytes = 0;
  for (const std::span<const std::byte> stretch : weights) bytes += stretch.size();
  return impl.thread->Exclusive([&](Engine& engine) {
    Context& context = engine.context();
    MachineLimits limits;
    limits.read_gb_s = bytes >= kLeastReadBytes
                           ? MeasureReadGbS(context.pool(), weights, kReadSeconds)
                           : MeasureReadGbS(context.pool(), kLeastReadBytes, kReadSeconds);
    const WeightFormat format = impl.checkpoint->main_format();
    limits.peak_gflops = format == WeightFormat::kDense
                             ? MeasurePeakGflops(context, impl.checkpoint->main_dtype())
                             : MeasurePeakGflops(context, format);
    return limits;
  });
} catch (...) {
  RethrowAsError();
}

std::uint64_t PeakResidentBytes() {
  // Not getrusage first: after exec its figure still counts the program that started this one.
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) << 10;
  }
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::uint64_t>(usage.ru_maxrss) << 10;
}

const char* Version() { return CULET_VERSION; }

}  // namespace culet
