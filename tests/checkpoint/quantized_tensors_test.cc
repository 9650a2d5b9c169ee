// If this fails, integer weights are read with the wrong layout or scales, or a damaged quantised
// checkpoint is opened.
#include "checkpoint/quantized_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/sizes.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::ErrorOf;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TensorsOf;
using ::culet::testing::TinyExpertConfig;
using ::culet::testing::TinyTensor;
using ::culet::testing::TinyTensors;
using ::culet::testing::TinyTextConfig;
using ::culet::testing::WriteModel;
using ::testing::HasSubstr;

constexpr const char* kGate = "model.layers.0.mlp.gate_proj.weight";
constexpr const char* kTable = "model.embed_tokens_per_layer.weight";

Json Quantized(Json config) {
  config["quantization_config"] = Json::parse(
      R"({"quant_method": "culet", "version": 1, "source_dtype": "bfloat16", "recipe": "int8"})");
  return config;
}

// Puts integers of `layout`, each byte `fill`, and scales in the place of a tensor.
void Put(TinyTensors* tensors, const std::string& name, const WeightLayout& layout,
         char fill = '\1') {
  TinyTensor& values = (*tensors)[name];
  values.dtype = IsInt4(layout.format) ? DType::kU8 : DType::kI8;
  values.shape = layout.data_shape();
  values.data.assign(static_cast<std::size_t>(layout.data_bytes()), fill);
  TinyTensor& scales = (*tensors)[name + kScaleSuffix];
  scales.dtype = DType::kBF16;
  scales.shape = layout.scale_shape();
  scales.data.assign(static_cast<std::size_t>(2 * layout.scales()), '\2');
}

class QuantizedTensorsTest : public ::testing::Test {
 protected:
  // gate [16, 24] int4 in tiles, the per-layer table [40, 24] int8 in rows.
  QuantizedTensorsTest() : tensors_(TensorsOf(ParseModelConfig(TinyTextConfig(), "config"))) {
    Put(&tensors_, kGate, gate_);
    Put(&tensors_, kTable, table_);
  }
  Checkpoint Open() { return Open(Quantized(TinyTextConfig())); }
  Checkpoint Open(const Json& config) {
    WriteModel(folder_.path(), config, tensors_);
    return Checkpoint::Open(FileSystem::Real(), folder_.path());
  }
  std::string Refused(ErrorKind kind = ErrorKind::kCorrupt) {
    return ErrorOf(kind, [&] { Open(); });
  }

  const WeightLayout gate_{WeightFormat::kInt4Tiles, 16, 24, 32};
  const WeightLayout table_{WeightFormat::kInt8Rows, 40, 24, 32};
  TinyTensors tensors_;
  TemporaryFolder folder_;
};

TEST_F(QuantizedTensorsTest, LayoutAndScalesAreFoundAndCounted) {
  const Checkpoint checkpoint = Open();
  const QuantizedTensor* gate = checkpoint.quantized("layers.0.mlp.gate_proj.weight");
  ASSERT_NE(gate, nullptr);
  EXPECT_EQ(gate->layout.format, WeightFormat::kInt4Tiles);
  EXPECT_EQ(gate->layout.n, 16);
  EXPECT_EQ(gate->layout.k, 24);
  EXPECT_EQ(gate->layout.group, 32);
  const QuantizedTensor* table = checkpoint.quantized("embed_tokens_per_layer.weight");
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->layout.format, WeightFormat::kInt8Rows);
  EXPECT_EQ(checkpoint.quantized("layers.0.mlp.up_proj.weight"), nullptr);
  EXPECT_EQ(checkpoint.main_dtype(), DType::kBF16);
  EXPECT_EQ(checkpoint.main_format(), WeightFormat::kInt4Tiles);
  EXPECT_EQ(checkpoint.stored_bytes("layers.0.mlp.gate_proj.weight"), 16u * 32 / 2 + 2 * 16);

  // By part: parameters as before, the bytes of values and scales.
  TinyTensors dense = TensorsOf(checkpoint.config());
  std::uint64_t bytes = 0, parameters = 0, listed = 0;
  for (const auto& [name, tensor] : tensors_) bytes += tensor.data.size();
  for (const auto& [name, tensor] : dense) parameters += testing::Elements(tensor.shape);
  for (const PartWeight& part : SizesByPart(checkpoint)) {
    bytes -= part.bytes;
    parameters -= part.parameters;
  }
  EXPECT_EQ(bytes, 0u);
  EXPECT_EQ(parameters, 0u);
  for (const Checkpoint::Listing& listing : checkpoint.listings()) listed += listing.parameters;
  for (const auto& [name, tensor] : dense) listed -= testing::Elements(tensor.shape);
  EXPECT_EQ(listed, 0u);
}

