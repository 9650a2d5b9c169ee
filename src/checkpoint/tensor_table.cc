#include "checkpoint/tensor_table.h"

#include <charconv>
#include <iterator>
#include <optional>

namespace culet {
namespace {

// One size of a shape: its name for messages, its value for layer `layer` (-1 outside layers).
enum class Size {
  kVocab,
  kPleVocab,
  kHidden,
  kPleWidth,
  kPleTotal,
  kQueries,
  kKeys,
  kHeadDim,
  kIntermediate,
  kExperts,
  kExpertPairs,
  kExpertWidth,
  kOne,
};

struct SizeText {
  Size size;
  const char* text;
};

constexpr SizeText kSizeTexts[] = {
    {Size::kVocab, "vocab_size"},
    {Size::kPleVocab, "vocab_size_per_layer_input"},
    {Size::kHidden, "hidden_size"},
    {Size::kPleWidth, "hidden_size_per_layer_input"},
    {Size::kPleTotal, "num_hidden_layers·hidden_size_per_layer_input"},
    {Size::kQueries, "num_attention_heads·head_dim"},
    {Size::kKeys, "num_key_value_heads·head_dim"},
    {Size::kHeadDim, "head_dim"},
    {Size::kIntermediate, "intermediate_size"},
    {Size::kExperts, "num_experts"},
    {Size::kExpertPairs, "2·moe_intermediate_size"},
    {Size::kExpertWidth, "moe_intermediate_size"},
    {Size::kOne, "1"},
};

enum class When {
  kAlways,
  kPle,     // hidden_size_per_layer_input > 0
  kOwnsKv,  // the layer writes KV
  kOwnsV,   // … and projects V apart from K
  kExperts,
  kUntied,  // tie_word_embeddings false
};

constexpr int kMaxShape = 3;

struct Row {
  const char* name;  // short name; of a layer: what follows "layers.{i}."
  Size shape[kMaxShape];
  int rank;
  const char* part;
  When when;
};

// The table (transformers: Gemma4ForCausalLM and Gemma4UnifiedForCausalLM as they are saved).
constexpr Row kBefore[] = {
    {"embed_tokens.weight", {Size::kVocab, Size::kHidden}, 2, "embedding", When::kAlways},
    {"embed_tokens_per_layer.weight",
     {Size::kPleVocab, Size::kPleTotal},
     2,
     "per-layer embedding",
     When::kPle},
    {"per_layer_model_projection.weight",
     {Size::kPleTotal, Size::kHidden},
     2,
     "per-layer projection",
     When::kPle},
    {"per_layer_projection_norm.weight", {Size::kPleWidth}, 1, "norms", When::kPle},
};

constexpr Row kLayer[] = {
    {"input_layernorm.weight", {Size::kHidden}, 1, "norms", When::kAlways},
    {"self_attn.q_proj.weight", {Size::kQueries, Size::kHidden}, 2, "attention", When::kAlways},
    {"self_attn.q_norm.weight", {Size::kHeadDim}, 1, "norms", When::kAlways},
    {"self_attn.k_proj.weight", {Size::kKeys, Size::kHidden}, 2, "attention", When::kOwnsKv},
    {"self_attn.k_norm.weight", {Size::kHeadDim}, 1, "norms", When::kOwnsKv},
    {"self_attn.v_proj.weight", {Size::kKeys, Size::kHidden}, 2, "attention", When::kOwnsV},
    {"self_attn.o_proj.weight", {Size::kHidden, Size::kQueries}, 2, "attention", When::kAlways},
    {"post_attention_layernorm.weight", {Size::kHidden}, 1, "norms", When::kAlways},
    {"pre_feedforward_layernorm.weight", {Size::kHidden}, 1, "norms", When::kAlways},
    {"mlp.gate_proj.weight", {Size::kIntermediate, Size::kHidden}, 2, "mlp", When::kAlways},
    {"mlp.up_proj.weight", {Size::kIntermediate, Size::kHidden}, 2, "mlp", When::kAlways},
    {"mlp.down_proj.weight", {Size::kHidden, Size::kIntermediate}, 2, "mlp", When::kAlways},
    {"post_feedforward_layernorm_1.weight", {Size::kHidden}, 1, "norms", When::kExperts},
    {"router.proj.weight", {Size::kExperts, Size::kHidden}, 2, "router", When::kExperts},
    {"router.scale", {Size::kHidden}, 1, "router", When::kExperts},
    {"router.per_expert_scale", {Size::kExperts}, 1, "router", When::kExperts},
    {"pre_feedforward_layernorm_2.weight", {Size::kHidden}, 1, "norms", When::kExperts},
    {"experts.gate_up_proj",
     {Size::kExperts, Size::kExpertPairs, Size::kHidden},
     3,
     "experts",
     When::kExperts},
    {"experts.down_proj",
     {Size::kExperts, Size::kHidden, Size::kExpertWidth},
     3,
     "experts",
     When::kExperts},
    {"post_feedforward_layernorm_2.weight", {Size::kHidden}, 1, "norms", When::kExperts},
    {"post_feedforward_layernorm.weight", {Size::kHidden}, 1, "norms", When::kAlways},
    {"per_layer_input_gate.weight",
     {Size::kPleWidth, Size::kHidden},
     2,
     "per-layer projection",
     When::kPle},
    {"per_layer_projection.weight",
     {Size::kHidden, Size::kPleWidth},
     2,
     "per-layer projection",
     When::kPle},
    {"post_per_layer_input_norm.weight", {Size::kHidden}, 1, "norms", When::kPle},
    {"layer_scalar", {Size::kOne}, 1, "norms", When::kAlways},
};

constexpr Row kAfter[] = {
    {"norm.weight", {Size::kHidden}, 1, "norms", When::kAlways},
    {"lm_head.weight", {Size::kVocab, Size::kHidden}, 2, "head", When::kUntied},
};

bool Holds(When when, const ModelConfig& config, const LayerConfig* layer) {
  switch (when) {
    case When::kAlways: return true;
    case When::kPle: return config.ple_width > 0;
    case When::kOwnsKv: return layer->owns_kv;
    case When::kOwnsV: return layer->owns_kv && !layer->k_eq_v;
    case When::kExperts: return config.experts > 0;
    case When::kUntied: return !config.tie_word_embeddings;
  }
  return false;
}

// No overflow: config.cc caps every size.
std::int64_t Value(Size size, const ModelConfig& config, const LayerConfig* layer) {
  switch (size) {
    case Size::kVocab: return config.vocab;
    case Size::kPleVocab: return config.ple_vocab;
    case Size::kHidden: return config.hidden;
    case Size::kPleWidth: return config.ple_width;
    case Size::kPleTotal: return static_cast<std::int64_t>(config.layers.size()) * config.ple_width;
    case Size::kQueries: return config.heads * layer->head_dim;
    case Size::kKeys: return layer->kv_heads * layer->head_dim;
    case Size::kHeadDim: return layer->head_dim;
    case Size::kIntermediate: return layer->intermediate;
    case Size::kExperts: return config.experts;
    case Size::kExpertPairs: return 2 * config.expert_intermediate;
    case Size::kExpertWidth: return config.expert_intermediate;
    case Size::kOne: return 1;
  }
  return 0;
}

std::string Text(Size size, const LayerConfig* layer, const ModelConfig& config) {
  for (const SizeText& row : kSizeTexts) {
    if (row.size != size) continue;
    // The doubled width of layers that share KV is no field of its own.
    const bool doubled = size == Size::kIntermediate && layer != nullptr && !layer->owns_kv &&
                         layer->intermediate == 2 * config.layers.front().intermediate;
    return doubled ? std::string("2·") + row.text : row.text;
  }
  return "";
}

void Add(const Row& row, const std::string& prefix, const ModelConfig& config,
         const LayerConfig* layer, std::vector<ExpectedTensor>* tensors) {
  if (!Holds(row.when, config, layer)) return;
  ExpectedTensor tensor;
  tensor.name = prefix + row.name;
  tensor.part = row.part;
  for (int i = 0; i < row.rank; ++i) {
    tensor.shape.push_back(Value(row.shape[i], config, layer));
    tensor.symbolic_shape += (i == 0 ? "[" : ", ") + Text(row.shape[i], layer, config);
  }
  tensor.symbolic_shape += "]";
  tensors->push_back(std::move(tensor));
}

// "layers.17.rest" → 17 and "rest".
struct LayerName {
  std::size_t layer;
  std::string_view rest;
};

std::optional<LayerName> SplitLayerName(std::string_view name) {
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(kLayers)) return std::nullopt;
  name.remove_prefix(kLayers.size());
  LayerName result{};
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), result.layer);
  if (error != std::errc() || end == name.data() + name.size() || *end != '.') return std::nullopt;
  result.rest = name.substr(static_cast<std::size_t>(end - name.data()) + 1);
  return result;
}

