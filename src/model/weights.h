// The weights of a text decoder as plain structs of Matrix, and the interface that hands them out.
// Where the bytes are (mapped file, packed copy, device) is the WeightSource's business.
#pragma once

#include <span>

#include "ops/types.h"

namespace culet {

// Vectors (norm weights, scales) are f32 whatever the file has; the reference widens them too.
using Vector = std::span<const float>;

struct AttentionWeights {
  Matrix q, o;            // [heads·head_dim, hidden], [hidden, heads·head_dim]
  Matrix k, v;            // [kv_heads·head_dim, hidden]; layers that own KV; no v where k_eq_v
  Vector q_norm, k_norm;  // [head_dim]; k_norm only in layers that own KV
};

struct MlpWeights {
  Matrix gate, up;  // [intermediate, hidden]
  Matrix down;      // [hidden, intermediate]
};

struct MoeWeights {
  Matrix router;        // [experts, hidden]
  Vector router_scale;  // [hidden]
  Vector expert_scale;  // [experts]
  Matrix gate_up;       // [experts·2·width, hidden]: an expert's gate rows, then its up rows
  Matrix down;          // [experts·hidden, width]
  Vector post_norm_1;   // [hidden] after the dense MLP
  Vector pre_norm_2;    // [hidden] before the experts
  Vector post_norm_2;   // [hidden] after them
};

struct PleLayerWeights {
  Matrix gate;        // [ple_width, hidden]
  Matrix projection;  // [hidden, ple_width]
  Vector post_norm;   // [hidden]
};

struct LayerWeights {
  Vector input_norm, post_attention_norm, pre_feedforward_norm, post_feedforward_norm;  // [hidden]
  AttentionWeights attention;
  MlpWeights mlp;
  MoeWeights moe;       // empty matrices in dense models
  PleLayerWeights ple;  // empty where there are no per-layer embeddings
  float scalar = 1.0f;  // layer_scalar
};

struct GlobalWeights {
  Matrix embedding;              // [vocab, hidden]
  Matrix head;                   // [vocab, hidden]; the embedding where tied
  Vector final_norm;             // [hidden]
  Matrix ple_table;              // [ple_vocab, layers·ple_width]; read row by row
  Matrix ple_projection;         // [layers·ple_width, hidden]
  Vector ple_norm;               // [ple_width]
  float embedding_scale = 1.0f;  // √hidden, rounded to bf16 where the table is stored in bf16
  float ple_scale = 1.0f;        // √ple_width, likewise
};

// Threads: one reader at a time.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const GlobalWeights& global() = 0;
  // Valid until the next call.
  virtual const LayerWeights& layer(int index) = 0;
  // `count` rows of the per-layer table were read, and the step reads none of them again.
  virtual void PleRowsWereRead(std::int64_t count) { (void)count; }
};

}  // namespace culet
