// If this fails, an encoder of media is computed with although tensors of it are missing or wrong,
// or a model does not load for text because of one.
#include "checkpoint/media_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/sizes.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::Conditional;
using ::culet::testing::MakeTensor;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TensorsOf;
using ::culet::testing::TinyTensors;
using ::culet::testing::TinyTextConfig;
using ::culet::testing::WriteModel;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Json TowerConfig() {
  Json config = Conditional(TinyTextConfig());
  config["vision_config"] = Json::parse(R"({"hidden_size": 8, "intermediate_size": 6,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
    "patch_size": 2, "position_embedding_size": 5, "use_clipped_linears": true,
    "standardize": true})");
  config["audio_config"] = Json::parse(R"({"hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "subsampling_conv_channels": [4, 3], "output_proj_dims": 5})");
  return config;
}

Json UnifiedConfig() {
  Json config = Conditional(TinyTextConfig());
  config["model_type"] = "gemma4_unified";
  config["text_config"]["model_type"] = "gemma4_unified_text";
  config["vision_config"] = Json::parse(
      R"({"patch_size": 1, "pooling_kernel_size": 2, "mm_embed_dim": 6, "output_proj_dims": 6,
          "mm_posemb_size": 3})");
  config["audio_config"] = Json::parse(R"({"audio_embed_dim": 4})");
  return config;
}

// Text and media, the latter under their published names.
TinyTensors AllTensors(const Json& json) {
  const ModelConfig config = ParseModelConfig(json, "config.json");
  TinyTensors tensors = TensorsOf(config);
  float start = 100;
  for (const auto& media : {VisionTensors(config), AudioTensors(config)}) {
    for (const ExpectedTensor& tensor : media) {
      tensors["model." + tensor.name] = MakeTensor(tensor.shape, start += 1);
    }
  }
  return tensors;
}

