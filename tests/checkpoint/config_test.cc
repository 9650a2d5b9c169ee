// If this fails, culet builds another model than the one that config.json describes.
#include "checkpoint/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/published.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::Conditional;
using ::culet::testing::ErrorOf;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TinyExpertConfig;
using ::culet::testing::TinyTextConfig;
using ::culet::testing::WriteText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelConfig Parse(const Json& config) { return ParseModelConfig(config, "config.json"); }

std::string Layers(const ModelConfig& config) {
  std::string text;
  for (const LayerConfig& layer : config.layers) {
    text += layer.kind == LayerKind::kFull ? "F" : "S";
    text += std::to_string(layer.head_dim) + "x" + std::to_string(layer.kv_heads) + " ";
  }
  return text;
}

TEST(Config, PublishedSizesHaveTheirGeometry) {
  const auto published = [](const char* size) { return Parse(Json(PublishedTextConfig(size))); };
  const ModelConfig e2b = published("e2b");
  EXPECT_EQ(e2b.hidden, 1536);
  EXPECT_EQ(e2b.layers.size(), 35u);
  EXPECT_EQ(e2b.first_shared_layer(), 15);
  EXPECT_EQ(e2b.layers[14].intermediate, 6144);
  EXPECT_EQ(e2b.layers[15].intermediate, 12288);
  EXPECT_EQ(e2b.layers[15].kv_source, 13);
  EXPECT_EQ(e2b.layers[33].kv_source, 13);
  EXPECT_EQ(e2b.layers[34].kv_source, 14);
  EXPECT_EQ(e2b.layers[4].kv_heads, 1);
  EXPECT_EQ(e2b.ple_width, 256);
  const ModelConfig e4b = published("e4b");
  EXPECT_EQ(e4b.layers[24].kv_source, 22);
  EXPECT_EQ(e4b.layers[41].kv_source, 23);
  EXPECT_EQ(e4b.layers[41].intermediate, 10240);
  const ModelConfig dense = published("12b");
  EXPECT_EQ(dense.model_type, "gemma4_unified_text");
  EXPECT_EQ(dense.ple_width, 0);
  EXPECT_EQ(dense.layers[5].kv_heads, 1);
  EXPECT_TRUE(dense.layers[5].k_eq_v);
  EXPECT_FALSE(dense.layers[4].k_eq_v);
  EXPECT_TRUE(dense.bidirectional_vision);
  const ModelConfig moe = published("26B-A4B");
  EXPECT_EQ(moe.experts, 128);
  EXPECT_EQ(moe.experts_per_token, 8);
  EXPECT_EQ(moe.expert_intermediate, 704);
  EXPECT_EQ(published("31b").layers[59].kv_heads, 4);
  for (const std::string_view size : PublishedSizes()) {
    const ModelConfig config = published(std::string(size).c_str());
    EXPECT_THAT(config.warnings, IsEmpty());
    EXPECT_EQ(config.vocab, 262144);
    EXPECT_EQ(config.logit_softcap, 30.0);
    EXPECT_EQ(config.rope_of(LayerKind::kSliding).theta, 1e4);
    EXPECT_FALSE(config.rope_of(LayerKind::kSliding).proportional);
    EXPECT_EQ(config.rope_of(LayerKind::kFull).theta, 1e6);
    EXPECT_TRUE(config.rope_of(LayerKind::kFull).proportional);
    EXPECT_EQ(config.rope_of(LayerKind::kFull).partial_rotary_factor, 0.25);
    for (const LayerConfig& layer : config.layers) {
      EXPECT_EQ(layer.head_dim, layer.kind == LayerKind::kFull ? 512 : 256);
    }
  }
}

TEST(Config, VariantIsNamedByShapeAlone) {
  EXPECT_EQ(Parse(Json(PublishedTextConfig("e2b"))).variant(), "E2B");
  EXPECT_EQ(Parse(Json(PublishedTextConfig("26b-a4b"))).variant(), "26B-A4B");
  Json config = Json(PublishedTextConfig("31b"));
  EXPECT_EQ(Parse(config).variant(), "31B");
  config["hidden_size"] = 5120;
  EXPECT_EQ(Parse(config).variant(), "dense, 60 layers, hidden 5120");
  EXPECT_EQ(Parse(TinyTextConfig()).variant(), "dense, per-layer embeddings, 4 layers, hidden 24");
  EXPECT_EQ(Parse(TinyExpertConfig()).variant(), "4 experts, 4 layers, hidden 24");
}

