// The one table of tensors: name pattern, symbolic shape, part, when it must exist. Loading,
// `info`, `synth` and later quantising and placement all read it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"

namespace culet {

enum class TensorUse {
  kText,    // the text decoder computes with it
  kMedia,   // a media encoder does (media_tensors.h)
  kUnused,  // known, and rightly left alone: KV of layers that share another's, …
};

// A tensor that a config asks for.
struct ExpectedTensor {
  std::string name;  // short: "layers.0.self_attn.q_proj.weight"
  std::vector<std::int64_t> shape;
  std::string symbolic_shape;  // "[num_attention_heads·head_dim, hidden_size]", for messages
  // "embedding", "per-layer embedding" (the table), "per-layer projection" (what mixes it in),
  // "attention", "mlp", "experts", "router", "norms" (layer scalars among them), "head".
  // Of media encoders see media_tensors.h.
  std::string part;
  bool optional = false;  // bounds of media encoders
};

// Every text tensor that `config` needs, in file order (embedding, layers ascending, final norm,
// head).
std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& config);

// "model.language_model." or "model."; what stands before short names in files of this config.
std::string_view TensorPrefix(const ModelConfig& config);

// The name in a file of this config: the prefix in front, except of "lm_head.weight".
std::string FullTensorName(const ModelConfig& config, std::string_view short_name);

// Why a tensor that is in the file but not expected is rightly unused ("vision tower: not used",
// "layer 17 shares the KV of layer 13; its own k_proj is not used"); empty if nothing explains it.
std::string UnusedReason(const ModelConfig& config, std::string_view full_name);

}  // namespace culet
