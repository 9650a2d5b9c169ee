// Measuring: the machine's limits, this process's memory, random checkpoints.
#include "culet/tools.h"

#include <sys/resource.h>

#include <fstream>
#include <string>

#include "api/boundary.h"
#include "api/model_impl.h"
#include "base/error.h"
#include "base/file.h"
#include "checkpoint/synth.h"
#include "ops/machine_limits.h"

namespace culet {
namespace {

constexpr double kReadSeconds = 0.1;
// Smaller weights may sit in a cache, so a buffer of our own is read instead.
constexpr std::size_t kLeastReadBytes = std::size_t{256} << 20;

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
  // The embedding is one contiguous stretch that each decoded token reads for the head: its pages
  // are present, and it is read the way weights are.
  const std::span<const std::byte> weights = impl.checkpoint->tensor("embed_tokens.weight").bytes;
  return impl.thread->Exclusive([&](Engine& engine) {
    Context& context = engine.context();
    MachineLimits limits;
    limits.read_gb_s = weights.size() >= kLeastReadBytes
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
