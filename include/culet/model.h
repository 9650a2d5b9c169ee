// A model: opened, planned, loaded. See generate.h for what to do with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "culet/export.h"
#include "culet/text.h"

namespace culet {

// What keys and values are kept as. kAuto: bf16 for bf16 checkpoints with more than 8 KiB of KV a
// position (in f32), else f32. kInt8, in groups of 64 values with a scale each, holds 1.9 times as
// many positions as bf16 in the same memory; docs/precision.md says what it costs.
enum class KvType { kAuto, kF32, kBf16, kInt8 };

struct LoadOptions {
  int threads = 0;           // 0: the CPUs that this process may use
  std::int64_t context = 0;  // positions that fit in the KV cache; 0: min(model's maximum, 8192)
  std::int64_t chunk = 512;  // most rows of one step; longer prompts are computed in such chunks
  // Most tokens that a picture, or a frame of a video, of a prompt will have (as MediaOptions has
  // it). Models that read a picture in both directions (12B, 26B-A4B, 31B) compute it in one step,
  // so their `chunk` is made as large as that takes. Unset: only what `chunk` has room for.
  std::optional<std::int64_t> image_tokens;
  // How many answers are computed at once, sessions included; others wait. 0: as many as cost
  // little memory in sliding layers, 16 at most.
  int sequences = 0;
  // Positions that full-attention layers hold over all sequences; 0: one context. Where they run
  // out, answers wait for each other, and are computed again where they must. At least `context`.
  std::int64_t pool_tokens = 0;
  // Sliding layers: positions kept for beginnings that later prompts may share; unset: four
  // windows.
  std::optional<std::int64_t> prefix_tokens;
  // Prompt rows of a step in which others' tokens are made.
  std::int64_t prompt_rows_beside_decoding = 64;
  std::int64_t queue = 1024;  // answers that may wait; one more is refused
  KvType kv = KvType::kAuto;
  // Rows kept behind the window for going back, in sliding layers; see Session::Rewind. 0: none.
  std::int64_t rewind_tokens = 0;
  std::filesystem::path tokenizer;                             // a tokenizer.json elsewhere
  bool allow_control_tokens = false;                           // see TextProcessor::Options
  std::vector<std::pair<std::string, std::string>> overrides;  // config.json: key path, value
  std::string cpu;  // kernel level; empty: CULET_CPU or the best that has run here
  // "int8" or "int4": computes with a QuantizedCopy (culet/quantize.h) of the model, which is made
  // where it is not there: seconds for each billion weights. Empty: the model as it is.
  std::string quant;
};

// A count with the part of the model it is of ("embedding", "attention", "mlp", …).
struct PartSize {
  std::string part;
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
};

// What a model is and what running it takes; computed from headers, before anything is allocated.
struct ModelInfo {
  std::string path;
  std::string variant;     // "E2B", …, or a description
  std::string model_type;  // of the text config
  // Of most weights: "BF16", "INT8", "INT4"; with the format where it is one that others wrote:
  // "INT4 (compressed-tensors)", "INT4 (gemma)".
  std::string dtype;
  std::int64_t layers = 0, sliding_layers = 0, full_layers = 0, shared_kv_layers = 0;
  std::int64_t hidden = 0, vocab = 0, heads = 0, window = 0, max_positions = 0, ple_width = 0;
  std::int64_t sliding_head_dim = 0, sliding_kv_heads = 0, full_head_dim = 0, full_kv_heads = 0;
  std::int64_t intermediate = 0, widest_intermediate = 0;
  std::int64_t experts = 0, experts_per_token = 0, expert_intermediate = 0;
  bool k_eq_v = false, tied_head = false;
  bool vision_tower = false, audio_tower = false;  // named by the config
  // "text", and "image", "video", "audio" where the checkpoint has the encoder.
  std::vector<std::string> inputs;
  std::vector<PartSize> parts;                     // used by the text decoder
  std::uint64_t parameters = 0, weight_bytes = 0;  // sums over parts
  std::uint64_t unused_bytes = 0;
  std::vector<std::pair<std::string, std::string>> unused;  // tensor, why; for --verbose
  std::uint64_t bytes_per_token = 0;  // weights that a decoded token must read
  std::uint64_t rows_read_bytes = 0;  // rows of lookup tables besides
  // KV bytes of a position over all layers of a kind; a sliding layer holds `window` positions.
  std::uint64_t sliding_kv_bytes_per_token = 0, full_kv_bytes_per_token = 0;
  // Multiply-adds of a prompt token that need not give logits.
  std::uint64_t macs_per_prompt_token = 0;
  std::uint64_t macs_per_decoded_token = 0;  // with the head
  // Plan, at the options given.
  std::int64_t context = 0, chunk = 0, sequences = 0, pool_tokens = 0;
  std::string kv_dtype;  // "F32", "BF16", "INT8"
  std::uint64_t kv_bytes = 0, activation_bytes = 0;
  // Weights without lookup tables read by row and without encoders of media, KV, activations.
  std::uint64_t resident_bytes = 0;
  // Besides, from the first medium on, for pictures of LoadOptions::image_tokens (unset: 1120) and
  // videos of 60 s with their sound: the encoders' weights and activations, what decoding takes
  // (pictures of up to 12 million pixels, videos of up to 1920 × 1080), what a prompt holds of
  // them, and soft tokens that are kept. Where image_tokens is unset and a step has no room for
  // 1120, what that room would take too.
  std::uint64_t media_bytes = 0;
  std::string cpu_model, cpu_level;
  int threads = 0;
  bool has_chat_template = false;
  std::vector<std::string> warnings;
};

// Reads config and headers only: what `info` of a model loaded with these options would be. With
// `quant` the copy is made where it is not there, as Model::Load would. Throws
// Error: kInvalidArgument (options), kNotFound, kCorrupt, kUnsupported, kIo (files). Any thread.
CULET_EXPORT ModelInfo Describe(const std::filesystem::path& path, const LoadOptions& options = {});

// Sampling defaults that the model's generation_config.json gives.
struct ModelDefaults {
  std::vector<TokenId> stop_tokens;
  std::vector<std::string> stop_texts;  // stop_strings; GenerateOptions::stop adds to them
  std::vector<TokenId> suppress_tokens;
  bool do_sample = false;
  double temperature = 1.0;
  std::int64_t top_k = 0;  // 0: off
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  std::int64_t max_new_tokens = 0;  // 0: none given
};

// What a model has done since it was loaded.
struct ModelStatistics {
  std::int64_t steps = 0, rows = 0;  // passes over the weights, and rows of them
  std::int64_t answers = 0;          // ended
  std::int64_t texts = 0;            // of embeddings, ended
  std::int64_t preemptions = 0;      // answers that gave their KV back and were computed again
  std::int64_t prompt_tokens = 0, shared_tokens = 0;  // of them, taken from other prompts' KV
};

// Loaded weights, KV memory, and the thread that computes. Shared by its answers and sessions: the
// last of them, or of the caller's pointers, frees it. Threads: everything may be called from any
// thread.
class CULET_EXPORT Model {
 public:
  // Maps the weights, allocates KV and activations, starts the thread. `path`: a folder in Hugging
  // Face's layout, or a .safetensors file in one. The files must not change while the model lives.
  // Throws Error: kInvalidArgument (options), kNotFound, kCorrupt, kUnsupported, kIo (files), or
  // kResource with the numbers where the plan does not fit into the machine's free memory, or no
  // more threads can be started.
  static std::shared_ptr<Model> Load(const std::filesystem::path& path,
                                     const LoadOptions& options = {});
  ~Model();

