// Loading a model, and logits of whole prompts.
#include "culet/model.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "api/boundary.h"
#include "api/model_impl.h"
#include "api/soft_prompt.h"
#include "api/text_processor_impl.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "checkpoint/generation_config.h"
#include "checkpoint/model_files.h"
#include "culet/quantize.h"
#include "runtime/sampler.h"
#include "text/chat_template.h"

namespace culet {
namespace {

// Positions that a user gets without asking: enough for a long chat, small enough for a laptop.
constexpr std::int64_t kDefaultContext = 8192;

std::string Gib(std::uint64_t bytes) {  // "12.9 GiB"
  const std::uint64_t tenths = (bytes * 10 + (1u << 29)) >> 30;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GiB";
}

void CheckRange(const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return;
  throw Error(ErrorKind::kInvalidArgument, std::string(name) + " is " + std::to_string(value) +
                                               "; it must be " + std::to_string(low) + " to " +
                                               std::to_string(high));
}

// KV and activations must be memory; weights are mapped and may be read again from the disk.
void CheckMemory(const ModelInfo& info) {
  const std::uint64_t needed = info.kv_bytes + info.activation_bytes;
  const std::uint64_t available = AvailableMemory();
  if (available == 0 || needed <= available) return;
  throw Error(ErrorKind::kResource,
              "LoadOptions::context " + std::to_string(info.context) + " needs " +
                  Gib(info.kv_bytes) + " KV + " + Gib(info.activation_bytes) + " work = " +
                  Gib(needed) + " beside " + Gib(info.weight_bytes) + " of mapped weights; " +
                  Gib(available) + " are free. A smaller LoadOptions::context needs less");
}

// Throws Error(kCorrupt) where the file names a token that the model lacks.
void CheckTokens(const GenerationConfig& config, const std::filesystem::path& file,
                 std::int64_t vocab) {
  if (config.largest_token < vocab) return;
  throw Error(ErrorKind::kCorrupt,
              file.string() + ": has token " + std::to_string(config.largest_token) +
                  "; vocab_size in config.json is " + std::to_string(vocab) +
                  ". They are of different models: take the file that came with the weights");
}

ModelDefaults DefaultsOf(const GenerationConfig& config, const std::filesystem::path& file,
                         std::int64_t vocab) {
  ModelDefaults defaults;
  defaults.stop_tokens = config.stop_tokens;
  defaults.stop_texts = config.stop_strings;
  defaults.suppress_tokens = config.suppress_tokens;
  defaults.do_sample = config.do_sample;
  defaults.temperature = config.temperature;
  defaults.top_k = config.top_k;
  defaults.top_p = config.top_p;
  defaults.min_p = config.min_p;
  defaults.repetition_penalty = config.repetition_penalty;
  defaults.max_new_tokens = config.max_new_tokens;
  try {
    // The sampler has the last word on ranges; here the file can still be named. A temperature that
    // only counts once sampling is asked for is checked too.
    GenerateOptions sampled;
    sampled.temperature = defaults.temperature;
    Sampler(ResolveSampling(sampled, defaults), vocab);
  } catch (const Error& error) {
    throw Error(ErrorKind::kCorrupt, file.string() + ": " + error.what());
  }
  return defaults;
}

void LogitsOf(Engine& engine, const SoftPrompt& prompt, std::int64_t chunk,
              const std::function<void(std::int64_t, std::span<const float>)>& on_row) {
  const std::int64_t most = engine.kv().plan().chunk;
  if (chunk <= 0 || chunk > most) chunk = most;
  const int sequence = engine.AddSequence();
  try {
    engine.Append(sequence, prompt.tokens, prompt.blocks);
    const std::int64_t total = static_cast<std::int64_t>(prompt.tokens.size());
    for (std::int64_t begin = 0; begin < total; begin = engine.computed(sequence)) {
      const StepPart part = {
          sequence, engine.WholeRows(sequence, std::min(chunk, total - begin), most), Wanted::kAll};
      const View<const float, 2> hidden = engine.Step(std::span(&part, 1));
      for (std::int64_t row = 0; row < part.count; row += Engine::kHeadRows) {
        const std::int64_t rows = std::min(Engine::kHeadRows, part.count - row);
        const View<const float, 2> logits =
            engine.Logits(View<const float, 2>(hidden.row(row), {rows, hidden.extent(1)}));
        for (std::int64_t index = 0; index < rows; ++index) {
          on_row(begin + row + index,
                 {logits.row(index), static_cast<std::size_t>(logits.extent(1))});
        }
      }
    }
  } catch (...) {
    engine.RemoveSequence(sequence);
    throw;
  }
  engine.RemoveSequence(sequence);
}

std::vector<ConfigOverride> OverridesOf(const LoadOptions& options) {
  std::vector<ConfigOverride> overrides;
  for (const auto& [key, value] : options.overrides) overrides.push_back({key, value});
  return overrides;
}

}  // namespace

SamplingParameters ResolveSampling(const GenerateOptions& options, const ModelDefaults& defaults) {
  SamplingParameters parameters;
  parameters.temperature =
      options.temperature.value_or(defaults.do_sample ? defaults.temperature : 0.0);
  parameters.top_k = options.top_k.value_or(defaults.top_k);
  parameters.top_p = options.top_p.value_or(defaults.top_p);
  parameters.min_p = options.min_p.value_or(defaults.min_p);
  parameters.repetition_penalty = options.repetition_penalty.value_or(defaults.repetition_penalty);
  parameters.seed = options.seed.value_or(0);
  parameters.suppress = defaults.suppress_tokens;
  return parameters;
}

Checkpoint OpenCheckpoint(const std::filesystem::path& path, const LoadOptions& options) {
  if (options.quant.empty()) {
    return Checkpoint::Open(FileSystem::Real(), path, OverridesOf(options));
  }
  if (options.quant != "int8" && options.quant != "int4") {
    throw Error(ErrorKind::kInvalidArgument,
                "LoadOptions::quant is \"" + options.quant + "\"; int8 or int4 is expected");
  }
  QuantizeOptions quantize;
  quantize.threads = options.threads;
  return Checkpoint::Open(FileSystem::Real(), QuantizedCopy(path, options.quant, quantize),
                          OverridesOf(options));
}

int ResolveThreads(const LoadOptions& options) {
  CheckRange("LoadOptions::threads", options.threads, 0, 1024);
  return options.threads > 0 ? options.threads : DefaultThreads();
}

CpuLevel ResolveLevel(const LoadOptions& options) {
  if (options.cpu.empty()) return ChosenLevel();
  const std::optional<CpuLevel> level = CpuLevelFromName(options.cpu);
  if (level) return *level;
  throw Error(ErrorKind::kInvalidArgument, "LoadOptions::cpu is \"" + options.cpu +
                                               "\", which is no kernel level; there are " +
                                               CpuLevelNames());
}

// Sequences that a model has without being asked for: more cost memory in sliding layers only, as
// full-attention layers share one pool.
std::int64_t CheapSequences(const ModelConfig& config, KvPlan plan) {
  constexpr std::int64_t kMostSequences = 16;
  constexpr std::uint64_t kCheapBytes = std::uint64_t{256} << 20;
  plan.sequences = 1;
  const std::uint64_t one = plan.Bytes(config);
  plan.sequences = 2;
  const std::uint64_t each = std::max<std::uint64_t>(1, plan.Bytes(config) - one);
  return std::clamp<std::int64_t>(1 + static_cast<std::int64_t>(kCheapBytes / each), 1,
                                  kMostSequences);
}

KvPlan ResolveKvPlan(const ModelConfig& config, DType weights, const LoadOptions& options) {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  KvPlan plan;
  CheckRange("LoadOptions::context", options.context, 0, kMost);
  CheckRange("LoadOptions::chunk", options.chunk, 1, 65536);
  CheckRange("LoadOptions::sequences", options.sequences, 0, 4096);
  CheckRange("LoadOptions::image_tokens", options.image_tokens.value_or(1), 1, 65536);
  CheckRange("LoadOptions::pool_tokens", options.pool_tokens, 0, std::int64_t{1} << 40);
  CheckRange("LoadOptions::prefix_tokens", options.prefix_tokens.value_or(0), 0, kMost);
  CheckRange("LoadOptions::rewind_tokens", options.rewind_tokens, 0, kMost);
  plan.context =
      options.context > 0 ? options.context : std::min(config.max_positions, kDefaultContext);
  plan.chunk = std::min(options.chunk, plan.context);
  plan.sequences = 1;
  plan.pool_tokens = std::max(options.pool_tokens, plan.context);
  plan.prefix_tokens = options.prefix_tokens.value_or(4 * config.window);
  plan.rewind_tokens = options.rewind_tokens;
  switch (options.kv) {
    case KvType::kAuto: plan.dtype = DefaultKvDType(config, weights); break;
    case KvType::kF32: plan.dtype = DType::kF32; break;
    case KvType::kBf16: plan.dtype = DType::kBF16; break;
    case KvType::kInt8: plan.dtype = DType::kI8; break;
  }
  const std::int64_t together = config.bidirectional_vision ? options.image_tokens.value_or(0) : 0;
  plan.MakeRoomFor(together);
  plan.sequences = options.sequences > 0 ? options.sequences : CheapSequences(config, plan);
  plan.MakeRoomFor(together);
  return plan;
}

void CheckText(const TextProcessor& text, const std::filesystem::path& folder, std::int64_t vocab,
               const LoadOptions& options) {
  if (!text.has_tokenizer()) return;
  const std::filesystem::path tokenizer =
      options.tokenizer.empty() ? folder / "tokenizer.json" : options.tokenizer;
  const std::int64_t tokens = text.vocab_size();
  if (tokens > vocab) {
    throw Error(
        ErrorKind::kCorrupt,
        tokenizer.string() + ": the tokenizer has " + std::to_string(tokens) +
            " tokens; vocab_size in " + (folder / "config.json").string() + " is " +
            std::to_string(vocab) +
            ". They are of different models: take the tokenizer that came with the weights");
  }
  if (!text.has_chat_template()) return;
  const Tokenizer& known = TokenizerOf(text);
  for (const std::string_view token : TemplateTokens()) {
    const std::optional<TokenId> id = known.FindToken(token);
    if (id && known.IsControl(*id)) continue;
    throw Error(ErrorKind::kCorrupt,
                tokenizer.string() + ": added_tokens has no " + std::string(token) +
                    ", which the chat template writes. They are of different models: take the "
                    "tokenizer that came with the weights");
  }
}

Model::Model() : impl_(std::make_unique<Impl>()) {}
Model::~Model() = default;

std::shared_ptr<Model> Model::Load(const std::filesystem::path& path,
                                   const LoadOptions& options) try {
  ReserveErrors();
  std::shared_ptr<Model> model(new Model());
  Impl& impl = *model->impl_;
  impl.path = path;
  // Whether the parts fit each other is seen before a byte of weights is read.
  FileSystem& files = FileSystem::Real();
  const ModelFiles parts = FindModelFiles(files, path);
  const std::int64_t vocab = LoadModelConfig(files, parts.config, OverridesOf(options)).vocab;
  TextProcessor::Options text;
  text.tokenizer = options.tokenizer;
  text.allow_control_tokens = options.allow_control_tokens;
  impl.text = TextProcessor::Open(path, text);
  CheckText(*impl.text, parts.folder, vocab, options);
  const std::filesystem::path generation = parts.folder / "generation_config.json";
  std::optional<GenerationConfig> config;
  try {
    config = LoadGenerationConfig(files, generation);
    impl.defaults = DefaultsOf(*config, generation, vocab);
  } catch (const Error&) {
    impl.defaults_error = std::current_exception();
  }
  if (config) CheckTokens(*config, generation, vocab);
  impl.checkpoint = std::make_unique<Checkpoint>(OpenCheckpoint(path, options));
  impl.info = DescribeCheckpoint(*impl.checkpoint, path, options);
  CheckMemory(impl.info);
  impl.engine = std::make_unique<Engine>(
      *impl.checkpoint,
      ResolveKvPlan(impl.checkpoint->config(), impl.checkpoint->main_dtype(), options),
      std::make_unique<Context>(impl.info.threads, ResolveLevel(options)));
  CheckRange("LoadOptions::prompt_rows_beside_decoding", options.prompt_rows_beside_decoding, 1,
             65536);
  CheckRange("LoadOptions::queue", options.queue, 0, std::int64_t{1} << 32);
  SchedulerOptions scheduling;
  scheduling.prompt_rows_beside_decoding = options.prompt_rows_beside_decoding;
  scheduling.queue = impl.queue = options.queue;
  impl.thread = std::make_unique<EngineThread>(*impl.engine, scheduling);
  impl.encoders =
      std::make_unique<MediaEncoders>(*impl.checkpoint, impl.info.threads, ResolveLevel(options));
  return model;
} catch (...) {
  RethrowAsError();
}

const ModelInfo& Model::info() const { return impl_->info; }
const ModelDefaults& Model::defaults() const {
  if (impl_->defaults_error) std::rethrow_exception(impl_->defaults_error);
  return impl_->defaults;
}
const TextProcessor& Model::text() const { return *impl_->text; }
std::uint64_t Model::allocated_bytes() const { return impl_->engine->allocated_bytes(); }

ModelStatistics Model::statistics() const {
  const SchedulerStatistics all = impl_->thread->statistics();
  return {all.steps,       all.rows,          all.finished,     all.texts,
          all.preemptions, all.prompt_tokens, all.shared_tokens};
}

void Model::Logits(std::span<const TokenId> tokens, std::int64_t chunk,
                   const std::function<void(std::int64_t, std::span<const float>)>& on_row) try {
  Prompt prompt;
  prompt.tokens.assign(tokens.begin(), tokens.end());
  Logits(prompt, chunk, on_row);
} catch (...) {
  RethrowAsError();
}

void Model::Logits(const Prompt& prompt, std::int64_t chunk,
                   const std::function<void(std::int64_t, std::span<const float>)>& on_row) try {
  const SoftPrompt soft = Soften(*this, prompt);
  impl_->thread->Exclusive([&](Engine& engine) { LogitsOf(engine, soft, chunk, on_row); });
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
