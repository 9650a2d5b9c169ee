#include "checkpoint/config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "base/config_fields.h"
#include "base/error.h"
#include "base/kv_format.h"

namespace culet {
namespace {

// Caps of sizes. They lie far above every model, and low enough that every product of them that
// becomes a number of bytes stays below 2^63: L·E·3·M·H·4 < 2^60, V·L·P·4 < 2^49.
constexpr std::int64_t kMaxVocab = 1 << 22;
constexpr std::int64_t kMaxHidden = 1 << 16;
constexpr std::int64_t kMaxIntermediate = 1 << 19;
constexpr std::int64_t kMaxLayers = 1 << 10;
constexpr std::int64_t kMaxHeads = 1 << 12;
constexpr std::int64_t kMaxHeadDim = 1 << 12;
constexpr std::int64_t kMaxPleWidth = 1 << 14;
constexpr std::int64_t kMaxExperts = 1 << 12;
constexpr std::int64_t kMaxExpertIntermediate = 1 << 17;
// float32 counts positions exactly up to 2^24, and rope multiplies a float32 position.
constexpr std::int64_t kMaxPositions = 1 << 24;
constexpr std::int64_t kMaxToken = kMaxVocab - 1;

// Fields of the text class that the unified text class does not have.
constexpr std::string_view kNotUnified[] = {"enable_moe_block",      "hidden_size_per_layer_input",
                                            "moe_intermediate_size", "num_experts",
                                            "top_k_experts",         "vocab_size_per_layer_input"};

constexpr std::array<std::string_view, kLayerKinds> kKindNames = {"sliding_attention",
                                                                  "full_attention"};

std::vector<LayerKind> ReadLayerTypes(ConfigFields& fields, std::int64_t layers,
                                      std::vector<std::string>* warnings) {
  std::vector<LayerKind> kinds;
  const Json* types = fields.Find("layer_types");
  if (types == nullptr) {
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      kinds.push_back((layer + 1) % 6 == 0 ? LayerKind::kFull : LayerKind::kSliding);
    }
  } else {
    if (!types->is_array()) fields.Refuse("layer_types", "an array of names");
    if (types->size() != static_cast<std::size_t>(layers)) {
      throw Error(ErrorKind::kCorrupt,
                  fields.Name("layer_types") + " has " + std::to_string(types->size()) +
                      " entries; expected num_hidden_layers = " + std::to_string(layers));
    }
    for (std::size_t layer = 0; layer < types->size(); ++layer) {
      const Json& name = (*types)[layer];
      const auto kind = std::find(kKindNames.begin(), kKindNames.end(),
                                  name.is_string() ? name.get<std::string>() : std::string());
      if (kind == kKindNames.end()) {
        throw Error(ErrorKind::kUnsupported,
                    fields.Name("layer_types[" + std::to_string(layer) + "]") + " is " +
                        JsonExcerpt(name) +
                        "; culet knows \"sliding_attention\" and \"full_attention\"");
      }
      kinds.push_back(static_cast<LayerKind>(kind - kKindNames.begin()));
    }
  }
  // transformers (Gemma4TextConfig) does so before anything else reads the list.
  if (kinds.back() != LayerKind::kFull) {
    if (types != nullptr) {
      warnings->push_back(fields.Name("layer_types") +
                          ": the last layer is given as sliding_attention; it is computed as "
                          "full_attention, as transformers does");
    }
    kinds.back() = LayerKind::kFull;
  }
  return kinds;
}

void ReadRope(ConfigFields& fields, const std::string& prefix, const std::vector<LayerKind>& kinds,
              ModelConfig* config) {
  config->rope[static_cast<int>(LayerKind::kSliding)] = {false, 10000.0, 1.0, 1.0};
  config->rope[static_cast<int>(LayerKind::kFull)] = {true, 1000000.0, 0.25, 1.0};
  const Json* parameters = fields.Find("rope_parameters");
  if (parameters == nullptr) return;
  const std::string name = prefix + "rope_parameters.";
  ConfigFields by_kind(*parameters, fields.place(), name);
  for (int kind = 0; kind < kLayerKinds; ++kind) {
    const std::string key(kKindNames[static_cast<std::size_t>(kind)]);
    const Json* entry = by_kind.Find(key);
    const bool used =
        std::find(kinds.begin(), kinds.end(), static_cast<LayerKind>(kind)) != kinds.end();
    if (entry == nullptr) {
      if (used)
        by_kind.Refuse(key,
                       "an object with rope_type and rope_theta: layers of this kind "
                       "are in use");
      continue;
    }
    ConfigFields rope_fields(*entry, fields.place(), name + key + ".");
    RopeConfig& rope = config->rope[kind];
    const std::string type = rope_fields.OptionalString("rope_type").value_or("default");
    if (type != "default" && type != "proportional") {
      rope_fields.Refuse("rope_type", "\"default\" or \"proportional\"", ErrorKind::kUnsupported);
    }
    rope.proportional = type == "proportional";
    const std::optional<double> theta = rope_fields.OptionalNumber("rope_theta", 1e-3, 1e15);
    if (!theta) rope_fields.Refuse("rope_theta", "a positive number");
    rope.theta = *theta;
    rope.partial_rotary_factor = rope_fields.Number("partial_rotary_factor", 1.0, 0.0, 1.0);
    rope.factor = rope_fields.Number("factor", 1.0, 1e-6, 1e6);
    if (!rope.proportional) {
      // transformers' default rope reads neither.
      if (rope.factor != 1.0) {
        config->warnings.push_back(rope_fields.Name("factor") +
                                   " has no effect with rope_type \"default\"");
      }
      rope.partial_rotary_factor = 1.0;
      rope.factor = 1.0;
    }
    rope_fields.RefuseUnknown("rope_parameters");
  }
  by_kind.RefuseUnknown("rope_parameters, which has an entry for each kind of layer");
}

// per_layer_config: an object from the layer's index ("5" or "05") to the fields that differ there.
void ReadPerLayerConfig(ConfigFields& fields, const std::string& prefix, const Json& table,
                        ModelConfig* config) {
  if (table.is_null()) return;
  if (!table.is_object()) fields.Refuse("per_layer_config", "an object");
  std::vector<bool> seen(config->layers.size(), false);
  for (const auto& [key, entry] : table.items()) {
    const std::string name = "per_layer_config." + DisplayName(key);
    const bool digits =
        !key.empty() && key.size() <= 6 && key.find_first_not_of("0123456789") == std::string::npos;
    const std::size_t layer = digits ? static_cast<std::size_t>(std::stoul(key)) : SIZE_MAX;
    if (layer >= config->layers.size()) {
      throw Error(ErrorKind::kCorrupt, fields.Name(name) +
                                           " is not a layer; expected a decimal "
                                           "index from 0 to " +
                                           std::to_string(config->layers.size() - 1));
    }
    if (seen[layer]) {
      throw Error(ErrorKind::kCorrupt, fields.Name(name) +
                                           " stands twice with different zeros in "
                                           "front; keep one of them");
    }
    seen[layer] = true;
    ConfigFields layer_fields(entry, fields.place(), prefix + name + ".");
    LayerConfig& target = config->layers[layer];
    target.head_dim = layer_fields.Int("head_dim", target.head_dim, 2, kMaxHeadDim);
    target.kv_heads = layer_fields.Int("num_key_value_heads", target.kv_heads, 1, kMaxHeads);
    layer_fields.RefuseUnknown("per_layer_config; it knows head_dim and num_key_value_heads");
  }
}

void ReadGeometry(ConfigFields& fields, const std::string& prefix, ModelConfig* config) {
  const std::int64_t head_dim = fields.RequiredInt("head_dim", 2, kMaxHeadDim);
  const std::int64_t kv_heads = fields.RequiredInt("num_key_value_heads", 1, kMaxHeads);
  const bool k_eq_v = fields.Bool("attention_k_eq_v", false);
  for (LayerConfig& layer : config->layers) {
    layer.head_dim = head_dim;
    layer.kv_heads = kv_heads;
    layer.k_eq_v = k_eq_v && layer.kind == LayerKind::kFull;
  }
  // Present, even empty or null, it alone counts: transformers drops the two global fields then.
  const Json* per_layer = fields.FindOrNull("per_layer_config");
  if (per_layer != nullptr) {
    const std::string_view global[] = {"global_head_dim", "num_global_key_value_heads"};
    fields.Ignore(global);
    ReadPerLayerConfig(fields, prefix, *per_layer, config);
    return;
  }
  const std::int64_t global_head_dim = fields.Int("global_head_dim", 512, 2, kMaxHeadDim);
  const std::optional<std::int64_t> global_kv_heads =
      fields.OptionalInt("num_global_key_value_heads", 1, kMaxHeads);
  for (LayerConfig& layer : config->layers) {
    if (layer.kind != LayerKind::kFull) continue;
    layer.head_dim = global_head_dim;
    // Without K=V transformers lets the field lie.
    if (k_eq_v && global_kv_heads) layer.kv_heads = *global_kv_heads;
  }
}

void CheckGeometry(const ConfigFields& fields, const ModelConfig& config) {
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    const std::string where =
        " (layer " + std::to_string(i) + ", " + std::string(LayerKindName(layer.kind)) + ")";
    if (layer.head_dim % 2 != 0) {
      throw Error(ErrorKind::kCorrupt, fields.Name("head_dim") + " is " +
                                           std::to_string(layer.head_dim) + where +
                                           "; expected an even number: rope turns pairs");
    }
    if (config.heads % layer.kv_heads != 0) {
      throw Error(ErrorKind::kCorrupt, fields.Name("num_attention_heads") + " is " +
                                           std::to_string(config.heads) +
                                           "; expected a multiple of num_key_value_heads = " +
                                           std::to_string(layer.kv_heads) + where);
    }
    if (layer.owns_kv) continue;
    const LayerConfig& source = config.layers[static_cast<std::size_t>(layer.kv_source)];
    if (source.head_dim == layer.head_dim && source.kv_heads == layer.kv_heads) continue;
    throw Error(ErrorKind::kCorrupt,
                fields.Name("per_layer_config") + ": layer " + std::to_string(i) +
                    " reads the KV of layer " + std::to_string(layer.kv_source) +
                    " (num_kv_shared_layers), but its num_key_value_heads × head_dim is " +
                    std::to_string(layer.kv_heads) + " × " + std::to_string(layer.head_dim) +
                    " and that layer's is " + std::to_string(source.kv_heads) + " × " +
                    std::to_string(source.head_dim) + "; expected equal ones");
  }
}

