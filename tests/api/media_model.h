// A small random model that sees and hears, with the demo model's tokenizer and template, and files
// to show it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "checkpoint/synth.h"

namespace culet::testing {

inline std::string FileText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The id of a control token in a tokenizer.json.
inline std::int64_t ControlToken(const OrderedJson& tokenizer, const std::string& text) {
  for (const OrderedJson& token : tokenizer["added_tokens"]) {
    if (token["content"] == text) return token["id"].get<std::int64_t>();
  }
  return -1;
}

struct MediaModelSizes {
  std::int64_t vision_hidden = 48, vision_intermediate = 64, vision_layers = 3;
  std::int64_t positions = 200;  // columns and rows of patches
  bool both_ways = false;        // pictures are read in both directions
};

// Writes it into `folder`, which is empty or not there.
inline void WriteMediaModel(const std::filesystem::path& folder,
                            const MediaModelSizes& sizes = {}) {
  const std::filesystem::path pebble =
      std::filesystem::path(CULET_SOURCE_DIR) / "models" / "pebble";
  const auto read = [&](const char* name) {
    return ParseOrderedJson(FileText(pebble / name), name);
  };
  const OrderedJson tokenizer = read("tokenizer.json");
  OrderedJson text = read("config.json");
  if (text.contains("text_config")) text = OrderedJson(text["text_config"]);
  for (const char* name : {"architectures", "transformers_version", "dtype"}) text.erase(name);
  text["model_type"] = "gemma4_text";
  text["max_position_embeddings"] = 8192;
  text["use_bidirectional_attention"] =
      sizes.both_ways ? OrderedJson("vision") : OrderedJson(nullptr);
  OrderedJson config = OrderedJson::object();
  config["architectures"] = {"Gemma4ForConditionalGeneration"};
  config["model_type"] = "gemma4";
  config["dtype"] = "bfloat16";
  config["text_config"] = text;
  config["vision_config"] = ParseOrderedJson(
      R"({"model_type": "gemma4_vision", "attention_bias": false, "head_dim": 16,
          "hidden_activation": "gelu_pytorch_tanh", "num_attention_heads": 3,
          "num_key_value_heads": 3, "patch_size": 16, "pooling_kernel_size": 3,
          "rms_norm_eps": 1e-6, "standardize": false, "use_clipped_linears": true,
          "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}})",
      "test");
  OrderedJson& vision = config["vision_config"];
  vision["hidden_size"] = sizes.vision_hidden;
  vision["intermediate_size"] = sizes.vision_intermediate;
  vision["num_hidden_layers"] = sizes.vision_layers;
  vision["position_embedding_size"] = sizes.positions;
  vision["num_attention_heads"] = vision["num_key_value_heads"] = sizes.vision_hidden / 16;
  config["audio_config"] = ParseOrderedJson(
      R"({"model_type": "gemma4_audio", "attention_chunk_size": 12, "attention_context_left": 13,
          "attention_context_right": 0, "attention_invalid_logits_value": -1e9,
          "attention_logit_cap": 50.0, "conv_kernel_size": 5, "gradient_clipping": 1e10,
          "hidden_act": "silu", "hidden_size": 32, "num_attention_heads": 2,
          "num_hidden_layers": 2, "output_proj_dims": 24, "residual_weight": 0.5,
          "rms_norm_eps": 1e-6, "subsampling_conv_channels": [128, 4],
          "use_clipped_linears": true})",
      "test");
  const auto token = [&](const char* field, const char* content) {
    config[field] = ControlToken(tokenizer, content);
  };
  token("boi_token_id", "<|image>");
  token("eoi_token_id", "<image|>");
  token("image_token_id", "<|image|>");
  token("boa_token_id", "<|audio>");
  token("eoa_token_index", "<audio|>");
  token("audio_token_id", "<|audio|>");
  token("video_token_id", "<|video|>");
  config["tie_word_embeddings"] = true;
  SynthOptions options;
  options.tokenizer_file = pebble / "tokenizer.json";
  SynthesizeConfig(config, read("generation_config.json"), folder, options);
  std::filesystem::copy_file(pebble / "chat_template.jinja", folder / "chat_template.jinja");
}

// A BMP whose pixels depend on `seed`.
inline std::string Bmp(std::int64_t width, std::int64_t height, int seed) {
  std::string bytes;
  const auto put = [&](std::int64_t value, int count) {
    for (int byte = 0; byte < count; ++byte) bytes += static_cast<char>(value >> (8 * byte));
  };
  const std::int64_t row = (3 * width + 3) / 4 * 4;
  bytes = "BM";
  put(54 + row * height, 4);
  put(0, 4);
  put(54, 4);
  put(40, 4);
  put(width, 4);
  put(height, 4);
  put(1, 2);
  put(24, 2);
  put(0, 24);
  for (std::int64_t index = 0; index < row * height; ++index) {
    bytes += static_cast<char>(index * (2 * seed + 7) >> 5);
  }
  return bytes;
}

// A WAV of 16 kHz, mono.
inline std::string Wav(std::int64_t samples) {
  std::string bytes;
  const auto put = [&](std::int64_t value, int count) {
    for (int byte = 0; byte < count; ++byte) bytes += static_cast<char>(value >> (8 * byte));
  };
  bytes = "RIFF";
  put(36 + 2 * samples, 4);
  bytes += "WAVEfmt ";
  put(16, 4);
  put(1, 2);
  put(1, 2);
  put(16000, 4);
  put(32000, 4);
  put(2, 2);
  put(16, 2);
  bytes += "data";
  put(2 * samples, 4);
  for (std::int64_t index = 0; index < samples; ++index) put(index * 331 % 20000 - 10000, 2);
  return bytes;
}

}  // namespace culet::testing