TEST(Config, PublishedSpellingGivesFullLayersTheirOwnGeometry) {
  Json config = TinyTextConfig();
  EXPECT_EQ(Layers(Parse(config)), "S4x2 F8x2 S4x2 F8x2 ");
  // Without K=V the number of global KV heads lies unused.
  config["num_global_key_value_heads"] = 1;
  EXPECT_EQ(Layers(Parse(config)), "S4x2 F8x2 S4x2 F8x2 ");
  config["attention_k_eq_v"] = true;
  EXPECT_EQ(Layers(Parse(config)), "S4x2 F8x1 S4x2 F8x1 ");
  config["num_global_key_value_heads"] = nullptr;
  EXPECT_EQ(Layers(Parse(config)), "S4x2 F8x2 S4x2 F8x2 ");
}

TEST(Config, AbsentGlobalHeadDimMeans512) {
  Json config = TinyTextConfig();
  config.erase("global_head_dim");
  EXPECT_EQ(Layers(Parse(config)), "S4x2 F512x2 S4x2 F512x2 ");
}

TEST(Config, PerLayerConfigCountsAloneEvenWhereItIsEmpty) {
  Json config = TinyTextConfig();
  config["num_global_key_value_heads"] = 1;
  config["attention_k_eq_v"] = true;
  config["per_layer_config"] = Json::object();
  EXPECT_EQ(Layers(Parse(config)), "S4x2 F4x2 S4x2 F4x2 ");
  config["per_layer_config"] = nullptr;
  EXPECT_EQ(Layers(Parse(config)), "S4x2 F4x2 S4x2 F4x2 ");
  config["per_layer_config"] = Json::parse(
      R"({"01": {"head_dim": 16, "num_key_value_heads": 4}, "3": {"head_dim": 16,
          "num_key_value_heads": 4}})");
  EXPECT_EQ(Layers(Parse(config)), "S4x2 F16x4 S4x2 F16x4 ");
}

TEST(Config, TextFieldsAreReadInsideAndOutsideTextConfig) {
  const ModelConfig outside = Parse(TinyTextConfig());
  EXPECT_FALSE(outside.conditional);
  const ModelConfig inside = Parse(Conditional(TinyTextConfig()));
  EXPECT_TRUE(inside.conditional);
  EXPECT_EQ(inside.model_type, "gemma4_text");
  EXPECT_EQ(inside.outer_model_type, "gemma4");
  EXPECT_EQ(Layers(inside), Layers(outside));
}

TEST(Config, TyingIsReadAtTheTopLevelOnly) {
  Json config = Conditional(TinyTextConfig());
  config["text_config"]["tie_word_embeddings"] = false;
  EXPECT_TRUE(Parse(config).tie_word_embeddings);
  config["tie_word_embeddings"] = false;
  config["text_config"]["tie_word_embeddings"] = true;
  EXPECT_FALSE(Parse(config).tie_word_embeddings);
  Json text = TinyTextConfig();
  text["tie_word_embeddings"] = false;
  EXPECT_FALSE(Parse(text).tie_word_embeddings);
}

TEST(Config, DefaultsOfSwitchesAreThoseOfTransformers) {
  Json config = TinyTextConfig();
  for (const char* key :
       {"sliding_window", "layer_types", "num_kv_shared_layers", "use_double_wide_mlp",
        "hidden_size_per_layer_input", "vocab_size_per_layer_input", "final_logit_softcapping",
        "max_position_embeddings", "rms_norm_eps", "attention_k_eq_v"}) {
    config.erase(key);
  }
  config["num_hidden_layers"] = 7;
  const ModelConfig text = Parse(config);
  EXPECT_EQ(text.window, 512);
  EXPECT_EQ(text.max_positions, 131072);
  EXPECT_EQ(text.ple_width, 256);
  EXPECT_EQ(text.ple_vocab, 262144);
  EXPECT_EQ(text.rms_norm_eps, 1e-6);
  EXPECT_FALSE(text.logit_softcap.has_value());
  EXPECT_TRUE(text.tie_word_embeddings);
  EXPECT_FALSE(text.bidirectional_vision);
  EXPECT_EQ(Layers(text), "S4x2 S4x2 S4x2 S4x2 S4x2 F8x2 F8x2 ");
  EXPECT_THAT(text.warnings, IsEmpty());
  config["model_type"] = "gemma4_unified_text";
  const ModelConfig unified = Parse(config);
  EXPECT_EQ(unified.window, 1024);
  EXPECT_EQ(unified.max_positions, 262144);
  EXPECT_EQ(unified.ple_width, 0);
  EXPECT_TRUE(unified.bidirectional_vision);
}

