// If this fails, a quantised folder is not the model that it was made of, or a failed run leaves
// something behind.
#include "checkpoint/quantize_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/folder_in_making.h"
#include "checkpoint/model_files.h"
#include "checkpoint/published.h"
#include "checkpoint/quantize.h"
#include "checkpoint/synth.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::ErrorOf;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TinyExpertConfig;
using ::culet::testing::TinyTextConfig;
using ::culet::testing::WriteModel;
using ::culet::testing::WriteText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

Checkpoint Open(const fs::path& path) { return Checkpoint::Open(FileSystem::Real(), path); }

// Wide enough that every class can be quantised.
Json WideConfig() {
  Json config = TinyTextConfig();
  config["hidden_size"] = 96;
  config["intermediate_size"] = 64;
  config["head_dim"] = 16;
  config["global_head_dim"] = 32;
  config["hidden_size_per_layer_input"] = 32;
  return config;
}

Json WideExpertConfig() {
  Json config = WideConfig();
  const Json experts = TinyExpertConfig();
  for (const char* key :
       {"hidden_size_per_layer_input", "num_kv_shared_layers", "attention_k_eq_v",
        "num_global_key_value_heads", "enable_moe_block", "num_experts", "top_k_experts"}) {
    config[key] = experts[key];
  }
  config["moe_intermediate_size"] = 24;
  return config;
}

void Synthesize(const Json& config, const fs::path& folder) {
  SynthesizeConfig(OrderedJson(config), PublishedGenerationConfig("e2b"), folder, {});
}

std::map<std::string, PlannedTensor> ByName(const std::vector<PlannedTensor>& tensors) {
  std::map<std::string, PlannedTensor> by_name;
  for (const PlannedTensor& tensor : tensors) by_name.emplace(tensor.source->name, tensor);
  return by_name;
}

TEST(QuantizeRecipe, EveryClassHasItsFormat) {
  TemporaryFolder folder;
  Synthesize(WideConfig(), folder.path() / "model");
  const Checkpoint checkpoint = Open(folder.path() / "model");
  const auto int8 = ByName(PlanQuantization(checkpoint, MakeRecipe("int8", 0, {})));
  const auto format = [](const auto& plan, const std::string& name) {
    return plan.at("model." + name).layout.format;
  };
  EXPECT_EQ(format(int8, "embed_tokens.weight"), WeightFormat::kInt8Tiles);
  EXPECT_EQ(format(int8, "embed_tokens_per_layer.weight"), WeightFormat::kInt8Rows);
  EXPECT_EQ(format(int8, "layers.0.mlp.down_proj.weight"), WeightFormat::kInt8Tiles);
  EXPECT_EQ(format(int8, "layers.0.per_layer_projection.weight"), WeightFormat::kInt8Tiles);
  EXPECT_EQ(format(int8, "layers.0.input_layernorm.weight"), WeightFormat::kDense);
  EXPECT_EQ(format(int8, "layers.0.layer_scalar"), WeightFormat::kDense);
  // The largest that divides: 64 of a row of 64, 32 of 96, 128 of 128.
  EXPECT_EQ(int8.at("model.layers.0.mlp.down_proj.weight").layout.group, 64);
  EXPECT_EQ(int8.at("model.embed_tokens.weight").layout.group, 32);
  EXPECT_EQ(int8.at("model.embed_tokens_per_layer.weight").layout.group, 128);

  const auto int4 = ByName(PlanQuantization(
      checkpoint, MakeRecipe("int4", 64, {{"mlp", ""}, {"per_layer-embedding", "int8"}})));
  EXPECT_EQ(format(int4, "embed_tokens.weight"), WeightFormat::kInt8Tiles);
  EXPECT_EQ(format(int4, "layers.0.self_attn.q_proj.weight"), WeightFormat::kInt4Tiles);
  EXPECT_EQ(format(int4, "per_layer_model_projection.weight"), WeightFormat::kInt8Tiles);
  EXPECT_EQ(format(int4, "layers.0.mlp.down_proj.weight"), WeightFormat::kDense);
  EXPECT_EQ(format(int4, "embed_tokens_per_layer.weight"), WeightFormat::kInt8Rows);
  EXPECT_EQ(int4.at("model.layers.0.self_attn.q_proj.weight").layout.group, 32);
}

