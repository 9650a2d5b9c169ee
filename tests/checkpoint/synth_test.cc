// If this fails, measurements at real sizes are of another model than they say, or a failed run
// leaves half a model behind.
#include "checkpoint/synth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/checkpoint.h"
#include "checkpoint/generation_config.h"
#include "checkpoint/published.h"
#include "checkpoint/quantize_recipe.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::ErrorOf;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TinyExpertConfig;
using ::culet::testing::TinyTextConfig;
using ::culet::testing::WriteText;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

Checkpoint Open(const fs::path& path) { return Checkpoint::Open(FileSystem::Real(), path); }

void Write(const Json& config, const fs::path& folder, const SynthOptions& options = {}) {
  SynthesizeConfig(OrderedJson(config), PublishedGenerationConfig("e2b"), folder, options);
}

std::string Bytes(const Checkpoint& checkpoint, const std::string& name) {
  const auto bytes = checkpoint.tensor(name).bytes;
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

float At(const TensorView& tensor, std::size_t index) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, tensor.bytes.data() + 2 * index, 2);
  return Bf16ToF32(bits);
}

TEST(Synth, WritesACheckpointThatOpens) {
  TemporaryFolder folder;
  Write(TinyTextConfig(), folder.path() / "a");
  Write(TinyExpertConfig(), folder.path() / "b");
  const Checkpoint dense = Open(folder.path() / "a");
  EXPECT_EQ(dense.main_dtype(), DType::kBF16);
  EXPECT_EQ(dense.config().ple_width, 6);
  EXPECT_EQ(Open(folder.path() / "b").config().experts, 4);
  const GenerationConfig generation =
      LoadGenerationConfig(FileSystem::Real(), folder.path() / "a" / "generation_config.json");
  EXPECT_TRUE(generation.do_sample);
  EXPECT_EQ(generation.top_k, 64);
}

TEST(Synth, EncodersOfMediaAreWrittenWhole) {
  TemporaryFolder folder;
  Json config = testing::Conditional(TinyTextConfig());
  config["vision_config"] = Json::parse(R"({"hidden_size": 8, "intermediate_size": 6,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4,
    "position_embedding_size": 5, "use_clipped_linears": true, "standardize": true})");
  config["audio_config"] = Json::parse(R"({"hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "subsampling_conv_channels": [4, 3], "output_proj_dims": 5})");
  Write(config, folder.path() / "model");
  const Checkpoint checkpoint = Open(folder.path() / "model");
  EXPECT_EQ(checkpoint.vision_error(), "");
  EXPECT_EQ(checkpoint.audio_error(), "");
  const std::string linear = "vision_tower.encoder.layers.0.mlp.up_proj.";
  EXPECT_EQ(At(checkpoint.tensor(linear + "input_min"), 0), -20.0f);
  EXPECT_EQ(At(checkpoint.tensor(linear + "output_max"), 0), 20.0f);
}

// Deviation of a weight's values, read through its layout.
double Deviation(const Checkpoint& checkpoint, const std::string& name) {
  const QuantizedTensor& quantized = *checkpoint.quantized(name);
  const WeightLayout& layout = quantized.layout;
  const auto* data = reinterpret_cast<const std::uint8_t*>(checkpoint.tensor(name).bytes.data());
  double squares = 0;
  for (std::int64_t row = 0; row < layout.n; ++row) {
    for (std::int64_t col = 0; col < layout.k; ++col) {
      const float scale = At(quantized.scales, static_cast<std::size_t>(layout.scale(row, col)));
      const double value = QuantAt(layout, data, row, col) * static_cast<double>(scale);
      squares += value * value;
    }
  }
  return std::sqrt(squares / static_cast<double>(layout.n * layout.k));
}