class MediaTensorsTest : public ::testing::Test {
 protected:
  Checkpoint Write(const Json& config, const TinyTensors& tensors) {
    WriteModel(folder_.path(), config, tensors);
    return Checkpoint::Open(FileSystem::Real(), folder_.path());
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(MediaTensorsTest, WholeEncodersAreUsed) {
  const Json config = TowerConfig();
  const Checkpoint checkpoint = Write(config, AllTensors(config));
  EXPECT_EQ(checkpoint.vision_error(), "");
  EXPECT_EQ(checkpoint.audio_error(), "");
  EXPECT_THAT(checkpoint.warnings(), IsEmpty());
  EXPECT_TRUE(checkpoint.has_tensor("vision_tower.encoder.layers.0.mlp.up_proj.linear.weight"));
  EXPECT_EQ(checkpoint.tensor("vision_tower.encoder.layers.0.mlp.up_proj.input_min").elements(), 1);
  EXPECT_EQ(checkpoint.tensor("audio_tower.output_proj.bias").shape,
            (std::vector<std::int64_t>{5}));
  std::uint64_t media_bytes = 0;
  for (const Checkpoint::Listing& listing : checkpoint.listings()) {
    EXPECT_NE(listing.use, TensorUse::kUnused) << listing.name;
    if (listing.use == TensorUse::kMedia) media_bytes += listing.bytes;
  }
  std::uint64_t sum = 0;
  std::vector<std::string> parts;
  for (const PartWeight& part : MediaSizesByPart(checkpoint)) {
    sum += part.bytes;
    parts.push_back(part.part);
  }
  EXPECT_EQ(parts, (std::vector<std::string>{"vision tower", "audio tower"}));
  EXPECT_EQ(sum, media_bytes);
}

TEST_F(MediaTensorsTest, ShapesAreThoseOfTheConfig) {
  const ModelConfig config = ParseModelConfig(TowerConfig(), "config.json");
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& media : {VisionTensors(config), AudioTensors(config)}) {
    for (const ExpectedTensor& tensor : media) shapes[tensor.name] = tensor.shape;
  }
  const auto shape = [&](const std::string& name) { return shapes.at(name); };
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(shape("vision_tower.patch_embedder.input_proj.weight"), (Shape{8, 12}));
  EXPECT_EQ(shape("vision_tower.patch_embedder.position_embedding_table"), (Shape{2, 5, 8}));
  EXPECT_EQ(shape("vision_tower.encoder.layers.0.self_attn.k_proj.linear.weight"), (Shape{4, 8}));
  EXPECT_EQ(shape("vision_tower.encoder.layers.0.self_attn.o_proj.output_max"), Shape{});
  EXPECT_EQ(shape("vision_tower.std_scale"), (Shape{8}));
  EXPECT_EQ(shape("embed_vision.embedding_projection.weight"), (Shape{24, 8}));
  EXPECT_EQ(shape("audio_tower.subsample_conv_projection.layer1.conv.weight"), (Shape{3, 4, 3, 3}));
  EXPECT_EQ(shape("audio_tower.subsample_conv_projection.input_proj_linear.weight"), (Shape{8, 3}));
  EXPECT_EQ(shape("audio_tower.layers.0.feed_forward2.ffw_layer_1.linear.weight"), (Shape{32, 8}));
  EXPECT_EQ(shape("audio_tower.layers.0.lconv1d.depthwise_conv1d.weight"), (Shape{8, 1, 5}));
  EXPECT_EQ(shape("embed_audio.embedding_projection.weight"), (Shape{24, 5}));
}

TEST_F(MediaTensorsTest, BoundsMayBeMissing) {
  const Json config = TowerConfig();
  TinyTensors tensors = AllTensors(config);
  tensors.erase("model.vision_tower.encoder.layers.0.mlp.up_proj.input_min");
  tensors.erase("model.audio_tower.layers.0.self_attn.post.output_max");
  const Checkpoint checkpoint = Write(config, tensors);
  EXPECT_EQ(checkpoint.vision_error(), "");
  EXPECT_EQ(checkpoint.audio_error(), "");
  EXPECT_FALSE(checkpoint.has_tensor("audio_tower.layers.0.self_attn.post.output_max"));
}

TEST_F(MediaTensorsTest, AnEncoderThatLacksATensorIsRefusedByNameAndTextLoads) {
  const Json config = TowerConfig();
  TinyTensors tensors = AllTensors(config);
  tensors.erase("model.vision_tower.encoder.layers.0.self_attn.q_proj.linear.weight");
  const Checkpoint checkpoint = Write(config, tensors);
  EXPECT_THAT(
      checkpoint.vision_error(),
      AllOf(HasSubstr("model.safetensors: tensor model.vision_tower.encoder.layers.0."
                      "self_attn.q_proj.linear.weight is missing"),
            HasSubstr("[num_attention_heads·head_dim, vision_config.hidden_size] = [8, 8]")));
  EXPECT_EQ(checkpoint.audio_error(), "");
  EXPECT_THAT(checkpoint.warnings(), Contains(HasSubstr("cannot be given images or videos")));
  EXPECT_FALSE(checkpoint.has_tensor("vision_tower.std_bias"));
  EXPECT_TRUE(checkpoint.has_tensor("embed_tokens.weight"));
  for (const Checkpoint::Listing& listing : checkpoint.listings()) {
    if (listing.name.find("vision") == std::string::npos) continue;
    EXPECT_EQ(listing.use, TensorUse::kUnused) << listing.name;
    EXPECT_THAT(listing.reason, HasSubstr("not used"));
  }
}

TEST_F(MediaTensorsTest, WrongShapesDtypesAndStrangersRefuseTheEncoderAlone) {
  const Json config = TowerConfig();
  const auto error = [&](const std::string& name, testing::TinyTensor tensor) {
    TinyTensors tensors = AllTensors(config);
    tensors[name] = std::move(tensor);
    const Checkpoint checkpoint = Write(config, tensors);
    EXPECT_EQ(checkpoint.vision_error(), "");
    return checkpoint.audio_error();
  };
  EXPECT_THAT(error("model.audio_tower.output_proj.weight", MakeTensor({8, 5}, 1)),
              AllOf(HasSubstr("audio_tower.output_proj.weight is [8, 5]"), HasSubstr("[5, 8]")));
  EXPECT_THAT(
      error("model.audio_tower.output_proj.bias", {DType::kF64, {5}, std::string(40, '\0')}),
      HasSubstr("audio_tower.output_proj.bias is F64"));
  EXPECT_THAT(error("model.audio_tower.layers.1.norm_out.weight", MakeTensor({8}, 1)),
              AllOf(HasSubstr("audio_tower.layers.1.norm_out.weight"), HasSubstr("does not know")));
}

TEST_F(MediaTensorsTest, AModelWithoutThemTakesNoMediaAndSaysWhy) {
  const Json config = TowerConfig();
  const Checkpoint stripped = Write(config, TensorsOf(ParseModelConfig(config, "config.json")));
  EXPECT_THAT(stripped.vision_error(), HasSubstr("has no tensor of the vision tower"));
  EXPECT_THAT(stripped.warnings(), IsEmpty());
  const Json text = TinyTextConfig();
  const Checkpoint only_text = Write(text, TensorsOf(ParseModelConfig(text, "config.json")));
  EXPECT_THAT(only_text.vision_error(), HasSubstr("config.json: there is no vision_config"));
  EXPECT_THAT(only_text.audio_error(), HasSubstr("config.json: there is no audio_config"));
  Json refused = config;
  refused["vision_config"]["teleport"] = 1;
  const Checkpoint unknown = Write(refused, AllTensors(config));
  EXPECT_THAT(unknown.vision_error(), HasSubstr("vision_config.teleport"));
  EXPECT_EQ(unknown.audio_error(), "");
}

TEST_F(MediaTensorsTest, ProjectionsAreFoundUnderBothNames) {
  const Json config = UnifiedConfig();
  TinyTensors tensors = AllTensors(config);
  EXPECT_EQ(tensors.count("model.vision_embedder.patch_ln1.bias"), 1u);
  const Checkpoint published = Write(config, tensors);
  EXPECT_EQ(published.vision_error(), "");
  EXPECT_EQ(published.audio_error(), "");
  EXPECT_EQ(published.tensor("vision_embedder.pos_embedding").shape,
            (std::vector<std::int64_t>{3, 2, 6}));
  TinyTensors memory;
  for (auto& [name, tensor] : tensors) {
    std::string other = name;
    const std::string embedder = "model.vision_embedder.";
    if (name.starts_with(embedder)) other = "model.embed_vision." + name.substr(embedder.size());
    if (name == "model.embed_vision.embedding_projection.weight") {
      other = "model.embed_vision.multimodal_embedder.embedding_projection.weight";
    }
    memory[other] = tensor;
  }
  const Checkpoint saved = Write(config, memory);
  EXPECT_EQ(saved.vision_error(), "");
  EXPECT_TRUE(saved.has_tensor("embed_vision.embedding_projection.weight"));
  EXPECT_TRUE(saved.has_tensor("vision_embedder.patch_dense.weight"));
}

}  // namespace
}  // namespace culet
