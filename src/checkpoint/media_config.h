// The parts of config.json that say how images, videos and sounds become rows of the text model.
//
// Source: transformers Gemma4VisionConfig, Gemma4AudioConfig, Gemma4UnifiedVisionConfig,
// Gemma4UnifiedAudioConfig. What is absent has the default of these classes. Preprocessing (resize,
// mel features, frames of a video) is in other files of a model and not known here.
#pragma once

#include <cstdint>
#include <string>

namespace culet {

class ConfigFields;
struct ModelConfig;

enum class EncoderKind {
  kTower,       // a stack of layers of its own: E2B, E4B, 26B-A4B, 31B
  kProjection,  // one projection of raw blocks: 12B
};

// vision_config. An encoder is given one image as units over a grid: patches of a tower, blocks of
// a projection.
struct VisionConfig {
  EncoderKind kind = EncoderKind::kTower;
  std::int64_t patch_size = 16;          // pixels a side
  std::int64_t pooling_kernel_size = 3;  // patches a side that become one soft token
  double rms_norm_eps = 1e-6;

  // Towers only.
  std::int64_t hidden = 0, intermediate = 0, layers = 0;
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t position_embedding_size = 0;  // columns, and rows, that have an embedding
  double rope_theta = 100.0;
  bool use_clipped_linears = false;  // every linear has four bounds in the checkpoint
  bool standardize = false;          // std_bias and std_scale behind the pooling

  // Projections only.
  std::int64_t mm_embed_dim = 0;
  std::int64_t mm_posemb_size = 0;  // block columns, and block rows, that have an embedding

  // Pixels a side of what becomes one soft token.
  std::int64_t model_patch_size() const { return patch_size * pooling_kernel_size; }
  // Values of a unit: red, green and blue of every pixel.
  std::int64_t unit_width() const {
    const std::int64_t side = kind == EncoderKind::kTower ? patch_size : model_patch_size();
    return 3 * side * side;
  }
  // Units that become one soft token: 9 patches, 1 block.
  std::int64_t units_per_token() const {
    return kind == EncoderKind::kTower ? pooling_kernel_size * pooling_kernel_size : 1;
  }
  // Most columns, and most rows, of a grid.
  std::int64_t max_side() const {
    return kind == EncoderKind::kTower ? position_embedding_size : mm_posemb_size;
  }
  // Of the rows that embed_vision projects to the text model.
  std::int64_t output_width() const { return kind == EncoderKind::kTower ? hidden : mm_embed_dim; }
};

// audio_config. A tower is given mel frames, a projection blocks of samples.
struct AudioConfig {
  EncoderKind kind = EncoderKind::kTower;
  double rms_norm_eps = 1e-6;

  // Towers only.
  std::int64_t hidden = 0, layers = 0, heads = 0;
  std::int64_t conv_channels[2] = {};  // subsampling_conv_channels
  std::int64_t conv_kernel_size = 0;   // of the depthwise convolution over time
  double residual_weight = 0.5;        // what a feed-forward adds, by so much
  // Keys that step t sees: t − s < context_left − 1 and s − t < context_right, and itself. The
  // chunk only decides how many relative positions the table has.
  std::int64_t attention_chunk_size = 0, attention_context_left = 0, attention_context_right = 0;
  double attention_logit_cap = 50.0;
  double gradient_clipping = 1e10;
  bool use_clipped_linears = true;
  std::int64_t output_proj_dims = 0;

  // Projections only.
  std::int64_t audio_embed_dim = 0;  // samples of a block

  std::int64_t head_dim() const { return hidden / heads; }
  // Frequencies that are left of the mel bins after both halvings, and the bins of a frame before:
  // 32 and 128.
  std::int64_t subsampled_bins() const { return conv_channels[0] / 4; }
  std::int64_t mel_bins() const { return 4 * subsampled_bins(); }
  // Rows of the table of relative positions: 13.
  std::int64_t relative_positions() const {
    return (attention_chunk_size + attention_context_left - 1 + attention_context_right) / 2 + 1;
  }
  // Of the rows that embed_audio projects to the text model.
  std::int64_t output_width() const {
    return kind == EncoderKind::kTower ? output_proj_dims : audio_embed_dim;
  }
};

// Ids of what stands for media in a prompt; −1: the config has none.
struct MediaTokens {
  std::int64_t image = -1, audio = -1, video = -1;  // placeholders, one for each soft token
  std::int64_t boi = -1, eoi = -1;                  // around an image, and each frame of a video
  std::int64_t boa = -1, eoa = -1;                  // around a sound
  // Soft tokens of an image and of a sound at most, where no preprocessor file says otherwise.
  std::int64_t vision_soft_tokens = 280, audio_soft_tokens = 750;
};

// Reads all of it from the top of a conditional config into `config`. A vision_config or
// audio_config that culet cannot compute with is no error: text does without it. Why it is refused
// is then in vision_error or audio_error, and among the warnings.
void ReadMediaConfig(ConfigFields& top, ModelConfig* config);

}  // namespace culet