TEST_F(QuantizedTensorsTest, GroupsFollowFromTheScales) {
  Json config = Quantized(TinyTextConfig());
  config["hidden_size"] = 192;
  for (const std::int64_t group : {32, 64, 96, 192}) {
    tensors_ = TensorsOf(ParseModelConfig(config, "config"));
    Put(&tensors_, kGate, {WeightFormat::kInt8Tiles, 16, 192, group});
    const Checkpoint checkpoint = Open(config);
    EXPECT_EQ(checkpoint.quantized("layers.0.mlp.gate_proj.weight")->layout.group, group);
  }
}

TEST_F(QuantizedTensorsTest, WhatIsMissingOrDoesNotFitIsRefusedByName) {
  const TinyTensors good = tensors_;
  tensors_.erase(std::string(kGate) + kScaleSuffix);
  EXPECT_THAT(Refused(), HasSubstr(std::string(kGate) + "_scale are missing"));
  tensors_ = good;
  tensors_[kGate].shape = {1, 1, 4, 16, 2, 2};
  EXPECT_THAT(Refused(), HasSubstr("int4 of [intermediate_size, hidden_size] = [16, 24] are "
                                   "[1, 1, 4, 16, 4]"));
  tensors_ = good;
  tensors_[std::string(kGate) + kScaleSuffix].dtype = DType::kF16;
  EXPECT_THAT(Refused(), HasSubstr("is F16 [1, 1, 16]; scales of int4"));
  tensors_ = good;
  TinyTensor& scales = tensors_[std::string(kGate) + kScaleSuffix];
  scales.shape = {1, 3, 16};
  scales.data.resize(2 * 48);
  EXPECT_THAT(Refused(), HasSubstr("is BF16 [1, 3, 16]; scales of int4"));
  tensors_ = good;
  // Scales without a weight of integers are a tensor that nothing uses.
  tensors_["model.layers.0.mlp.up_proj.weight_scale"] = good.at(std::string(kGate) + kScaleSuffix);
  EXPECT_THAT(Refused(ErrorKind::kUnsupported), HasSubstr("up_proj.weight_scale"));
  tensors_ = good;
  tensors_["model.norm.weight"].dtype = DType::kI8;
  tensors_["model.norm.weight"].data.resize(24);
  EXPECT_THAT(Refused(), HasSubstr("vectors are F32, BF16 or F16"));
}

// Their parts are taken by themselves and would begin inside of a tile.
TEST_F(QuantizedTensorsTest, StackedPartsThatEndInsideATileAreRefused) {
  Put(&tensors_, "model.per_layer_model_projection.weight", {WeightFormat::kInt8Tiles, 24, 24, 32});
  EXPECT_THAT(Refused(), HasSubstr("no multiple of 16"));
  const Json config = Quantized(TinyExpertConfig());
  tensors_ = TensorsOf(ParseModelConfig(config, "config"));
  const std::string experts = "model.layers.0.experts.gate_up_proj";  // [4, 16, 24]
  Put(&tensors_, experts, {WeightFormat::kInt8Tiles, 64, 24, 32});
  EXPECT_EQ(Open(config).quantized("layers.0.experts.gate_up_proj")->layout.n, 64);
  Put(&tensors_, "model.layers.0.experts.down_proj", {WeightFormat::kInt8Tiles, 96, 8, 32});
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Open(config); }), HasSubstr("down_proj"));
}

TEST_F(QuantizedTensorsTest, IntegersNeedTheConfigsWordAndOthersMethodsAreRefused) {
  // Plain rows of integers then, which these are not.
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Open(TinyTextConfig()); }),
              HasSubstr("is I8 [40, 32]"));
  Json config = Quantized(TinyTextConfig());
  config["quantization_config"]["quant_method"] = "gptq";
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported, [&] { Open(config); }), HasSubstr("gptq"));
  config = Quantized(TinyTextConfig());
  config["quantization_config"]["version"] = 2;
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported, [&] { Open(config); }),
              HasSubstr("quantization_config.version is 2"));
  config = Quantized(TinyTextConfig());
  config["quantization_config"]["act_bits"] = 8;
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported, [&] { Open(config); }), HasSubstr("act_bits"));
  config = Quantized(TinyTextConfig());
  config["quantization_config"]["source_dtype"] = "int4";
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Open(config); }), HasSubstr("source_dtype"));
}

}  // namespace
}  // namespace culet