TEST(Config, NullPerLayerWidthMeansNone) {
  Json config = TinyTextConfig();
  config["hidden_size_per_layer_input"] = nullptr;
  EXPECT_EQ(Parse(config).ple_width, 0);
  EXPECT_EQ(Parse(config).ple_vocab, 0);
}

TEST(Config, UnifiedModelsIgnorePerLayerEmbeddingsAndExperts) {
  Json config = TinyExpertConfig();
  config["model_type"] = "gemma4_unified_text";
  config["hidden_size_per_layer_input"] = 6;
  const ModelConfig unified = Parse(config);
  EXPECT_EQ(unified.ple_width, 0);
  EXPECT_EQ(unified.experts, 0);
}

TEST(Config, LastLayerIsForcedFullWithAWarning) {
  Json config = TinyTextConfig();
  config["layer_types"] = {"full_attention", "full_attention", "sliding_attention",
                           "sliding_attention"};
  config["num_kv_shared_layers"] = 0;
  const ModelConfig parsed = Parse(config);
  EXPECT_EQ(Layers(parsed), "F8x2 F8x2 S4x2 F8x2 ");
  EXPECT_THAT(parsed.warnings, ElementsAre(HasSubstr("layer_types")));
}

TEST(Config, SharedLayersReadTheLastOwnerOfTheirKind) {
  Json config = TinyTextConfig();
  config["num_hidden_layers"] = 6;
  config["layer_types"] = {"sliding_attention", "full_attention",    "sliding_attention",
                           "sliding_attention", "sliding_attention", "full_attention"};
  const ModelConfig parsed = Parse(config);
  EXPECT_TRUE(parsed.layers[3].owns_kv);
  EXPECT_FALSE(parsed.layers[4].owns_kv);
  EXPECT_EQ(parsed.layers[4].kv_source, 3);
  EXPECT_EQ(parsed.layers[5].kv_source, 1);
  EXPECT_EQ(parsed.layers[3].intermediate, 16);
  EXPECT_EQ(parsed.layers[4].intermediate, 32);
}

TEST(Config, RopeFollowsItsEntry) {
  Json config = TinyTextConfig();
  config["rope_parameters"]["sliding_attention"] = {
      {"rope_type", "default"}, {"rope_theta", 100}, {"partial_rotary_factor", 0.5}};
  config["rope_parameters"]["full_attention"] = {
      {"rope_type", "proportional"}, {"rope_theta", 5e5}, {"factor", 4.0}};
  const ModelConfig parsed = Parse(config);
  // The default rope turns every pair, whatever partial_rotary_factor says.
  EXPECT_EQ(parsed.rope_of(LayerKind::kSliding).partial_rotary_factor, 1.0);
  EXPECT_EQ(parsed.rope_of(LayerKind::kSliding).theta, 100.0);
  EXPECT_EQ(parsed.rope_of(LayerKind::kFull).partial_rotary_factor, 1.0);
  EXPECT_EQ(parsed.rope_of(LayerKind::kFull).factor, 4.0);
}

TEST(Config, WhatTransformersWritesBesidesIsKnown) {
  Json config = Conditional(TinyTextConfig());
  const Json common = Json::parse(R"({
    "_name_or_path": "", "architectures": ["Gemma4ForConditionalGeneration"],
    "chunk_size_feed_forward": 0, "dtype": "bfloat16", "id2label": {"0": "LABEL_0"},
    "is_encoder_decoder": false, "label2id": {"LABEL_0": 0}, "output_attentions": false,
    "output_hidden_states": false, "problem_type": null, "return_dict": true,
    "transformers_version": "5.24.0", "initializer_range": 0.02})");
  config.update(common);
  config["text_config"].update(common);
  config["text_config"].update(Json::parse(R"({"attention_dropout": 0.0, "use_cache": true,
    "expert_intermediate_size": null, "eos_token_id": [1, 106], "bos_token_id": 2})"));
  config.update(Json::parse(R"({"boi_token_id": 255999, "eoi_token_id": 258882, "image_token_id":
    258880, "video_token_id": 258884, "boa_token_id": 256000, "eoa_token_index": 258883,
    "audio_token_id": 258881, "vision_config": {"model_type": "gemma4_vision"}, "audio_config": null,
    "vision_soft_tokens_per_image": 280, "eos_token_id": [1, 106, 50]})"));
  const ModelConfig parsed = Parse(config);
  EXPECT_TRUE(parsed.vision_tower);
  EXPECT_FALSE(parsed.audio_tower);
  EXPECT_EQ(parsed.eos_token, 1);
}

