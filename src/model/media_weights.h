// The weights of the media encoders as plain structs, as weights.h has the text decoder's.
#pragma once

#include <limits>
#include <vector>

#include "model/weights.h"

namespace culet {

// A linear layer between bounds: y = clamp(W · clamp(x, input_…), output_…).
struct ClippedLinear {
  Matrix w;  // [outputs, inputs]
  float input_min = -std::numeric_limits<float>::infinity();
  float input_max = std::numeric_limits<float>::infinity();
  float output_min = -std::numeric_limits<float>::infinity();
  float output_max = std::numeric_limits<float>::infinity();
};

struct VisionLayerWeights {
  Vector input_norm, post_attention_norm, pre_feedforward_norm, post_feedforward_norm;  // [hidden]
  ClippedLinear q, k, v, o;      // [heads·head_dim, hidden], …, o [hidden, heads·head_dim]
  Vector q_norm, k_norm;         // [head_dim]
  ClippedLinear gate, up, down;  // [intermediate, hidden], down [hidden, intermediate]
};

struct LayerNormWeights {
  Vector weight, bias;  // [n]; no bias where empty
};

// Of a tower or of a projection (config.vision->kind); the other's part is empty.
struct VisionWeights {
  Matrix input;      // [hidden, 3·patch_size²]
  Matrix positions;  // [2·position_embedding_size, hidden]: columns, then rows
  std::vector<VisionLayerWeights> layers;
  Vector std_bias, std_scale;  // [hidden], where standardize

  LayerNormWeights block_norm;  // [3·model_patch_size²]
  Matrix dense;                 // [mm_embed_dim, 3·model_patch_size²]
  Vector dense_bias;            // [mm_embed_dim]
  LayerNormWeights dense_norm;  // [mm_embed_dim]
  Matrix block_positions;       // [2·mm_posemb_size, mm_embed_dim]: column 0, row 0, column 1, …
  LayerNormWeights position_norm;  // [mm_embed_dim]

  Matrix embed;  // [text hidden, output_width]
};

struct AudioFeedForwardWeights {
  Vector pre_norm, post_norm;  // [hidden]
  ClippedLinear in, out;       // [4·hidden, hidden], [hidden, 4·hidden]
};

struct AudioLayerWeights {
  AudioFeedForwardWeights feed_forward1, feed_forward2;
  Vector pre_attention_norm, post_attention_norm;  // [hidden]
  ClippedLinear q, k, v, post;                     // [hidden, hidden]
  Matrix relative_k;                               // [hidden, hidden]
  Vector per_dim_scale;                            // [head_dim], before softplus
  Vector conv_pre_norm, conv_norm;                 // [hidden]
  ClippedLinear conv_start, conv_end;              // [2·hidden, hidden], [hidden, hidden]
  Vector depthwise;  // [hidden, conv_kernel_size], as stored: a channel's taps side by side
  Vector out_norm;   // [hidden]
};

// Of a tower or of a projection, which has `embed` alone.
struct AudioWeights {
  Matrix conv[2];       // [channels[0], 9], [channels[1], channels[0]·9]
  Vector conv_norm[2];  // [channels[0]], [channels[1]]
  Matrix input;         // [hidden, subsampled_bins·channels[1]]
  std::vector<AudioLayerWeights> layers;
  Matrix output;       // [output_proj_dims, hidden]
  Vector output_bias;  // [output_proj_dims]

  Matrix embed;  // [text hidden, output_width]
};

}  // namespace culet
