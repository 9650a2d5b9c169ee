// Measuring: random checkpoints of published sizes, and the machine's limits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "culet/export.h"
#include "culet/model.h"

namespace culet {

struct SynthesizeOptions {
  std::filesystem::path tokenizer;  // copied in where given
  std::uint64_t seed = 1;
  bool media = false;  // with the size's encoders of images and sounds
  std::string to;      // "int8" or "int4": with integer weights as QuantizeModel writes them
  std::function<void(std::uint64_t done, std::uint64_t total)> on_progress;  // bytes
};

// Writes a random checkpoint, in bf16 where `to` says nothing else, with the exact config of "e2b",
// "e4b", "12b", "26b-a4b" or "31b". Throws Error: kInvalidArgument (no such size), kResource
// (disk), kIo; then what was begun is removed. Any thread.
CULET_EXPORT void Synthesize(const std::string& size, const std::filesystem::path& folder,
                             const SynthesizeOptions& options);

struct MachineLimits {
  double read_gb_s = 0;  // all threads, over the weights of a token; 256 MB where those are less
  // Registers only, best instruction for the model's dtype; a multiply-add is 2.
  double peak_gflops = 0;
};

// Takes about a quarter of a second, in which the model answers nobody. Measure around what is
// compared with it: shared machines move. Any thread.
CULET_EXPORT MachineLimits MeasureMachine(Model& model);

// What one op with one kind of weights took, over all layers.
struct OpTime {
  std::string op;    // "MatMul", "Attention", "RmsNorm", …
  std::string what;  // "mlp.gate_proj, mlp.up_proj"; "sliding"; empty where nothing tells
  std::int64_t calls = 0;
  double ms = 0;
  double bytes = 0;          // that it had to read of weights, tables and KV
  double multiply_adds = 0;  // of matrix products and attention
  // Multiply-adds a second, in 10^9 and counted two each, of the best instruction for its operands
  // at the model's threads; 0 where it has none.
  double peak_gflops = 0;
};
// Calls `work`, which has this model compute (Session::Append, Generate), and says what the time in
// ops went to, the longest first. The rest is between ops: planning, sampling, and the threads'
// hand-over. Throws what `work` throws. Any thread; one profile of a model at a time.
CULET_EXPORT std::vector<OpTime> ProfileOps(Model& model, const std::function<void()>& work);

// What pictures take on their way into a model, all of them together, and what the encoder's
// threads could do at most.
struct ImageTimes {
  double decode_ms = 0;          // of the file, to RGB
  double prepare_ms = 0;         // resized to the budget and cut into patches
  double tower_ms = 0;           // through the vision encoder's layers, or its first projection
  double soft_ms = 0;            // pooled and projected to rows of the text model
  std::int64_t tokens = 0;       // soft tokens
  std::int64_t patches = 0;      // or blocks, of models without a tower
  std::uint64_t tower_macs = 0;  // multiply-adds of tower_ms
  double peak_gflops = 0;        // around it, as MachineLimits has it
};
// Takes `image` so often, each time from the file on, as many through the encoder together as those
// of one prompt. Nothing comes from what is kept of earlier ones. Throws Error as
// TextProcessor::RenderTokens for the medium, kInvalidArgument for a count below 1 and for what is
// no picture. Any thread.
CULET_EXPORT ImageTimes MeasureImages(Model& model, const Media& image, std::int64_t count,
                                      const MediaOptions& options = {});
// The most memory that this process has had resident. Any thread.
CULET_EXPORT std::uint64_t PeakResidentBytes();

// "0.1.0". Lives for ever.
CULET_EXPORT const char* Version();

}  // namespace culet