TEST(QuantizeRecipe, WhatCannotBeQuantisedSaysWhy) {
  TemporaryFolder folder;
  Synthesize(WideExpertConfig(), folder.path() / "experts");
  const Checkpoint experts = Open(folder.path() / "experts");
  auto plan = ByName(PlanQuantization(experts, MakeRecipe("int8", 0, {})));
  // 2 · 24 rows an expert are three tiles, and hidden rows are six.
  EXPECT_EQ(plan.at("model.layers.0.experts.gate_up_proj").layout.format, WeightFormat::kInt8Tiles);
  EXPECT_EQ(plan.at("model.layers.0.experts.gate_up_proj").layout.n, 4 * 48);
  EXPECT_TRUE(plan.at("model.layers.0.router.proj.weight").dense());

  Json odd = WideExpertConfig();
  odd["moe_intermediate_size"] = 20;
  Synthesize(odd, folder.path() / "odd");
  const Checkpoint uneven = Open(folder.path() / "odd");
  plan = ByName(PlanQuantization(uneven, MakeRecipe("int8", 0, {})));
  EXPECT_TRUE(plan.at("model.layers.0.experts.gate_up_proj").dense());
  EXPECT_THAT(plan.at("model.layers.0.experts.gate_up_proj").reason,
              HasSubstr("multiple of 16 rows"));

  // Rows of 6 and of 24 would be padded to 32.
  Synthesize(TinyTextConfig(), folder.path() / "tiny");
  const Checkpoint tiny = Open(folder.path() / "tiny");
  plan = ByName(PlanQuantization(tiny, MakeRecipe("int8", 0, {})));
  EXPECT_THAT(plan.at("model.layers.0.per_layer_projection.weight").reason, HasSubstr("smaller"));
  EXPECT_THAT(plan.at("model.per_layer_model_projection.weight").reason, HasSubstr("16 rows"));
}

TEST(QuantizeRecipe, AskingForWhatThereIsNotIsRefusedByName) {
  const auto refusal = [](const std::string& name, std::int64_t group,
                          const std::vector<std::pair<std::string, std::string>>& keep) {
    return ErrorOf(ErrorKind::kInvalidArgument, [&] { MakeRecipe(name, group, keep); });
  };
  EXPECT_THAT(refusal("int5", 0, {}), HasSubstr("\"int5\"; int8 or int4"));
  EXPECT_THAT(refusal("int4", 48, {}), HasSubstr("48; 32, 64 or 128"));
  EXPECT_THAT(refusal("int8", 64, {}), HasSubstr("int8 does not take"));
  EXPECT_THAT(refusal("int4", 0, {{"heads", ""}}), HasSubstr("\"heads\""));
  EXPECT_THAT(refusal("int4", 0, {{"mlp", "f8"}}), HasSubstr("\"f8\"; bf16, int8 or int4"));
  EXPECT_THAT(refusal("int4", 0, {{"per-layer projection", "int4"}}), HasSubstr("does not bear"));
}

std::string Text(const fs::path& path) {
  return FileSystem::Real().ReadFile(path, std::uint64_t{1} << 30);
}

// Quantises `from` into a folder of that name.
void Write(const fs::path& from, const fs::path& to, const QuantizeRecipe& recipe,
           const QuantizeWriteOptions& options = {}) {
  const Checkpoint checkpoint = Open(from);
  ThreadPool pool(2);
  FolderInMaking making(to);
  WriteQuantized(checkpoint, recipe, PlanQuantization(checkpoint, recipe), pool, making.path(),
                 options);
  making.Commit();
}