struct Unused {
  std::string_view prefix;
  const char* reason;
};

// Parts of multimodal checkpoints that text does without, where the encoder is not computed with.
constexpr Unused kMedia[] = {
    {"model.vision_tower.", "vision tower: not used"},
    {"model.vision_embedder.", "vision embedder: not used"},
    {"model.embed_vision.", "vision embedder: not used"},
    {"model.audio_tower.", "audio tower: not used"},
    {"model.embed_audio.", "audio embedder: not used"},
};

}  // namespace

std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& config) {
  std::vector<ExpectedTensor> tensors;
  for (const Row& row : kBefore) Add(row, "", config, nullptr, &tensors);
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const std::string prefix = "layers." + std::to_string(i) + ".";
    for (const Row& row : kLayer) Add(row, prefix, config, &config.layers[i], &tensors);
  }
  for (const Row& row : kAfter) Add(row, "", config, nullptr, &tensors);
  return tensors;
}

std::string_view TensorPrefix(const ModelConfig& config) {
  return config.conditional ? "model.language_model." : "model.";
}

std::string FullTensorName(const ModelConfig& config, std::string_view short_name) {
  if (short_name == "lm_head.weight") return std::string(short_name);
  return std::string(TensorPrefix(config)) + std::string(short_name);
}

std::string UnusedReason(const ModelConfig& config, std::string_view full_name) {
  if (config.conditional) {
    for (const Unused& media : kMedia) {
      if (full_name.starts_with(media.prefix)) return media.reason;
    }
  }
  // Files of this method hold them for programs that keep K and V as the phones' runtime does;
  // transformers drops them by name.
  const bool kv_scale =
      full_name.ends_with(".k_cache_scale") || full_name.ends_with(".v_cache_scale");
  if (kv_scale && config.quantization && config.quantization->method == QuantMethod::kGemma) {
    return "scale of a quantised KV cache: culet keeps K and V in a format of its own";
  }
  const std::string_view prefix = TensorPrefix(config);
  if (!full_name.starts_with(prefix)) return "";
  const std::optional<LayerName> name = SplitLayerName(full_name.substr(prefix.size()));
  if (!name || name->layer >= config.layers.size()) return "";
  const LayerConfig& layer = config.layers[name->layer];
  // The converter of E2B and E4B writes them; transformers drops them by name.
  for (const std::string_view field : {"k_proj", "v_proj", "k_norm"}) {
    // What a quantised one has beside its weight too.
    if (layer.owns_kv || !name->rest.starts_with("self_attn." + std::string(field) + ".")) continue;
    return "layer " + std::to_string(name->layer) + " shares the KV of layer " +
           std::to_string(layer.kv_source) + "; its own " + std::string(field) + " is not used";
  }
  return "";
}

}  // namespace culet