// Layers of one kind share their rotary tables; transformers refuses other configs too.
void CheckOneHeadDimAKind(const ConfigFields& fields, const ModelConfig& config) {
  std::int64_t head_dim[kLayerKinds] = {};  // of the first layer of each kind
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    std::int64_t& first = head_dim[static_cast<int>(layer.kind)];
    if (first == 0) first = layer.head_dim;
    if (first == layer.head_dim) continue;
    throw Error(ErrorKind::kUnsupported,
                fields.Name("per_layer_config") + ": head_dim is " +
                    std::to_string(layer.head_dim) + " in layer " + std::to_string(i) + " and " +
                    std::to_string(first) + " in an earlier layer of the kind " +
                    std::string(LayerKindName(layer.kind)) + "; expected one for each kind");
  }
}

void ReadSharing(ConfigFields& fields, ModelConfig* config) {
  const int layers = static_cast<int>(config->layers.size());
  const std::int64_t shared = fields.Int("num_kv_shared_layers", 0, 0, kMaxLayers);
  if (shared >= layers) {
    fields.Refuse("num_kv_shared_layers",
                  "less than num_hidden_layers = " + std::to_string(layers) +
                      ": some layer must own the KV that the others read");
  }
  config->kv_shared_layers = static_cast<int>(shared);
  int last_owner[kLayerKinds] = {-1, -1};
  for (int i = 0; i < layers; ++i) {
    LayerConfig& layer = config->layers[static_cast<std::size_t>(i)];
    layer.owns_kv = i < config->first_shared_layer();
    layer.kv_source = i;
    int& owner = last_owner[static_cast<int>(layer.kind)];
    if (layer.owns_kv) {
      owner = i;
      continue;
    }
    if (owner < 0) {
      throw Error(ErrorKind::kCorrupt, fields.Name("num_kv_shared_layers") + " is " +
                                           std::to_string(shared) + ": layer " + std::to_string(i) +
                                           " (" + std::string(LayerKindName(layer.kind)) +
                                           ") shares KV, but no layer of its kind below layer " +
                                           std::to_string(config->first_shared_layer()) +
                                           " owns any; expected one of each kind that occurs");
    }
    layer.kv_source = owner;
  }
}