void ExpectSameBytes(const TensorView& tensor, std::span<const std::byte> bytes) {
  ASSERT_EQ(tensor.bytes.size(), bytes.size()) << tensor.name;
  EXPECT_EQ(std::memcmp(tensor.bytes.data(), bytes.data(), bytes.size()), 0) << tensor.name;
}

TEST(QuantizeCheckpoint, EveryTensorIsThereAsTheFormulaHasIt) {
  for (const Json& config : {WideConfig(), WideExpertConfig()}) {
    for (const char* name : {"int8", "int4"}) {
      TemporaryFolder folder;
      const fs::path from = folder.path() / "model", to = folder.path() / "quantised";
      Synthesize(config, from);
      const QuantizeRecipe recipe = MakeRecipe(name, 0, {});
      QuantizeWriteOptions options;
      options.shard_bytes = 20'000;
      std::uint64_t last = 0, total = 0;
      options.progress = [&](std::uint64_t done, std::uint64_t all) {
        EXPECT_GE(done, last);
        last = done;
        total = all;
      };
      Write(from, to, recipe, options);
      EXPECT_EQ(last, total);
      EXPECT_GT(total, 0u);

      const Checkpoint checkpoint = Open(from);
      const ModelFiles files = FindModelFiles(FileSystem::Real(), to);
      EXPECT_GT(files.shards.size(), 2u);
      std::map<std::string, TensorView> found;
      const std::vector<SafetensorsFile> shards = OpenShards(FileSystem::Real(), files);
      for (const SafetensorsFile& shard : shards) {
        found.insert(shard.tensors().begin(), shard.tensors().end());
      }
      ThreadPool pool(1);
      for (const PlannedTensor& tensor : PlanQuantization(checkpoint, recipe)) {
        const TensorView& source = *tensor.source;
        ASSERT_EQ(found.count(source.name), 1u) << source.name;
        const TensorView& written = found.at(source.name);
        if (tensor.dense()) {
          EXPECT_EQ(written.dtype, source.dtype);
          EXPECT_EQ(written.shape, source.shape);
          ExpectSameBytes(written, source.bytes);
          found.erase(source.name);
          continue;
        }
        const WeightLayout& layout = tensor.layout;
        std::vector<std::uint8_t> data(static_cast<std::size_t>(layout.data_bytes()));
        std::vector<std::uint16_t> scales(static_cast<std::size_t>(layout.scales()));
        QuantizeRows rows;
        rows.dtype = source.dtype;
        rows.values = source.bytes.data();
        rows.count = layout.n;
        ASSERT_FALSE(Quantize(layout, rows, pool, data, scales));
        EXPECT_EQ(written.dtype, IsInt4(layout.format) ? DType::kU8 : DType::kI8);
        EXPECT_EQ(written.shape, layout.data_shape());
        ExpectSameBytes(written, std::as_bytes(std::span(data)));
        const TensorView& scale = found.at(source.name + "_scale");
        EXPECT_EQ(scale.dtype, DType::kBF16);
        EXPECT_EQ(scale.shape, layout.scale_shape());
        ExpectSameBytes(scale, std::as_bytes(std::span(scales)));
        if (layout.data_bytes() % 64 == 0 && layout.scales() % 32 == 0) {
          EXPECT_EQ(written.file_offset % 64, 0u) << source.name;
        }
        found.erase(source.name);
        found.erase(source.name + "_scale");
      }
      EXPECT_THAT(found, IsEmpty());
      const Json written = Json::parse(Text(to / "config.json"));
      EXPECT_EQ(written["quantization_config"]["quant_method"], "culet");
      EXPECT_EQ(written["quantization_config"]["source_dtype"], "bfloat16");
      Json rest = written;
      rest.erase("quantization_config");
      EXPECT_EQ(rest, Json::parse(Text(from / "config.json")));
      EXPECT_EQ(Text(to / "generation_config.json"), Text(from / "generation_config.json"));
    }
  }
}

