// Measuring: random checkpoints of published sizes, and the machine's limits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "culet/export.h"
#include "culet/model.h"

namespace culet {

struct SynthesizeOptions {
  std::filesystem::path tokenizer;  // copied in where given
  std::uint64_t seed = 1;
  bool media = false;  // with the size's encoders of images and sounds
  std::function<void(std::uint64_t done, std::uint64_t total)> on_progress;  // bytes
};

// Writes a random bf16 checkpoint with the exact config of "e2b", "e4b", "12b", "26b-a4b" or
// "31b". Throws Error: kInvalidArgument (no such size), kResource (disk), kIo; then what was begun
// is removed. Any thread.
CULET_EXPORT void Synthesize(const std::string& size, const std::filesystem::path& folder,
                             const SynthesizeOptions& options);

struct MachineLimits {
  double read_gb_s = 0;  // all threads, a buffer far larger than the caches
  // Registers only, best instruction for the model's dtype; a multiply-add is 2.
  double peak_gflops = 0;
};

// Takes about half a second, in which the model answers nobody. Measure around what is compared
// with it: shared machines move. Any thread.
CULET_EXPORT MachineLimits MeasureMachine(Model& model);
// The most memory that this process has had resident. Any thread.
CULET_EXPORT std::uint64_t PeakResidentBytes();

// "0.1.0". Lives for ever.
CULET_EXPORT const char* Version();

}  // namespace culet
