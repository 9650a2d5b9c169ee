// If this fails, culet takes another vision or audio encoder for the one that config.json
// describes, or a text model does not load because of an encoder that nobody asks for.
#include "checkpoint/media_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::Conditional;
using ::culet::testing::ErrorOf;
using ::culet::testing::TinyTextConfig;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Json Tower(const char* vision = "null", const char* audio = "null") {
  Json config = Conditional(TinyTextConfig());
  config["vision_config"] = Json::parse(vision);
  config["audio_config"] = Json::parse(audio);
  return config;
}

Json Unified(const char* vision = "null", const char* audio = "null") {
  Json config = Tower(vision, audio);
  config["model_type"] = "gemma4_unified";
  config["text_config"]["model_type"] = "gemma4_unified_text";
  config["text_config"]["hidden_size_per_layer_input"] = 0;
  return config;
}

ModelConfig Parse(const Json& config) { return ParseModelConfig(config, "config.json"); }

// As the published files have it, with what transformers writes into every config.
constexpr const char* kPublishedVision = R"({
  "_name_or_path": "", "architectures": null, "attention_bias": false, "attention_dropout": 0.0,
  "chunk_size_feed_forward": 0, "default_output_length": 280, "dtype": "bfloat16",
  "global_head_dim": 72, "head_dim": 72, "hidden_activation": "gelu_pytorch_tanh",
  "hidden_size": 1152, "id2label": {"0": "LABEL_0"}, "initializer_range": 0.02,
  "intermediate_size": 4304, "is_encoder_decoder": false, "label2id": {"LABEL_0": 0},
  "max_position_embeddings": 131072, "model_type": "gemma4_vision", "num_attention_heads": 16,
  "num_hidden_layers": 27, "num_key_value_heads": 16, "output_attentions": false,
  "output_hidden_states": false, "patch_size": 16, "pooling_kernel_size": 3,
  "position_embedding_size": 10240, "problem_type": null, "return_dict": true,
  "rms_norm_eps": 1e-06, "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"},
  "standardize": true, "use_clipped_linears": false})";

constexpr const char* kPublishedAudio = R"({
  "attention_chunk_size": 12, "attention_context_left": 13, "attention_context_right": 0,
  "attention_invalid_logits_value": -1000000000.0, "attention_logit_cap": 50.0,
  "conv_kernel_size": 5, "gradient_clipping": 10000000000.0, "hidden_act": "silu",
  "hidden_size": 1024, "initializer_range": 0.02, "model_type": "gemma4_audio",
  "num_attention_heads": 8, "num_hidden_layers": 12, "output_proj_dims": 1536,
  "residual_weight": 0.5, "rms_norm_eps": 1e-06, "subsampling_conv_channels": [128, 32],
  "use_clipped_linears": true})";

TEST(MediaConfig, PublishedTowersHaveTheirSizes) {
  const ModelConfig config = Parse(Tower(kPublishedVision, kPublishedAudio));
  EXPECT_THAT(config.warnings, IsEmpty());
  ASSERT_TRUE(config.vision && config.audio);
  const VisionConfig& vision = *config.vision;
  EXPECT_EQ(vision.kind, EncoderKind::kTower);
  EXPECT_EQ(vision.hidden, 1152);
  EXPECT_EQ(vision.intermediate, 4304);
  EXPECT_EQ(vision.layers, 27);
  EXPECT_EQ(vision.heads, 16);
  EXPECT_EQ(vision.head_dim, 72);
  EXPECT_TRUE(vision.standardize);
  EXPECT_FALSE(vision.use_clipped_linears);
  EXPECT_EQ(vision.rope_theta, 100.0);
  EXPECT_EQ(vision.unit_width(), 768);
  EXPECT_EQ(vision.units_per_token(), 9);
  EXPECT_EQ(vision.model_patch_size(), 48);
  EXPECT_EQ(vision.max_side(), 10240);
  EXPECT_EQ(vision.output_width(), 1152);
  const AudioConfig& audio = *config.audio;
  EXPECT_EQ(audio.kind, EncoderKind::kTower);
  EXPECT_EQ(audio.layers, 12);
  EXPECT_EQ(audio.head_dim(), 128);
  EXPECT_EQ(audio.mel_bins(), 128);
  EXPECT_EQ(audio.subsampled_bins(), 32);
  EXPECT_EQ(audio.relative_positions(), 13);
  EXPECT_EQ(audio.output_width(), 1536);
  EXPECT_TRUE(audio.use_clipped_linears);
}

TEST(MediaConfig, WhatIsAbsentHasTheReferencesDefaults) {
  const ModelConfig config = Parse(Tower("{}", "{}"));
  ASSERT_TRUE(config.vision && config.audio);
  EXPECT_EQ(config.vision->hidden, 768);
  EXPECT_EQ(config.vision->layers, 16);
  EXPECT_FALSE(config.vision->use_clipped_linears);
  EXPECT_EQ(config.audio->hidden, 1024);
  EXPECT_TRUE(config.audio->use_clipped_linears);
}

TEST(MediaConfig, UnifiedModelsProjectBlocks) {
  const ModelConfig config = Parse(Unified(
      R"({"model_type": "gemma4_unified_vision", "mm_embed_dim": 3840, "mm_posemb_size": 1120,
          "model_patch_size": 48, "num_soft_tokens": 280, "output_proj_dims": 3840,
          "patch_size": 16, "pooling_kernel_size": 3, "rms_norm_eps": 1e-06, "dtype": null})",
      R"({"model_type": "gemma4_unified_audio", "audio_embed_dim": 640,
          "audio_samples_per_token": 640, "hidden_size": 640, "output_proj_dims": 640})"));
  EXPECT_THAT(config.warnings, IsEmpty());
  ASSERT_TRUE(config.vision && config.audio);
  EXPECT_EQ(config.vision->kind, EncoderKind::kProjection);
  EXPECT_EQ(config.vision->unit_width(), 6912);
  EXPECT_EQ(config.vision->units_per_token(), 1);
  EXPECT_EQ(config.vision->max_side(), 1120);
  EXPECT_EQ(config.vision->output_width(), 3840);
  EXPECT_EQ(config.audio->kind, EncoderKind::kProjection);
  EXPECT_EQ(config.audio->output_width(), 640);
}

