#include "checkpoint/published.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "checkpoint/config.h"

namespace culet {
namespace {

constexpr std::int64_t kNone = -1;  // null in the file

struct Published {
  std::string_view size;
  std::string_view variant;
  bool unified;
  std::int64_t hidden, intermediate, layers;
  int period;  // every so manieth layer is full attention
  std::int64_t heads, kv_heads, global_kv_heads;
  bool k_eq_v;
  std::int64_t window, kv_shared;
  bool double_wide;
  std::int64_t ple_width, experts, experts_per_token, expert_intermediate, max_positions;
  bool vision_attention;
};

constexpr std::array<Published, 5> kPublished = {{
    {"e2b", "E2B", false, 1536, 6144, 35,    5,     8,     1,      kNone,
     false, 512,   20,    true, 256,  kNone, kNone, kNone, 131072, false},
    {"e4b", "E4B", false, 2560,  10240, 42,    6,     8,     2,      kNone,
     false, 512,   18,    false, 256,   kNone, kNone, kNone, 131072, false},
    {"12b", "12B", true, 3840,  15360, 48,    6,     16,    8,      1,
     true,  1024,  0,    false, 0,     kNone, kNone, kNone, 262144, true},
    {"26b-a4b", "26B-A4B", false, 2816,  2112, 30,  6, 16,  8,      2,
     true,      1024,      0,     false, 0,    128, 8, 704, 262144, true},
    {"31b", "31B", false, 5376,  21504, 60,    6,     32,    16,     4,
     true,  1024,  0,     false, 0,     kNone, kNone, kNone, 262144, true},
}};

const Published& Find(const std::string& size) {
  std::string lower = size;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const Published& published : kPublished) {
    if (published.size == lower) return published;
  }
  std::string known;
  for (const std::string_view name : PublishedSizes()) {
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ErrorKind::kInvalidArgument,
              "size " + JsonExcerpt(Json(size)) + " is unknown; expected one of " + known);
}

OrderedJson IntOrNull(std::int64_t value) {
  return value == kNone ? OrderedJson(nullptr) : OrderedJson(value);
}

// What tells one published size from every other model, and from each other.
bool SameShape(const ModelConfig& a, const ModelConfig& b) {
  const auto same_layer = [](const LayerConfig& x, const LayerConfig& y) {
    return x.kind == y.kind && x.head_dim == y.head_dim && x.kv_heads == y.kv_heads &&
           x.intermediate == y.intermediate && x.k_eq_v == y.k_eq_v && x.owns_kv == y.owns_kv;
  };
  return a.vocab == b.vocab && a.hidden == b.hidden && a.heads == b.heads && a.window == b.window &&
         a.ple_width == b.ple_width && a.experts == b.experts &&
         a.experts_per_token == b.experts_per_token &&
         a.expert_intermediate == b.expert_intermediate &&
         std::equal(a.layers.begin(), a.layers.end(), b.layers.begin(), b.layers.end(), same_layer);
}

}  // namespace

std::span<const std::string_view> PublishedSizes() {
  static constexpr std::array<std::string_view, 5> kSizes = {"e2b", "e4b", "12b", "26b-a4b", "31b"};
  return kSizes;
}

OrderedJson PublishedTextConfig(const std::string& size) {
  const Published& p = Find(size);
  std::vector<std::string> layer_types;
  for (std::int64_t layer = 0; layer < p.layers; ++layer) {
    const bool full = (layer + 1) % p.period == 0;
    layer_types.emplace_back(LayerKindName(full ? LayerKind::kFull : LayerKind::kSliding));
  }
  OrderedJson json;
  json["architectures"] = {p.unified ? "Gemma4UnifiedForCausalLM" : "Gemma4ForCausalLM"};
  json["model_type"] = p.unified ? "gemma4_unified_text" : "gemma4_text";
  json["tie_word_embeddings"] = true;
  json["dtype"] = "bfloat16";
  json["vocab_size"] = 262144;
  json["hidden_size"] = p.hidden;
  json["intermediate_size"] = p.intermediate;
  json["num_hidden_layers"] = p.layers;
  json["layer_types"] = layer_types;
  json["num_attention_heads"] = p.heads;
  json["num_key_value_heads"] = p.kv_heads;
  json["num_global_key_value_heads"] = IntOrNull(p.global_kv_heads);
  json["head_dim"] = 256;
  json["global_head_dim"] = 512;
  json["attention_k_eq_v"] = p.k_eq_v;
  json["attention_bias"] = false;
  json["attention_dropout"] = 0.0;
  json["sliding_window"] = p.window;
  json["num_kv_shared_layers"] = p.kv_shared;
  json["use_double_wide_mlp"] = p.double_wide;
  if (!p.unified) {
    json["hidden_size_per_layer_input"] = p.ple_width;
    json["vocab_size_per_layer_input"] = 262144;
    json["enable_moe_block"] = p.experts != kNone;
    json["num_experts"] = IntOrNull(p.experts);
    json["top_k_experts"] = IntOrNull(p.experts_per_token);
    json["moe_intermediate_size"] = IntOrNull(p.expert_intermediate);
  }
  json["hidden_activation"] = "gelu_pytorch_tanh";
  json["rms_norm_eps"] = 1e-6;
  json["final_logit_softcapping"] = 30.0;
  json["max_position_embeddings"] = p.max_positions;
  json["use_bidirectional_attention"] =
      p.vision_attention ? OrderedJson("vision") : OrderedJson(nullptr);
  json["rope_parameters"]["sliding_attention"] = {{"rope_type", "default"},
                                                  {"rope_theta", 10000.0}};
  json["rope_parameters"]["full_attention"] = {
      {"rope_type", "proportional"}, {"rope_theta", 1000000.0}, {"partial_rotary_factor", 0.25}};
  json["initializer_range"] = 0.02;
  json["use_cache"] = true;
  json["bos_token_id"] = 2;
  json["eos_token_id"] = 1;
  json["pad_token_id"] = 0;
  return json;
}