TEST(Config, OverridesReachFieldsInBothForms) {
  TemporaryFolder folder;
  const auto path = folder.path() / "config.json";
  const auto load = [&](const Json& config, const std::string& key, const std::string& value) {
    WriteText(path, config.dump());
    return LoadModelConfig(FileSystem::Real(), path, {{key, value}});
  };
  EXPECT_EQ(load(TinyTextConfig(), "text_config.sliding_window", "3").window, 3);
  EXPECT_EQ(load(TinyTextConfig(), "sliding_window", "3").window, 3);
  const Json conditional = Conditional(TinyTextConfig());
  EXPECT_EQ(load(conditional, "text_config.sliding_window", "3").window, 3);
  EXPECT_FALSE(load(conditional, "tie_word_embeddings", "false").tie_word_embeddings);
  EXPECT_FALSE(
      load(conditional, "text_config.final_logit_softcapping", "null").logit_softcap.has_value());
  const auto fails = [&](ErrorKind kind, const std::string& key, const std::string& value) {
    return ErrorOf(kind, [&] { load(conditional, key, value); });
  };
  EXPECT_THAT(fails(ErrorKind::kUnsupported, "sliding_window", "3"), HasSubstr("sliding_window"));
  EXPECT_THAT(fails(ErrorKind::kUnsupported, "text_config.hidden_activation", "gelu"),
              HasSubstr("text_config.hidden_activation is \"gelu\""));
  EXPECT_THAT(fails(ErrorKind::kInvalidArgument, "text_config.nothing.rope_theta", "3"),
              HasSubstr("the override text_config.nothing.rope_theta=3"));
  EXPECT_THAT(fails(ErrorKind::kInvalidArgument, "text_config.vocab_size.x", "3"),
              HasSubstr("the override"));
  EXPECT_THAT(fails(ErrorKind::kInvalidArgument, "", "3"), HasSubstr("the override"));
}

struct Refusal {
  std::string field;  // as the message names it
  std::string value;  // JSON
  ErrorKind kind;
  std::string expects;
};