void ReadExperts(ConfigFields& fields, ModelConfig* config) {
  const std::string_view sizes[] = {"num_experts", "top_k_experts", "moe_intermediate_size"};
  if (!fields.Bool("enable_moe_block", false)) {
    fields.Ignore(sizes);
    return;
  }
  config->experts = fields.RequiredInt("num_experts", 1, kMaxExperts);
  config->experts_per_token = fields.RequiredInt("top_k_experts", 1, kMaxExperts);
  config->expert_intermediate =
      fields.RequiredInt("moe_intermediate_size", 1, kMaxExpertIntermediate);
  if (config->experts_per_token > config->experts) {
    fields.Refuse("top_k_experts", "at most num_experts = " + std::to_string(config->experts));
  }
}

// The first of several end tokens; the stop tokens to use are in generation_config.json.
std::int64_t ReadToken(ConfigFields& fields, const std::string& key, std::int64_t fallback) {
  const Json* value = fields.Find(key);
  if (value == nullptr) return fallback;
  const Json& first = value->is_array() && !value->empty() ? value->front() : *value;
  const std::optional<std::int64_t> token = JsonInt(first, 0, kMaxToken);
  if (!token) fields.Refuse(key, "a token id from 0 to " + std::to_string(kMaxToken));
  return *token;
}

