// config.json → ModelConfig: everything that decides the shape of a Gemma 4 text decoder, and of
// what makes rows of media for it.
//
// Source: docs/spec of the family as in transformers (Gemma4TextConfig, Gemma4UnifiedTextConfig).
// The config decides, never a name: what is unknown is refused by field name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/media_config.h"
#include "checkpoint/quantization_config.h"

namespace culet {

enum class LayerKind { kSliding, kFull };
inline constexpr int kLayerKinds = 2;
std::string_view LayerKindName(LayerKind kind);  // "sliding_attention", "full_attention"

// One kind of layer's rotary embedding.
struct RopeConfig {
  bool proportional = false;           // rope_type "proportional", else "default"
  double theta = 10000.0;              // rope_theta
  double partial_rotary_factor = 1.0;  // proportional only
  double factor = 1.0;                 // proportional only; divides the frequencies

  // Pairs of dimensions of a head that turn; the others stand still.
  std::int64_t TurningPairs(std::int64_t head_dim) const;
};

// What differs from layer to layer, resolved.
struct LayerConfig {
  LayerKind kind = LayerKind::kSliding;
  std::int64_t head_dim = 0;
  std::int64_t kv_heads = 0;
  std::int64_t intermediate = 0;  // width of the (dense) MLP
  bool k_eq_v = false;            // v is the raw k projection; there is no v_proj
  bool owns_kv = true;            // false: reads the KV of layer kv_source
  int kv_source = 0;              // the layer itself where owns_kv
};

struct ModelConfig {
  std::string model_type;        // of the text config: "gemma4_text", "gemma4_unified_text"
  std::string outer_model_type;  // top level: "gemma4", "gemma4_unified", or the text type itself
  bool conditional = false;      // text_config was inside: tensors start with model.language_model.
  std::int64_t vocab = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t window = 0;               // sliding_window; counts the token itself
  std::int64_t max_positions = 0;        // max_position_embeddings
  std::int64_t ple_width = 0;            // hidden_size_per_layer_input; 0: none
  std::int64_t ple_vocab = 0;            // vocab_size_per_layer_input; 0 where ple_width is 0
  std::int64_t experts = 0;              // 0: dense
  std::int64_t experts_per_token = 0;    // top_k_experts
  std::int64_t expert_intermediate = 0;  // moe_intermediate_size
  double rms_norm_eps = 1e-6;
  std::optional<double> logit_softcap;  // final_logit_softcapping
  bool tie_word_embeddings = true;      // top level of the file only
  RopeConfig rope[kLayerKinds];         // by LayerKind
  std::vector<LayerConfig> layers;
  int kv_shared_layers = 0;   // num_kv_shared_layers
  bool vision_tower = false;  // config names one (text use ignores it)
  bool audio_tower = false;
  // What turns images and videos, and sounds, into rows of this model; absent where the config has
  // none or the reason in …_error refuses it.
  std::optional<VisionConfig> vision;
  std::optional<AudioConfig> audio;
  std::string vision_error, audio_error;
  MediaTokens media_tokens;
  std::optional<QuantizationConfig> quantization;
  bool bidirectional_vision = false;  // use_bidirectional_attention == "vision"
  std::int64_t bos_token = 2, eos_token = 1, pad_token = 0;
  std::vector<std::string> warnings;  // what a user should know: last layer forced full, …

  // Layers below this index own KV; prompt rows whose logits are not wanted stop there.
  int first_shared_layer() const { return static_cast<int>(layers.size()) - kv_shared_layers; }
  const RopeConfig& rope_of(LayerKind kind) const { return rope[static_cast<int>(kind)]; }
  // Values of a head of that layer, which owns KV, that its rotation turns, where its K and V are
  // kept in one row as `dtype` (base/kv_format.h); 0: in two. One row serves layers whose V is the
  // raw K and whose KV nobody shares, as it needs the layer's own k_norm to be read.
  std::int64_t kv_turning(const LayerConfig& layer, DType dtype) const;
  // "E2B", "E4B", "12B", "26B-A4B", "31B" where the sizes are those published, else a description
  // ("dense, 6 layers, hidden 48").
  std::string variant() const;
};

// "text_config.KEY=VALUE" (or "KEY=VALUE" at the top), VALUE as JSON or else a plain string.
struct ConfigOverride {
  std::string key;
  std::string value;
};

// Reads and checks config.json. Throws Error naming file, field, found, expected.
ModelConfig LoadModelConfig(FileSystem& files, const std::filesystem::path& config_json,
                            const std::vector<ConfigOverride>& overrides = {});
// The same from parsed JSON; `place` names the file in errors.
ModelConfig ParseModelConfig(const Json& config, const std::string& place);

}  // namespace culet