TEST(MediaConfig, TokensAreReadInBothSpellings) {
  Json config = Tower();
  const MediaTokens published = Parse(config).media_tokens;
  EXPECT_EQ(published.image, 258880);
  EXPECT_EQ(published.eoa, 258883);
  EXPECT_EQ(published.vision_soft_tokens, 280);
  config.update(Json::parse(R"({"image_token_id": 7, "audio_token_index": 8, "video_token_id": null,
    "boi_token_index": 9, "eoi_token_id": 10, "boa_token_id": 11, "eoa_token_index": 12,
    "vision_soft_tokens_per_image": 70, "audio_ms_per_token": 40})"));
  const MediaTokens tokens = Parse(config).media_tokens;
  EXPECT_EQ(tokens.image, 7);
  EXPECT_EQ(tokens.audio, 8);
  EXPECT_EQ(tokens.video, -1);
  EXPECT_EQ(tokens.boi, 9);
  EXPECT_EQ(tokens.eoi, 10);
  EXPECT_EQ(tokens.boa, 11);
  EXPECT_EQ(tokens.eoa, 12);
  EXPECT_EQ(tokens.vision_soft_tokens, 70);
  EXPECT_EQ(Parse(TinyTextConfig()).media_tokens.image, -1) << "a text-only model has none";
  config["eoa_token_index"] = "x";
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Parse(config); }), HasSubstr("eoa_token_index"));
}

struct Refused {
  const char* name;
  bool unified;
  bool audio;  // else vision
  const char* fields;
  const char* named;  // the field
};

class RefusedMediaConfig : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedMediaConfig, IsNamedAndLeavesTextAlone) {
  const Refused& param = GetParam();
  const char* vision = param.audio ? "null" : param.fields;
  const char* audio = param.audio ? param.fields : "null";
  const ModelConfig config = Parse(param.unified ? Unified(vision, audio) : Tower(vision, audio));
  EXPECT_EQ(config.hidden, 24);
  EXPECT_FALSE(config.vision);
  EXPECT_FALSE(config.audio);
  const std::string& error = param.audio ? config.audio_error : config.vision_error;
  EXPECT_THAT(error, HasSubstr("config.json: " + std::string(param.audio ? "audio" : "vision") +
                               "_config." + param.named + " is "));
  EXPECT_THAT(config.warnings, ElementsAre(AllOf(HasSubstr("cannot be given"), HasSubstr(error))));
}

constexpr Refused kRefused[] = {
    {"unknown_field", false, false, R"({"teleport": 1})", "teleport"},
    {"activation", false, false, R"({"hidden_activation": "relu"})", "hidden_activation"},
    {"bias", false, false, R"({"attention_bias": true})", "attention_bias"},
    {"model_type", false, false, R"({"model_type": "siglip"})", "model_type"},
    {"kind", true, false, R"({"model_type": "gemma4_vision"})", "model_type"},
    {"rope", false, false, R"({"rope_parameters": {"rope_type": "yarn"}})",
     "rope_parameters.rope_type"},
    {"rope_field", false, false, R"({"rope_parameters": {"factor": 8}})", "rope_parameters.factor"},
    {"head_dim", false, false, R"({"head_dim": 6})", "head_dim"},
    {"heads", false, false, R"({"num_attention_heads": 4, "num_key_value_heads": 3})",
     "num_attention_heads"},
    {"global_head_dim", false, false, R"({"global_head_dim": 32})", "global_head_dim"},
    {"no_layer", false, false, R"({"num_hidden_layers": 0})", "num_hidden_layers"},
    {"switch", false, false, R"({"use_bfloat16": true})", "use_bfloat16"},
    {"patch", true, false, R"({"model_patch_size": 47})", "model_patch_size"},
    {"width", true, false, R"({"mm_embed_dim": 8, "output_proj_dims": 9})", "output_proj_dims"},
    {"act", false, true, R"({"hidden_act": "gelu"})", "hidden_act"},
    {"channels", false, true, R"({"subsampling_conv_channels": [3, 4]})",
     "subsampling_conv_channels"},
    {"channel", false, true, R"({"subsampling_conv_channels": [128]})",
     "subsampling_conv_channels"},
    {"context", false, true, R"({"attention_context_left": 1})", "attention_context_left"},
    {"invalid", false, true, R"({"attention_invalid_logits_value": 0})",
     "attention_invalid_logits_value"},
    {"split", false, true, R"({"hidden_size": 12})", "hidden_size"},
    {"samples", true, true, R"({"audio_embed_dim": 8, "audio_samples_per_token": 640})",
     "audio_samples_per_token"},
};

INSTANTIATE_TEST_SUITE_P(All, RefusedMediaConfig, ::testing::ValuesIn(kRefused),
                         [](const auto& refused) { return std::string(refused.param.name); });

TEST(MediaConfig, ThatIsNoObjectIsRefusedToo) {
  const ModelConfig config = Parse(Tower("[1]"));
  EXPECT_THAT(config.vision_error, HasSubstr("vision_config is an array; expected an object"));
  EXPECT_TRUE(config.vision_tower);
}

}  // namespace
}  // namespace culet