// Everything of the text config. `prefix` is "text_config." or "".
void ReadTextConfig(ConfigFields& fields, const std::string& prefix, ModelConfig* config) {
  const bool unified = config->model_type == "gemma4_unified_text";
  config->vocab = fields.RequiredInt("vocab_size", 1, kMaxVocab);
  config->hidden = fields.RequiredInt("hidden_size", 1, kMaxHidden);
  config->heads = fields.RequiredInt("num_attention_heads", 1, kMaxHeads);
  const std::int64_t intermediate = fields.RequiredInt("intermediate_size", 1, kMaxIntermediate);
  const std::int64_t layers = fields.RequiredInt("num_hidden_layers", 1, kMaxLayers);
  config->window = fields.Int("sliding_window", unified ? 1024 : 512, 1, kMaxPositions);
  config->max_positions =
      fields.Int("max_position_embeddings", unified ? 262144 : 131072, 1, kMaxPositions);
  config->rms_norm_eps = fields.Number("rms_norm_eps", 1e-6, 1e-30, 1.0);
  config->logit_softcap = fields.OptionalNumber("final_logit_softcapping", 1e-3, 1e6);
  config->bos_token = ReadToken(fields, "bos_token_id", 2);
  config->eos_token = ReadToken(fields, "eos_token_id", 1);
  config->pad_token = ReadToken(fields, "pad_token_id", 0);

  const std::string activation =
      fields.OptionalString("hidden_activation").value_or("gelu_pytorch_tanh");
  if (activation != "gelu_pytorch_tanh") {
    fields.Refuse("hidden_activation", "\"gelu_pytorch_tanh\"", ErrorKind::kUnsupported);
  }
  if (fields.Bool("attention_bias", false)) {
    fields.Refuse("attention_bias", "false; no published Gemma 4 has biases",
                  ErrorKind::kUnsupported);
  }
  // Absent and null differ: the unified class has "vision" as its default.
  const Json* bidirectional = fields.FindOrNull("use_bidirectional_attention");
  if (bidirectional == nullptr) {
    config->bidirectional_vision = unified;
  } else if (!bidirectional->is_null()) {
    if (!IsString(*bidirectional, "vision")) {
      fields.Refuse("use_bidirectional_attention", "null or \"vision\"; culet decodes causally",
                    ErrorKind::kUnsupported);
    }
    config->bidirectional_vision = true;
  }

  const std::vector<LayerKind> kinds = ReadLayerTypes(fields, layers, &config->warnings);
  config->layers.resize(kinds.size());
  for (std::size_t layer = 0; layer < kinds.size(); ++layer) {
    config->layers[layer].kind = kinds[layer];
  }
  ReadRope(fields, prefix, kinds, config);
  ReadGeometry(fields, prefix, config);
  ReadSharing(fields, config);
  CheckGeometry(fields, *config);
  CheckOneHeadDimAKind(fields, *config);

  const bool double_wide = fields.Bool("use_double_wide_mlp", false);
  for (LayerConfig& layer : config->layers) {
    layer.intermediate = double_wide && !layer.owns_kv ? 2 * intermediate : intermediate;
  }
  if (unified) {
    fields.Ignore(kNotUnified);
  } else {
    // 256 where the key is absent, 0 where it is null: so transformers reads it.
    const Json* ple = fields.FindOrNull("hidden_size_per_layer_input");
    config->ple_width = ple == nullptr ? 256
                        : ple->is_null()
                            ? 0
                            : fields.RequiredInt("hidden_size_per_layer_input", 0, kMaxPleWidth);
    const std::int64_t ple_vocab = fields.Int("vocab_size_per_layer_input", 262144, 0, kMaxVocab);
    if (config->ple_width > 0) {
      if (ple_vocab == 0) fields.Refuse("vocab_size_per_layer_input", "at least 1");
      config->ple_vocab = ple_vocab;
    }
    ReadExperts(fields, config);
  }
  RefuseSwitches(fields);
  fields.Ignore(HarmlessFields());
}

