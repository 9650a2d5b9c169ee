// What a model is and what running it takes, from config and headers alone.
#include <algorithm>
#include <string>

#include "api/boundary.h"
#include "api/model_impl.h"
#include "api/text_processor_impl.h"
#include "base/cpu_features.h"
#include "checkpoint/sizes.h"
#include "media/processor_config.h"
#include "media/target_size.h"
#include "ops/context.h"

namespace culet {
namespace {

// Multiply-adds of one row in layer `index`, its K and V apart.
struct LayerWork {
  std::uint64_t kv = 0;
  std::uint64_t rest = 0;
};

LayerWork WorkOf(const ModelConfig& config, std::size_t index) {
  const LayerConfig& layer = config.layers[index];
  LayerWork work;
  if (layer.owns_kv) {
    work.kv = static_cast<std::uint64_t>(config.hidden * layer.kv_heads * layer.head_dim *
                                         (layer.k_eq_v ? 1 : 2));
  }
  std::int64_t rest = 2 * config.hidden * config.heads * layer.head_dim;  // q and o
  rest += 3 * config.hidden * layer.intermediate;
  rest += 2 * config.hidden * config.ple_width;
  rest += config.hidden * config.experts;  // router
  rest += 3 * config.hidden * config.expert_intermediate * config.experts_per_token;
  work.rest = static_cast<std::uint64_t>(rest);
  return work;
}

// A prompt row that nobody asks for ends in the last layer that stores KV, as soon as that is
// stored; the per-layer embeddings of the layers behind are not made for it either.
std::uint64_t WorkPerPromptToken(const ModelConfig& config) {
  const std::size_t last_kv_layer = static_cast<std::size_t>(config.first_shared_layer() - 1);
  std::uint64_t work = WorkOf(config, last_kv_layer).kv;
  for (std::size_t index = 0; index < last_kv_layer; ++index) {
    const LayerWork layer = WorkOf(config, index);
    work += layer.kv + layer.rest;
  }
  return work + last_kv_layer * static_cast<std::uint64_t>(config.ple_width * config.hidden);
}

std::uint64_t WorkPerDecodedToken(const ModelConfig& config) {
  std::uint64_t work = static_cast<std::uint64_t>(config.vocab * config.hidden);  // head
  for (std::size_t index = 0; index < config.layers.size(); ++index) {
    const LayerWork layer = WorkOf(config, index);
    work += layer.kv + layer.rest;
  }
  return work + config.layers.size() * static_cast<std::uint64_t>(config.ple_width * config.hidden);
}

void DescribeShape(const ModelConfig& config, ModelInfo* info) {
  info->variant = config.variant();
  info->model_type = config.model_type;
  info->layers = static_cast<std::int64_t>(config.layers.size());
  info->shared_kv_layers = config.kv_shared_layers;
  info->hidden = config.hidden;
  info->vocab = config.vocab;
  info->heads = config.heads;
  info->window = config.window;
  info->max_positions = config.max_positions;
  info->ple_width = config.ple_width;
  info->experts = config.experts;
  info->experts_per_token = config.experts_per_token;
  info->expert_intermediate = config.expert_intermediate;
  info->vision_tower = config.vision_tower;
  info->audio_tower = config.audio_tower;
  info->intermediate = config.layers.front().intermediate;
  for (const LayerConfig& layer : config.layers) {
    const bool sliding = layer.kind == LayerKind::kSliding;
    ++(sliding ? info->sliding_layers : info->full_layers);
    (sliding ? info->sliding_head_dim : info->full_head_dim) = layer.head_dim;
    (sliding ? info->sliding_kv_heads : info->full_kv_heads) = layer.kv_heads;
    info->widest_intermediate = std::max(info->widest_intermediate, layer.intermediate);
    info->k_eq_v = info->k_eq_v || layer.k_eq_v;
  }
}

// As the option is spelled, in the capitals of all dtypes: safetensors' own name for it is I8.
std::string KvName(DType dtype) {
  return dtype == DType::kI8 ? "INT8" : std::string(DTypeName(dtype));
}

void DescribeWeights(const Checkpoint& checkpoint, ModelInfo* info) {
  switch (checkpoint.main_format()) {
    case WeightFormat::kInt8Tiles: info->dtype = "INT8"; break;
    case WeightFormat::kInt4Tiles: info->dtype = "INT4"; break;
    default: info->dtype = DTypeName(checkpoint.main_dtype());
  }
  const std::optional<QuantizationConfig>& quantization = checkpoint.config().quantization;
  if (quantization && quantization->method == QuantMethod::kCompressedTensors) {
    info->dtype += " (compressed-tensors)";
  } else if (quantization && quantization->method == QuantMethod::kGemma) {
    info->dtype += " (gemma)";
  }
  info->tied_head = checkpoint.head_is_embedding();
  for (const PartWeight& part : SizesByPart(checkpoint)) {
    info->parts.push_back({part.part, part.parameters, part.bytes});
    info->parameters += part.parameters;
    info->weight_bytes += part.bytes;
  }
  for (const PartWeight& part : MediaSizesByPart(checkpoint)) {
    info->parts.push_back({part.part, part.parameters, part.bytes});
    info->parameters += part.parameters;
    info->weight_bytes += part.bytes;
  }
  for (const Checkpoint::Listing& listing : checkpoint.listings()) {
    if (listing.use != TensorUse::kUnused) continue;
    info->unused_bytes += listing.bytes;
    info->unused.emplace_back(listing.name, listing.reason);
  }
  const DecodeReads reads = ReadsPerToken(checkpoint);
  info->bytes_per_token = reads.weight_bytes;
  info->rows_read_bytes = reads.row_bytes;
  info->macs_per_prompt_token = WorkPerPromptToken(checkpoint.config());
  info->macs_per_decoded_token = WorkPerDecodedToken(checkpoint.config());
}

// Bytes of the files that are read once, when they are repacked or noted.
std::uint64_t NotMappedBytes(const Checkpoint& checkpoint, TensorUse use) {
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const QuantizedTensor* integers = checkpoint.quantized(name);
    if (integers == nullptr || integers->use != use) continue;
    bytes += integers->bytes() - integers->mapped_bytes();
  }
  return bytes;
}

// Bytes of the files that text does not make resident as a whole: tables that are read row by row,
// encoders of media, and what is repacked.
std::uint64_t NotResidentBytes(const Checkpoint& checkpoint) {
  std::uint64_t bytes = 0;
  for (const PartWeight& part : MediaSizesByPart(checkpoint)) bytes += part.bytes;
  for (const char* name : {"embed_tokens_per_layer.weight", "embed_tokens.weight"}) {
    const bool is_head =
        std::string(name) == "embed_tokens.weight" && checkpoint.head_is_embedding();
    if (!checkpoint.has_tensor(name) || is_head) continue;
    const QuantizedTensor* integers = checkpoint.quantized(name);
    bytes += integers != nullptr ? integers->mapped_bytes() : checkpoint.stored_bytes(name);
  }
  return bytes + NotMappedBytes(checkpoint, TensorUse::kText);
}

// What is wrong with the file is said to who shows the model something.
ProcessorConfig ProcessorOf(const std::filesystem::path& folder) {
  try {
    return LoadProcessorConfig(FileSystem::Real(), folder);
  } catch (const Error&) {
    return {};
  }
}

// What a prompt holds of a picture of `image_tokens` and of 60 s of video: pixels in the size that
// the model sees, samples, and what becomes of them.
std::uint64_t PreparedBytes(const ModelConfig& config, const ProcessorConfig& processor,
                            std::int64_t image_tokens) {
  constexpr std::int64_t kSeconds = 60;
  std::int64_t bytes = 0;
  if (config.vision) {
    const std::int64_t side = config.vision->patch_size * config.vision->pooling_kernel_size;
    const std::int64_t frames = processor.video.fps
                                    ? static_cast<std::int64_t>(kSeconds * *processor.video.fps)
                                    : processor.video.num_frames.value_or(32);
    const std::int64_t tokens = image_tokens + frames * processor.video.frame.max_soft_tokens;
    bytes += tokens * side * side * 3;
  }
  if (config.audio) {
    const std::int64_t samples = kSeconds * 16000;
    const std::int64_t features = config.audio->kind == EncoderKind::kTower
                                      ? kSeconds * 100 * config.audio->mel_bins()
                                      : samples;
    bytes += (samples + features) * static_cast<std::int64_t>(sizeof(float));
  }
  return static_cast<std::uint64_t>(bytes);
}

// While a picture of 12 million pixels is decoded (MediaLimits says how much a pixel takes). A
// video of 1920 × 1080 takes less.
constexpr std::uint64_t kDecodingBytes = std::uint64_t{84} << 20;

std::uint64_t MediaBytes(const Checkpoint& checkpoint, const LoadOptions& options,
                         const KvPlan& plan, int threads) {
  const ModelConfig& config = checkpoint.config();
  const bool sees = checkpoint.vision_error().empty();
  if (!sees && !checkpoint.audio_error().empty()) return 0;
  const std::int64_t image_tokens = options.image_tokens.value_or(kSoftTokenBudgets.back());
  const MediaEncoders::Plan encoders = MediaEncoders::PlanMemory(checkpoint, image_tokens, threads);
  std::uint64_t bytes = encoders.kept_bytes + std::max(encoders.passing_bytes, kDecodingBytes);
  bytes += PreparedBytes(config, ProcessorOf(checkpoint.folder()), image_tokens);
  for (const PartWeight& part : MediaSizesByPart(checkpoint)) bytes += part.bytes;
  bytes -= NotMappedBytes(checkpoint, TensorUse::kMedia);
  if (sees && config.bidirectional_vision) {
    KvPlan roomy = plan;
    roomy.MakeRoomFor(image_tokens);
    bytes += PlanMemory(config, roomy, threads).total() - PlanMemory(config, plan, threads).total();
  }
  return bytes;
}

}  // namespace