// Sets `field` (dots lead into objects) in a tiny config and expects a refusal that names it.
TEST(Config, EachBadFieldIsRefusedByName) {
  constexpr ErrorKind kCorrupt = ErrorKind::kCorrupt;
  constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;
  const std::vector<Refusal> refusals = {
      {"model_type", "\"llama\"", kUnsupported, "gemma4_unified_text"},
      {"model_type", "\"gemma4_assistant\"", kUnsupported, "drafter"},
      {"model_type", "\"gemma4_unified_assistant\"", kUnsupported, "drafter"},
      {"model_type", "\"diffusion_gemma\"", kUnsupported, "another model"},
      {"model_type", "\"gemma4\"", kCorrupt, "text_config"},
      {"model_type", "4", kCorrupt, "a string"},
      {"model_type", "null", kCorrupt, "gemma4"},
      {"vocab_size", "null", kCorrupt, "an integer from 1"},
      {"vocab_size", "0", kCorrupt, "an integer from 1"},
      {"vocab_size", "18446744073709551615", kCorrupt, "an integer from 1"},
      {"vocab_size", "1e3", kCorrupt, "an integer from 1"},
      {"hidden_size", "-24", kCorrupt, "an integer from 1 to 65536"},
      {"hidden_size", "65537", kCorrupt, "an integer from 1 to 65536"},
      {"hidden_size", "\"24\"", kCorrupt, "an integer from 1"},
      {"intermediate_size", "0", kCorrupt, "an integer from 1"},
      {"num_hidden_layers", "0", kCorrupt, "an integer from 1"},
      {"num_hidden_layers", "1000000000", kCorrupt, "an integer from 1"},
      {"num_attention_heads", "3", kCorrupt, "multiple of num_key_value_heads = 2"},
      {"num_key_value_heads", "0", kCorrupt, "an integer from 1"},
      {"head_dim", "5", kCorrupt, "even"},
      {"head_dim", "0", kCorrupt, "an integer from 2"},
      {"global_head_dim", "8192", kCorrupt, "an integer from 2"},
      {"sliding_window", "0", kCorrupt, "an integer from 1"},
      {"sliding_window", "-1", kCorrupt, "an integer from 1"},
      {"max_position_embeddings", "0", kCorrupt, "an integer from 1"},
      {"rms_norm_eps", "0", kCorrupt, "a number from"},
      {"rms_norm_eps", "-1e-6", kCorrupt, "a number from"},
      {"rms_norm_eps", "\"small\"", kCorrupt, "a number from"},
      {"final_logit_softcapping", "0", kCorrupt, "a number from"},
      {"hidden_activation", "\"gelu\"", kUnsupported, "gelu_pytorch_tanh"},
      {"attention_bias", "true", kUnsupported, "false"},
      {"attention_bias", "1", kCorrupt, "true or false"},
      {"use_bidirectional_attention", "\"all\"", kUnsupported, "vision"},
      {"layer_types", "[\"full_attention\"]", kCorrupt, "num_hidden_layers = 4"},
      {"layer_types", "7", kCorrupt, "an array"},
      {"num_kv_shared_layers", "4", kCorrupt, "less than num_hidden_layers = 4"},
      {"num_kv_shared_layers", "3", kCorrupt, "no layer of its kind"},
      {"num_kv_shared_layers", "-1", kCorrupt, "an integer from 0"},
      {"hidden_size_per_layer_input", "-6", kCorrupt, "an integer from 0"},
      {"vocab_size_per_layer_input", "0", kCorrupt, "at least 1"},
      {"enable_moe_block", "true", kCorrupt, "num_experts"},
      {"rope_parameters", "[]", kCorrupt, "an object"},
      {"rope_parameters", "{\"rope_theta\": 10000.0}", kCorrupt, "sliding_attention is missing"},
      {"rope_parameters.chunked_attention", "{}", kUnsupported, "no such field"},
      {"rope_parameters.full_attention.rope_type", "\"yarn\"", kUnsupported, "proportional"},
      {"rope_parameters.full_attention.rope_theta", "null", kCorrupt, "positive"},
      {"rope_parameters.full_attention.rope_theta", "0", kCorrupt, "a number from"},
      {"rope_parameters.full_attention.partial_rotary_factor", "1.5", kCorrupt, "a number from"},
      {"rope_parameters.full_attention.factor", "0", kCorrupt, "a number from"},
      {"rope_parameters.full_attention.attention_factor", "2", kUnsupported, "no such field"},
      {"per_layer_config", "[]", kCorrupt, "an object"},
      {"per_layer_config.4", "{}", kCorrupt, "index from 0 to 3"},
      {"per_layer_config.-1", "{}", kCorrupt, "index from 0 to 3"},
      {"per_layer_config.x", "{}", kCorrupt, "index from 0 to 3"},
      {"per_layer_config.1", "8", kCorrupt, "an object"},
      {"per_layer_config.1.head_dim", "7", kCorrupt, ""},
      {"per_layer_config.1.sliding_window", "7", kUnsupported, "no such field"},
      {"per_layer_config.1.num_key_value_heads", "0", kCorrupt, "an integer from 1"},
      {"quantization_config", "{\"quant_method\": \"gptq\"}", kUnsupported, "\"gptq\""},
      {"quantization_config", "{}", kUnsupported, "no quant_method"},
      {"is_encoder_decoder", "true", kUnsupported, "false"},
      {"query_pre_attn_scalar", "256", kUnsupported, "no such field"},
      {"attn_logit_softcapping", "50.0", kUnsupported, "no such field"},
      {"rope_scaling", "{\"type\": \"linear\"}", kUnsupported, "no such field"},
      {"bos_token_id", "-1", kCorrupt, "a token id"},
      {"eos_token_id", "[]", kCorrupt, "a token id"},
      {"tie_word_embeddings", "\"yes\"", kCorrupt, "true or false"},
      {"text_config", "{}", kCorrupt, "model_type"},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.field + " = " + refusal.value);
    Json config = TinyTextConfig();
    if (refusal.field.starts_with("rope_parameters.")) {
      config["rope_parameters"] = Json::parse(R"({
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "proportional", "rope_theta": 10000.0}})");
    }
    Json* at = &config;
    std::string way = refusal.field;
    for (std::size_t dot; (dot = way.find('.')) != std::string::npos; way.erase(0, dot + 1)) {
      at = &(*at)[way.substr(0, dot)];
    }
    (*at)[way] = Json::parse(refusal.value);
    const std::string message = ErrorOf(refusal.kind, [&] { Parse(config); });
    EXPECT_THAT(message, HasSubstr("config.json: "));
    EXPECT_THAT(message, HasSubstr(refusal.expects));
    // The value that is wrong by itself is named itself; others name what they disagree with.
    if (refusal.expects.find("text_config") == std::string::npos &&
        refusal.expects != "num_experts" && !refusal.expects.empty() &&
        refusal.field != "text_config") {
      EXPECT_THAT(message, HasSubstr(refusal.field));
    }
  }
}