TEST(Synth, IntegerWeightsAreThoseThatQuantisingWouldWrite) {
  Json config = TinyTextConfig();
  config["hidden_size"] = 64;
  config["intermediate_size"] = 64;
  const std::string weight = "layers.0.mlp.gate_proj.weight";
  for (const auto& [to, format] :
       {std::pair{"int8", WeightFormat::kInt8Tiles}, {"int4", WeightFormat::kInt4Tiles}}) {
    TemporaryFolder folder;
    SynthOptions options;
    options.to = to;
    Write(config, folder.path() / "a", options);
    Write(config, folder.path() / "b", options);
    const Checkpoint a = Open(folder.path() / "a");
    EXPECT_EQ(a.main_format(), format);
    EXPECT_EQ(a.main_dtype(), DType::kBF16);
    EXPECT_EQ(Bytes(a, weight), Bytes(Open(folder.path() / "b"), weight));
    EXPECT_EQ(a.quantized("layers.0.input_layernorm.weight"), nullptr);
    // 4,096 values: the deviation's own is 0.02/√8192 = 0.0002; rounding adds under 2%.
    EXPECT_NEAR(Deviation(a, weight), 0.02, 0.0015);
    // What quantising a bf16 checkpoint of this config would plan.
    Write(config, folder.path() / "dense");
    const Checkpoint dense = Open(folder.path() / "dense");
    for (const PlannedTensor& planned : PlanQuantization(dense, MakeRecipe(to, 0, {}))) {
      const std::string& name = planned.source->name;
      const std::string short_name = name.substr(TensorPrefix(dense.config()).size());
      const QuantizedTensor* quantized = a.quantized(short_name);
      ASSERT_EQ(quantized == nullptr, planned.dense()) << name;
      EXPECT_EQ(a.stored_bytes(short_name), planned.bytes()) << name;
    }
  }
  SynthOptions options;
  options.to = "int5";
  TemporaryFolder folder;
  EXPECT_THAT(
      ErrorOf(ErrorKind::kInvalidArgument, [&] { Write(config, folder.path() / "a", options); }),
      HasSubstr("int8 or int4 is expected"));
}

TEST(Synth, PublishedConfigsHaveTheirEncoders) {
  for (const std::string_view size : PublishedSizes()) {
    const ModelConfig config =
        ParseModelConfig(Json(PublishedConfig(std::string(size))), "config.json");
    EXPECT_EQ(config.vision_error + config.audio_error, "") << size;
    ASSERT_TRUE(config.vision) << size;
    EXPECT_EQ(config.variant(),
              ParseModelConfig(Json(PublishedTextConfig(std::string(size))), "text").variant());
    const bool unified = size == "12b";
    const bool hears = unified || size.starts_with("e");
    EXPECT_EQ(config.vision->kind, unified ? EncoderKind::kProjection : EncoderKind::kTower);
    EXPECT_EQ(config.audio.has_value(), hears) << size;
    EXPECT_EQ(config.vision->use_clipped_linears, size.starts_with("e")) << size;
  }
}

TEST(Synth, MatricesAreNormalAndNormsLieAroundOne) {
  TemporaryFolder folder;
  Json config = TinyTextConfig();
  config["vocab_size"] = 4096;
  Write(config, folder.path() / "model");
  const Checkpoint checkpoint = Open(folder.path() / "model");
  const TensorView& matrix = checkpoint.tensor("embed_tokens.weight");
  const auto count = static_cast<std::size_t>(matrix.elements());
  double sum = 0, squares = 0, fourths = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double value = At(matrix, i) / 0.02;
    sum += value;
    squares += value * value;
    fourths += value * value * value * value;
  }
  // 98304 values: the mean's deviation is 0.0032, that of the mean square 0.0045, of the mean
  // fourth power 0.031; five of each.
  const double n = static_cast<double>(count);
  EXPECT_NEAR(sum / n, 0.0, 0.016);
  EXPECT_NEAR(squares / n, 1.0, 0.023);
  EXPECT_NEAR(fourths / n, 3.0, 0.16);
  const TensorView& norm = checkpoint.tensor("layers.0.input_layernorm.weight");
  for (std::size_t i = 0; i < 24; ++i) EXPECT_NEAR(At(norm, i), 1.0, 0.6);
  EXPECT_NE(At(norm, 0), At(norm, 1));
}