ModelInfo DescribeCheckpoint(const Checkpoint& checkpoint, const std::filesystem::path& path,
                             const LoadOptions& options) {
  ModelInfo info;
  info.path = path.string();
  DescribeShape(checkpoint.config(), &info);
  DescribeWeights(checkpoint, &info);

  const KvPlan plan = ResolveKvPlan(checkpoint.config(), checkpoint.main_dtype(), options);
  info.threads = ResolveThreads(options);
  const MemoryPlan memory = PlanMemory(checkpoint.config(), plan, info.threads);
  info.context = plan.context;
  info.chunk = plan.chunk;
  info.sequences = plan.sequences;
  info.pool_tokens = plan.pool_tokens;
  info.kv_dtype = KvName(plan.dtype);
  const KvSize kv = KvSizeAt(checkpoint.config(), plan.context, plan.dtype);
  info.sliding_kv_bytes_per_token = kv.bytes_per_token[static_cast<int>(LayerKind::kSliding)];
  info.full_kv_bytes_per_token = kv.bytes_per_token[static_cast<int>(LayerKind::kFull)];
  info.kv_bytes = memory.kv_bytes;
  info.activation_bytes = memory.activation_bytes;
  info.inputs = {"text"};
  if (checkpoint.vision_error().empty()) info.inputs.insert(info.inputs.end(), {"image", "video"});
  if (checkpoint.audio_error().empty()) info.inputs.emplace_back("audio");
  info.media_bytes = MediaBytes(checkpoint, options, plan, info.threads);
  info.resident_bytes = info.weight_bytes - NotResidentBytes(checkpoint) +
                        checkpoint.repacked_bytes() + memory.total();
  info.cpu_model = CpuModelName();
  info.cpu_level = CpuLevelName(ResolveLevel(options));
  info.has_chat_template = ReadChatTemplate(FileSystem::Real(), checkpoint.folder()).has_value();
  info.warnings = checkpoint.warnings();
  for (const std::string& warning : checkpoint.config().warnings) {
    if (std::find(info.warnings.begin(), info.warnings.end(), warning) == info.warnings.end()) {
      info.warnings.push_back(warning);
    }
  }
  if (info.context > info.max_positions) {
    info.warnings.push_back("LoadOptions::context " + std::to_string(info.context) +
                            " is more than the max_position_embeddings of " +
                            std::to_string(info.max_positions) +
                            " that the model was made for; answers beyond it may be poor");
  }
  return info;
}

ModelInfo Describe(const std::filesystem::path& path, const LoadOptions& options) try {
  return DescribeCheckpoint(OpenCheckpoint(path, options), path, options);
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