namespace {

// Of E2B and E4B, or of the sizes that only see.
OrderedJson PublishedVisionTower(bool small) {
  OrderedJson json;
  json["model_type"] = "gemma4_vision";
  json["hidden_size"] = small ? 768 : 1152;
  json["intermediate_size"] = small ? 3072 : 4304;
  json["num_hidden_layers"] = small ? 16 : 27;
  json["num_attention_heads"] = small ? 12 : 16;
  json["num_key_value_heads"] = small ? 12 : 16;
  json["head_dim"] = small ? 64 : 72;
  json["global_head_dim"] = small ? 64 : 72;
  json["use_clipped_linears"] = small;
  json["standardize"] = !small;
  json["patch_size"] = 16;
  json["pooling_kernel_size"] = 3;
  json["position_embedding_size"] = 10240;
  json["default_output_length"] = 280;
  json["hidden_activation"] = "gelu_pytorch_tanh";
  json["attention_bias"] = false;
  json["attention_dropout"] = 0.0;
  json["max_position_embeddings"] = 131072;
  json["rms_norm_eps"] = 1e-6;
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 100.0}};
  return json;
}

OrderedJson PublishedAudioTower() {
  OrderedJson json;
  json["model_type"] = "gemma4_audio";
  json["hidden_size"] = 1024;
  json["num_hidden_layers"] = 12;
  json["num_attention_heads"] = 8;
  json["hidden_act"] = "silu";
  json["subsampling_conv_channels"] = {128, 32};
  json["conv_kernel_size"] = 5;
  json["residual_weight"] = 0.5;
  json["attention_chunk_size"] = 12;
  json["attention_context_left"] = 13;
  json["attention_context_right"] = 0;
  json["attention_logit_cap"] = 50.0;
  json["attention_invalid_logits_value"] = -1e9;
  json["use_clipped_linears"] = true;
  json["gradient_clipping"] = 1e10;
  json["output_proj_dims"] = 1536;
  json["rms_norm_eps"] = 1e-6;
  return json;
}

}  // namespace

OrderedJson PublishedConfig(const std::string& size) {
  const Published& p = Find(size);
  const bool hears_by_tower = p.ple_width > 0;
  OrderedJson text = PublishedTextConfig(size);
  text.erase("architectures");
  OrderedJson json;
  json["architectures"] = {p.unified ? "Gemma4UnifiedForConditionalGeneration"
                                     : "Gemma4ForConditionalGeneration"};
  json["model_type"] = p.unified ? "gemma4_unified" : "gemma4";
  json["tie_word_embeddings"] = true;
  json["dtype"] = "bfloat16";
  json["boi_token_id"] = 255999;
  json["boa_token_id"] = 256000;
  json["image_token_id"] = 258880;
  json["audio_token_id"] = 258881;
  json["eoi_token_id"] = 258882;
  json["eoa_token_id"] = 258883;
  json["video_token_id"] = 258884;
  json["vision_soft_tokens_per_image"] = 280;
  json["text_config"] = text;
  if (p.unified) {
    json["vision_config"] = {{"model_type", "gemma4_unified_vision"},
                             {"patch_size", 16},
                             {"pooling_kernel_size", 3},
                             {"model_patch_size", 48},
                             {"mm_embed_dim", 3840},
                             {"mm_posemb_size", 1120},
                             {"num_soft_tokens", 280},
                             {"output_proj_dims", 3840},
                             {"rms_norm_eps", 1e-6}};
    json["audio_config"] = {{"model_type", "gemma4_unified_audio"},
                            {"audio_embed_dim", 640},
                            {"audio_samples_per_token", 640},
                            {"rms_norm_eps", 1e-6}};
  } else {
    json["vision_config"] = PublishedVisionTower(hears_by_tower);
    json["audio_config"] = hears_by_tower ? PublishedAudioTower() : OrderedJson(nullptr);
  }
  return json;
}

OrderedJson PublishedGenerationConfig(const std::string& size) {
  OrderedJson json;
  json["bos_token_id"] = 2;
  json["pad_token_id"] = 0;
  json["eos_token_id"] = {1, 106, 50};
  json["do_sample"] = true;
  json["temperature"] = 1.0;
  json["top_k"] = 64;
  json["top_p"] = 0.95;
  if (Find(size).unified) json["suppress_tokens"] = {258883, 258882};
  return json;
}

std::string ModelConfig::variant() const {
  // Parsed once: the text of each published config is the one place that knows its sizes.
  static const std::vector<ModelConfig> published = [] {
    std::vector<ModelConfig> configs;
    for (const Published& p : kPublished) {
      const std::string size(p.size);
      configs.push_back(ParseModelConfig(Json(PublishedTextConfig(size)), "published " + size));
    }
    return configs;
  }();
  for (std::size_t i = 0; i < kPublished.size(); ++i) {
    if (SameShape(*this, published[i])) return std::string(kPublished[i].variant);
  }
  std::string kind = "dense";
  if (experts > 0) kind = std::to_string(experts) + " experts";
  if (ple_width > 0) kind += ", per-layer embeddings";
  return kind + ", " + std::to_string(layers.size()) + " layers, hidden " + std::to_string(hidden);
}

}  // namespace culet