  // These four are the model's and live as long as it.
  const ModelInfo& info() const;
  // Throws Error(kCorrupt, kUnsupported) where generation_config.json is broken; what does not
  // sample works without.
  const ModelDefaults& defaults() const;
  // Where the folder has no tokenizer.json, what needs one throws Error(kNotFound).
  const TextProcessor& text() const;
  // Bytes that were really allocated for KV and activations (the plan's are in info()).
  std::uint64_t allocated_bytes() const;

  // Waits for the step that is being computed.
  ModelStatistics statistics() const;

  // Logits of every position of `tokens` [tokens, vocab], row after row, in chunks of `chunk` rows
  // (0: the load option). `on_row(position, logits)` is called on this thread; the logits are valid
  // during the call. No answer goes on meanwhile, and on_row must not use the model. What it throws
  // ends the computation and comes out of here. Throws Error as Session::Append.
  void Logits(std::span<const TokenId> tokens, std::int64_t chunk,
              const std::function<void(std::int64_t, std::span<const float>)>& on_row);
  // The same of a prompt that may have media.
  void Logits(const Prompt& prompt, std::int64_t chunk,
              const std::function<void(std::int64_t, std::span<const float>)>& on_row);

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  Model();
  std::unique_ptr<Impl> impl_;
};

}  // namespace culet