TEST(Config, LayerTypesNameTheEntryAndWhatIsKnown) {
  Json config = TinyTextConfig();
  config["layer_types"][2] = "linear_attention";
  EXPECT_EQ(ErrorOf(ErrorKind::kUnsupported, [&] { Parse(config); }),
            "config.json: layer_types[2] is \"linear_attention\"; culet knows "
            "\"sliding_attention\" and \"full_attention\"");
  config = Conditional(config);
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported, [&] { Parse(config); }),
              HasSubstr("config.json: text_config.layer_types[2] is"));
}

TEST(Config, MixtureOfExpertsNeedsItsThreeSizes) {
  for (const char* key : {"num_experts", "top_k_experts", "moe_intermediate_size"}) {
    Json config = TinyExpertConfig();
    config[key] = nullptr;
    EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Parse(config); }),
                HasSubstr(std::string(key) + " is null"));
    // Without the block they lie unused.
    config["enable_moe_block"] = false;
    EXPECT_EQ(Parse(config).experts, 0);
  }
  Json config = TinyExpertConfig();
  config["top_k_experts"] = 5;
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Parse(config); }),
              HasSubstr("top_k_experts is 5; expected at most num_experts = 4"));
}

TEST(Config, RopeMustHaveAnEntryForEachKindInUse) {
  Json config = TinyTextConfig();
  config["rope_parameters"]["sliding_attention"] = {{"rope_type", "default"}, {"rope_theta", 1e4}};
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Parse(config); }),
              HasSubstr("rope_parameters.full_attention is missing"));
  // A kind that no layer has needs none.
  config["rope_parameters"] = {
      {"full_attention", {{"rope_type", "proportional"}, {"rope_theta", 1e4}}}};
  config["layer_types"] = {"full_attention", "full_attention", "full_attention", "full_attention"};
  EXPECT_EQ(Parse(config).rope_of(LayerKind::kFull).theta, 1e4);
}

TEST(Config, LayersThatShareKvMustHaveTheGeometryOfItsOwner) {
  Json config = TinyTextConfig();
  config["per_layer_config"] = Json::parse(R"({"1": {"head_dim": 8}, "3": {"head_dim": 6}})");
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Parse(config); }),
              HasSubstr("layer 3 reads the KV of layer 1"));
  config["per_layer_config"] = Json::parse(R"({"1": {"head_dim": 8}, "01": {"head_dim": 8}})");
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Parse(config); }), HasSubstr("stands twice"));
}

TEST(Config, LayersOfOneKindMustHaveOneHeadDim) {
  Json config = TinyTextConfig();
  config["num_kv_shared_layers"] = 0;
  config["per_layer_config"] = Json::parse(R"({"1": {"head_dim": 8}, "3": {"head_dim": 6}})");
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported, [&] { Parse(config); }),
              HasSubstr("head_dim is 6 in layer 3 and 8"));
}

TEST(Config, InnerAndOuterModelTypesMustAgree) {
  Json config = Conditional(TinyTextConfig());
  config["text_config"]["model_type"] = "gemma4_unified_text";
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported, [&] { Parse(config); }),
              HasSubstr("text_config.model_type is \"gemma4_unified_text\""));
  config["text_config"].erase("model_type");
  EXPECT_EQ(Parse(config).model_type, "gemma4_text");
  config.erase("text_config");
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Parse(config); }),
              HasSubstr("text_config is missing"));
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Parse(Json::array()); }),
              HasSubstr("the whole file is an array"));
}

}  // namespace
}  // namespace culet