TEST(Synth, TheSeedAloneDecidesTheBytes) {
  TemporaryFolder folder;
  SynthOptions other;
  other.seed = 2;
  SynthOptions sharded;
  sharded.shard_bytes = 4000;
  Write(TinyTextConfig(), folder.path() / "a");
  Write(TinyTextConfig(), folder.path() / "b");
  Write(TinyTextConfig(), folder.path() / "c", other);
  Write(TinyTextConfig(), folder.path() / "d", sharded);
  const Checkpoint a = Open(folder.path() / "a");
  const Checkpoint b = Open(folder.path() / "b");
  const Checkpoint c = Open(folder.path() / "c");
  const Checkpoint d = Open(folder.path() / "d");
  for (const auto& [name, tensor] : a.tensors()) {
    EXPECT_EQ(Bytes(a, name), Bytes(b, name));
    EXPECT_NE(Bytes(a, name), Bytes(c, name)) << name;
    EXPECT_EQ(Bytes(a, name), Bytes(d, name));
  }
  EXPECT_NE(Bytes(a, "layers.0.mlp.gate_proj.weight"), Bytes(a, "layers.0.mlp.up_proj.weight"));
  EXPECT_TRUE(fs::exists(folder.path() / "d" / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(folder.path() / "d" / "model.safetensors"));
  EXPECT_TRUE(fs::exists(folder.path() / "a" / "model.safetensors"));
}

TEST(Synth, ProgressEndsAtTheTotal) {
  TemporaryFolder folder;
  std::uint64_t done = 0, total = 1;
  SynthOptions options;
  options.progress = [&](std::uint64_t now, std::uint64_t all) {
    EXPECT_GT(now, done);
    done = now;
    total = all;
  };
  Write(TinyTextConfig(), folder.path() / "model", options);
  EXPECT_EQ(done, total);
}

TEST(Synth, CopiesATokenizerAndMissesItBeforeWriting) {
  TemporaryFolder folder;
  WriteText(folder.path() / "mine.json", "{\"x\": 1}");
  SynthOptions options;
  options.tokenizer_file = folder.path() / "mine.json";
  Write(TinyTextConfig(), folder.path() / "a", options);
  EXPECT_EQ(FileSystem::Real().ReadFile(folder.path() / "a" / "tokenizer.json", 100), "{\"x\": 1}");
  options.tokenizer_file = folder.path() / "absent.json";
  EXPECT_THAT(
      ErrorOf(ErrorKind::kNotFound, [&] { Write(TinyTextConfig(), folder.path() / "b", options); }),
      HasSubstr("absent.json"));
  EXPECT_FALSE(fs::exists(folder.path() / "b"));
}

TEST(Synth, NeverOverwritesAModel) {
  TemporaryFolder folder;
  Write(TinyTextConfig(), folder.path());
  EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument, [&] { Write(TinyTextConfig(), folder.path()); }),
              HasSubstr("already"));
  EXPECT_NO_THROW(Open(folder.path()));
  WriteText(folder.path() / "file", "");
  EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument,
                      [&] { Write(TinyTextConfig(), folder.path() / "file"); }),
              HasSubstr("is a file"));
}

TEST(Synth, AFailureLeavesNothingBehind) {
  TemporaryFolder folder;
  SynthOptions options;
  options.shard_bytes = 4000;
  options.progress = [](std::uint64_t done, std::uint64_t total) {
    if (done == total) throw Error(ErrorKind::kIo, "planted");
  };
  ErrorOf(ErrorKind::kIo, [&] { Write(TinyTextConfig(), folder.path() / "model", options); });
  EXPECT_FALSE(fs::exists(folder.path() / "model"));
}

TEST(Synth, SpaceThatDoesNotSufficeIsRefusedWithTheNumbers) {
  TemporaryFolder folder;
  Json config = TinyExpertConfig();
  config["hidden_size"] = 65536;
  config["num_experts"] = 4096;
  config["moe_intermediate_size"] = 131072;
  EXPECT_THAT(ErrorOf(ErrorKind::kResource, [&] { Write(config, folder.path() / "model"); }),
              ::testing::AllOf(HasSubstr("the checkpoint needs 844"), HasSubstr("MB are free")));
  EXPECT_FALSE(fs::exists(folder.path() / "model"));
}

TEST(Synth, UnknownSizesAreRefusedWithTheKnownOnes) {
  TemporaryFolder folder;
  EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument,
                      [&] { SynthesizeCheckpoint("7b", folder.path() / "model", {}); }),
              HasSubstr("e2b, e4b, 12b, 26b-a4b, 31b"));
}

}  // namespace
}  // namespace culet