std::vector<std::string> Names(const fs::path& folder) { return FileSystem::Real().List(folder); }

// transformers uses such a head, and so do we.
TEST(QuantizeCheckpoint, AHeadThatDiffersFromATiedEmbeddingComesAlong) {
  Json config = WideConfig();
  config["tie_word_embeddings"] = false;
  for (const char* to : {"int8", "int4"}) {
    TemporaryFolder folder;
    Synthesize(config, folder.path() / "model");
    config["tie_word_embeddings"] = true;
    WriteText(folder.path() / "model" / "config.json", config.dump());
    const Checkpoint source = Open(folder.path() / "model");
    ASSERT_FALSE(source.head_is_embedding());
    const QuantizeRecipe recipe = MakeRecipe(to, 0, {});
    fs::create_directory(folder.path() / "copy");
    ThreadPool pool(1);
    WriteQuantized(source, recipe, PlanQuantization(source, recipe), pool, folder.path() / "copy",
                   {});
    const Checkpoint copy = Open(folder.path() / "copy");
    EXPECT_FALSE(copy.head_is_embedding());
    ASSERT_NE(copy.quantized("lm_head.weight"), nullptr);
    EXPECT_EQ(copy.quantized("lm_head.weight")->layout.format, WeightFormat::kInt8Tiles);
    config["tie_word_embeddings"] = false;
  }
}

TEST(QuantizeCheckpoint, AWeightThatIsNoNumberIsNamedAndNothingIsLeft) {
  TemporaryFolder folder;
  const fs::path from = folder.path() / "model";
  fs::create_directory(from);
  const ModelConfig config = ParseModelConfig(WideConfig(), "config.json");
  auto tensors = testing::TensorsOf(config);
  const float bad = std::nanf("");
  auto& data = tensors.at("model.layers.1.mlp.up_proj.weight").data;
  std::memcpy(data.data() + 4 * (3 * 96 + 5), &bad, 4);
  WriteModel(from, WideConfig(), tensors);
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt,
                      [&] { Write(from, folder.path() / "to", MakeRecipe("int4", 0, {})); }),
              ::testing::AllOf(HasSubstr("layers.1.mlp.up_proj.weight has nan in row 3, column 5"),
                               HasSubstr("model.safetensors")));
  EXPECT_THAT(Names(folder.path()), ElementsAre("model"));
}

TEST(QuantizeCheckpoint, NothingIsOverwrittenAndNothingIsQuantisedTwice) {
  TemporaryFolder folder;
  const fs::path from = folder.path() / "model", to = folder.path() / "to";
  Synthesize(WideConfig(), from);
  const QuantizeRecipe recipe = MakeRecipe("int8", 0, {});
  EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument, [&] { Write(from, from, recipe); }),
              HasSubstr("is there already"));
  fs::create_directory(to);  // an empty folder is as good as none
  Write(from, to / "", recipe);
  EXPECT_TRUE(fs::exists(to / "config.json"));
  EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument, [&] { Write(from, to, recipe); }),
              HasSubstr("is there already"));
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported, [&] { Write(to, folder.path() / "again", recipe); }),
              HasSubstr("quantised already"));
  EXPECT_THAT(Names(folder.path()), ElementsAre("model", "to"));
}

TEST(QuantizeCheckpoint, WhoStopsInBetweenLeavesNothing) {
  TemporaryFolder folder;
  const fs::path from = folder.path() / "model";
  Synthesize(WideConfig(), from);
  struct Stop {};
  QuantizeWriteOptions options;
  options.progress = [](std::uint64_t done, std::uint64_t total) {
    if (2 * done > total) throw Stop();
  };
  EXPECT_THROW(Write(from, folder.path() / "to", MakeRecipe("int4", 32, {}), options), Stop);
  EXPECT_THAT(Names(folder.path()), ElementsAre("model"));
}

}  // namespace
}  // namespace culet