// What to say of a model type that is none of the four.
[[noreturn]] void RefuseModelType(const ConfigFields& fields, const std::string& type) {
  std::string hint;
  if (type == "gemma4_assistant" || type == "gemma4_unified_assistant") {
    hint = ". This is a drafter: it speeds up a target model and cannot answer by itself";
  } else if (type.find("diffusion_gemma") != std::string::npos) {
    hint = ". DiffusionGemma is another model";
  }
  fields.Refuse("model_type",
                "\"gemma4\", \"gemma4_unified\", \"gemma4_text\" or \"gemma4_unified_text\"" + hint,
                ErrorKind::kUnsupported);
}

}  // namespace

std::string_view LayerKindName(LayerKind kind) {
  return kKindNames[static_cast<std::size_t>(kind)];
}

std::int64_t RopeConfig::TurningPairs(std::int64_t head_dim) const {
  const std::int64_t pairs = head_dim / 2;
  if (!proportional) return pairs;
  const double turning = std::floor(partial_rotary_factor * static_cast<double>(head_dim) / 2.0);
  return std::min(pairs, static_cast<std::int64_t>(turning));
}

std::int64_t ModelConfig::kv_turning(const LayerConfig& layer, DType dtype) const {
  if (!layer.k_eq_v || kv_shared_layers > 0) return 0;
  const std::int64_t turning = 2 * rope_of(layer.kind).TurningPairs(layer.head_dim);
  const bool whole_groups = dtype != DType::kI8 || turning % kKvGroup == 0;
  return turning < layer.head_dim && whole_groups ? turning : 0;
}

ModelConfig ParseModelConfig(const Json& json, const std::string& place) {
  ConfigFields top(json, place, "");
  ModelConfig config;
  const std::optional<std::string> type = top.OptionalString("model_type");
  if (!type) top.Refuse("model_type", "\"gemma4\" or \"gemma4_unified\" or their text types");
  config.outer_model_type = *type;
  config.tie_word_embeddings = top.Bool("tie_word_embeddings", true);
  config.quantization = ReadQuantization(top);

  static const std::map<std::string, std::string> kTextTypes = {
      {"gemma4", "gemma4_text"},
      {"gemma4_unified", "gemma4_unified_text"},
      {"gemma4_text", "gemma4_text"},
      {"gemma4_unified_text", "gemma4_unified_text"}};
  const auto text_type = kTextTypes.find(*type);
  if (text_type == kTextTypes.end()) RefuseModelType(top, *type);
  config.model_type = text_type->second;

  const Json* text = top.Find("text_config");
  config.conditional = config.model_type != config.outer_model_type;
  if (!config.conditional) {
    if (text != nullptr) {
      top.Refuse("model_type", "\"gemma4\" or \"gemma4_unified\", as the file has a text_config");
    }
    ReadTextConfig(top, "", &config);
    top.RefuseUnknown("a Gemma 4 text config");
    return config;
  }
  if (text == nullptr) top.Refuse("text_config", "an object, as model_type is " + *type);
  ConfigFields fields(*text, place, "text_config.");
  const std::string inner = fields.OptionalString("model_type").value_or(config.model_type);
  if (inner != config.model_type) {
    fields.Refuse("model_type", "\"" + config.model_type + "\", as the outer one is " + *type,
                  ErrorKind::kUnsupported);
  }
  // transformers reads it at the top level alone.
  (void)fields.Bool("tie_word_embeddings", true);
  if (const Json* inner_quantization = fields.Find("quantization_config");
      inner_quantization != nullptr) {
    fields.Refuse("quantization_config", "absent: it stands at the top level of the file",
                  ErrorKind::kUnsupported);
  }
  ReadTextConfig(fields, "text_config.", &config);
  fields.RefuseUnknown("a Gemma 4 text config");

  ReadMediaConfig(top, &config);
  const std::string_view tokens[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
  top.Ignore(tokens);
  RefuseSwitches(top);
  top.Ignore(HarmlessFields());
  top.RefuseUnknown("a Gemma 4 config");
  return config;
}

}  // namespace culet
