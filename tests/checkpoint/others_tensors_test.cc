// If this fails, integer weights that others wrote are read as other numbers than they are, or a
// checkpoint whose scheme culet does not compute is opened.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "checkpoint/checkpoint.h"
#include "checkpoint/quantize_recipe.h"
#include "checkpoint/repack.h"
#include "checkpoint/sizes.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::ErrorOf;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TensorsOf;
using ::culet::testing::TinyTensor;
using ::culet::testing::TinyTensors;
using ::culet::testing::TinyTextConfig;
using ::testing::HasSubstr;

constexpr const char* kGate = "model.layers.0.mlp.gate_proj.weight";
constexpr const char* kGateShort = "layers.0.mlp.gate_proj.weight";

std::string RandomBytes(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TinyTensor Numbers(DType dtype, std::vector<std::int64_t> shape) {
  TinyTensor tensor = testing::MakeTensor(std::move(shape), 0.5f);
  tensor.dtype = dtype;
  if (dtype == DType::kF32) return tensor;
  std::string narrow;
  for (std::size_t i = 0; i < tensor.data.size(); i += 4) narrow += tensor.data.substr(i + 2, 2);
  tensor.data = narrow;  // the upper half: bf16, and some number in f16
  return tensor;
}

TinyTensor Integers64(const std::vector<std::int64_t>& values) {
  TinyTensor tensor;
  tensor.dtype = DType::kI64;
  tensor.shape = {static_cast<std::int64_t>(values.size())};
  tensor.data.assign(reinterpret_cast<const char*>(values.data()), values.size() * 8);
  return tensor;
}

// Every value and every scale in memory is that of the file.
void ExpectExact(const QuantizedTensor& tensor) {
  ThreadPool pool(2);
  const WeightLayout layout = tensor.layout;
  const WeightLayout stored = tensor.stored_layout();
  std::vector<std::uint8_t> data(static_cast<std::size_t>(layout.data_bytes()), 0xcc);
  std::vector<std::byte> scales(
      static_cast<std::size_t>(layout.scales()) * DTypeBytes(tensor.scale_dtype()),
      std::byte{0xcc});
  RepackValues(tensor, pool, data);
  RepackScales(tensor, pool, scales);
  const auto* source = reinterpret_cast<const std::uint8_t*>(tensor.values.bytes.data());
  for (std::int64_t row = 0; row < layout.padded_n(); ++row) {
    for (std::int64_t col = 0; col < layout.padded_k(); ++col) {
      const bool inside = row < layout.n && col < layout.k;
      ASSERT_EQ(QuantAt(layout, data.data(), row, col),
                inside ? QuantAt(stored, source, row, col) : 0)
          << row << ", " << col;
      const float scale = ElementAsF32(tensor.scale_dtype(), scales.data(),
                                       static_cast<std::size_t>(layout.scale(row, col)));
      const std::int64_t index =
          tensor.scales.elements() == 1 ? 0 : row * layout.groups() + col / layout.group;
      const float expected = row < layout.n
                                 ? ElementAsF32(tensor.scales.dtype, tensor.scales.bytes.data(),
                                                static_cast<std::size_t>(index))
                                 : 0;
      ASSERT_EQ(scale, expected) << row << ", " << col;
    }
  }
}

TEST(Repack, EveryValueAndScaleStaysWhatItIsAtEverySizeAroundATile) {
  for (const WeightFormat format :
       {WeightFormat::kInt8Plain, WeightFormat::kInt4Plain, WeightFormat::kInt2Plain}) {
    for (const std::int64_t n : {1, 15, 16, 17, 40}) {
      for (const std::int64_t k : {1, 3, 4, 8, 31, 32, 33, 64, 96, 130}) {
        for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
          QuantizedTensor tensor;
          tensor.stored = format;
          tensor.layout = {format == WeightFormat::kInt8Plain ? WeightFormat::kInt8Tiles
                                                              : WeightFormat::kInt4Tiles,
                           n, k, 32};
          if (k % 32 != 0) tensor.layout.group = tensor.layout.padded_k();
          const std::string data =
              RandomBytes(static_cast<std::size_t>(tensor.stored_layout().data_bytes()),
                          static_cast<std::uint64_t>(n * k));
          const TinyTensor scales = Numbers(dtype, {n, tensor.layout.groups()});
          tensor.values.bytes = std::as_bytes(std::span(data));
          tensor.scales = {"",      dtype, scales.shape, std::as_bytes(std::span(scales.data)),
                           nullptr, 0};
          ExpectExact(tensor);
          if (HasFatalFailure()) FAIL() << WeightFormatName(format) << " " << n << " × " << k;
        }
      }
    }
  }
}

// A word of compressed-tensors as its documentation writes it.
TEST(Repack, TheLowestFourBitsOfAWordAreItsFirstColumn) {
  const std::uint32_t word = 0xf7654321u;
  const WeightLayout layout{WeightFormat::kInt4Plain, 1, 8, 8};
  for (int col = 0; col < 8; ++col) {
    EXPECT_EQ(QuantAt(layout, reinterpret_cast<const std::uint8_t*>(&word), 0, col),
              static_cast<int>(word >> 4 * col & 15) - 8);
  }
}

Json Packed(Json config) {
  config["quantization_config"] = Json::parse(R"({
    "quant_method": "compressed-tensors", "format": "pack-quantized", "version": "0.13.0",
    "quantization_status": "compressed", "global_compression_ratio": null,
    "ignore": ["lm_head", "re:.*embed.*"], "kv_cache_scheme": null, "sparsity_config": {},
    "transform_config": {}, "config_groups": {"group_0": {
      "targets": ["Linear"], "input_activations": null, "output_activations": null,
      "format": "pack-quantized", "weights": {
        "num_bits": 4, "type": "int", "symmetric": true, "strategy": "group", "group_size": 32,
        "actorder": null, "block_structure": null, "dynamic": false, "observer": "minmax",
        "observer_kwargs": {}, "scale_dtype": null, "zp_dtype": null}}}})");
  return config;
}

class OthersTensorsTest : public ::testing::Test {
 protected:
  // gate [16, 64].
  OthersTensorsTest() : config_(TinyTextConfig()) {
    config_["hidden_size"] = 64;
    tensors_ = TensorsOf(ParseModelConfig(config_, "config"));
  }
  void PutPacked() {
    tensors_.erase(kGate);
    tensors_[std::string(kGate) + "_packed"] = {DType::kI32, {16, 8}, RandomBytes(512, 1)};
    tensors_[std::string(kGate) + "_scale"] = Numbers(DType::kBF16, {16, 2});
    tensors_[std::string(kGate) + "_shape"] = Integers64({16, 64});
    config_ = Packed(config_);
  }
  void PutInt8(std::vector<std::int64_t> scales, DType dtype = DType::kF32) {
    tensors_[kGate] = {DType::kI8, {16, 64}, RandomBytes(1024, 2)};
    tensors_[std::string(kGate) + "_scale"] = Numbers(dtype, std::move(scales));
  }
  Checkpoint Open() {
    testing::WriteText(folder_.path() / "config.json", config_.dump(1));
    // Wide elements first, so that all lie aligned.
    std::vector<std::pair<std::string, TinyTensor>> order(tensors_.begin(), tensors_.end());
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return DTypeBytes(a.second.dtype) > DTypeBytes(b.second.dtype);
    });
    std::vector<SafetensorsWriter::Entry> entries;
    for (const auto& [name, tensor] : order) entries.push_back({name, tensor.dtype, tensor.shape});
    SafetensorsWriter writer(folder_.path() / "model.safetensors", entries);
    for (const auto& [name, tensor] : order) writer.Append(std::as_bytes(std::span(tensor.data)));
    writer.Finish();
    return Checkpoint::Open(FileSystem::Real(), folder_.path());
  }
  std::string Refused(ErrorKind kind = ErrorKind::kCorrupt) {
    return ErrorOf(kind, [&] { Open(); });
  }
  // With `value` at a way of keys inside quantization_config.
  std::string RefusedWith(const Json::json_pointer& way, const Json& value,
                          ErrorKind kind = ErrorKind::kUnsupported) {
    const Json good = config_;
    config_["quantization_config"][way] = value;
    const std::string message = Refused(kind);
    config_ = good;
    return message;
  }

  Json config_;
  TinyTensors tensors_;
  TemporaryFolder folder_;
};

TEST_F(OthersTensorsTest, PackedWeightsAreFoundCountedAndExact) {
  PutPacked();
  const Checkpoint checkpoint = Open();
  const QuantizedTensor* gate = checkpoint.quantized(kGateShort);
  ASSERT_NE(gate, nullptr);
  EXPECT_EQ(gate->layout.format, WeightFormat::kInt4Tiles);
  EXPECT_EQ(gate->layout.group, 32);
  ExpectExact(*gate);
  EXPECT_EQ(checkpoint.main_dtype(), DType::kF32);
  EXPECT_EQ(checkpoint.main_format(), WeightFormat::kInt4Tiles);
  EXPECT_EQ(checkpoint.stored_bytes(kGateShort), 512u + 2 * 32 + 16);
  EXPECT_EQ(checkpoint.used_bytes(kGateShort), 512u + 64);
  EXPECT_EQ(checkpoint.repacked_bytes(), 512u + 64);
  // Parameters as before, and the bytes of the file.
  std::uint64_t bytes = 0, parameters = 0, listed = 0;
  for (const auto& [name, tensor] : tensors_) bytes += tensor.data.size();
  for (const auto& [name, tensor] : TensorsOf(checkpoint.config())) {
    parameters += testing::Elements(tensor.shape);
  }
  for (const Checkpoint::Listing& listing : checkpoint.listings()) listed += listing.parameters;
  EXPECT_EQ(listed, parameters);
  for (const PartWeight& part : SizesByPart(checkpoint)) {
    bytes -= part.bytes;
    parameters -= part.parameters;
  }
  EXPECT_EQ(bytes, 0u);
  EXPECT_EQ(parameters, 0u);
}

TEST_F(OthersTensorsTest, GroupsAreThoseThatTheConfigNames) {
  PutPacked();
  Json& scheme = config_["quantization_config"]["config_groups"]["group_0"]["weights"];
  scheme["group_size"] = 64;
  tensors_[std::string(kGate) + "_scale"] = Numbers(DType::kF16, {16, 1});
  EXPECT_EQ(Open().quantized(kGateShort)->layout.group, 64);
  scheme["strategy"] = "channel";
  scheme["group_size"] = nullptr;
  const Checkpoint checkpoint = Open();
  EXPECT_EQ(checkpoint.quantized(kGateShort)->layout.group, 64);
  EXPECT_EQ(checkpoint.quantized(kGateShort)->scale_dtype(), DType::kF32);
  tensors_[std::string(kGate) + "_scale"] = Numbers(DType::kF32, {16, 2});
  EXPECT_THAT(Refused(), HasSubstr("_scale is F32 [16, 2]; expected [out, 1] for "
                                   "[intermediate_size, hidden_size] = [16, 64]"));
}

// E2B's files hold k_proj and v_proj of layers that share another's KV.
TEST_F(OthersTensorsTest, WhatASharingLayerDoesNotUseIsListed) {
  PutPacked();
  const std::string name = "model.layers.2.self_attn.k_proj.weight";
  tensors_[name + "_packed"] = {DType::kI32, {8, 8}, RandomBytes(256, 1)};
  tensors_[name + "_scale"] = Numbers(DType::kBF16, {8, 2});
  tensors_[name + "_shape"] = Integers64({8, 64});
  int unused = 0;
  const Checkpoint checkpoint = Open();
  for (const Checkpoint::Listing& listing : checkpoint.listings()) {
    if (listing.use != TensorUse::kUnused) continue;
    EXPECT_THAT(listing.reason, HasSubstr("shares the KV"));
    ++unused;
  }
  EXPECT_EQ(unused, 3);
}

TEST_F(OthersTensorsTest, PackedTensorsThatDoNotFitAreRefusedByName) {
  PutPacked();
  const TinyTensors good = tensors_;
  const std::string gate = kGate;
  tensors_.erase(gate + "_scale");
  EXPECT_THAT(Refused(), HasSubstr(gate + "_scale beside it is missing"));
  tensors_ = good;
  tensors_.erase(gate + "_shape");
  EXPECT_THAT(Refused(), HasSubstr(gate + "_shape beside it is missing"));
  tensors_ = good;
  tensors_[gate + "_shape"] = Integers64({64, 16});
  EXPECT_THAT(Refused(), HasSubstr("says [64, 16]; expected [intermediate_size, hidden_size]"));
  tensors_ = good;
  tensors_[gate + "_packed"].shape = {8, 16};
  EXPECT_THAT(Refused(), HasSubstr("is I32 [8, 16]; expected int4 of [intermediate_size, "
                                   "hidden_size] = [16, 64]: I32 [16, 8]"));
  tensors_ = good;
  tensors_[gate + "_scale"].dtype = DType::kI16;
  EXPECT_THAT(Refused(), HasSubstr("is I16 [16, 2]; expected F32, BF16 or F16"));
  tensors_ = good;
  tensors_[gate + "_zero_point"] = {DType::kI32, {2, 2}, std::string(16, '\0')};
  EXPECT_THAT(Refused(ErrorKind::kUnsupported), HasSubstr(gate + "_zero_point"));
}

TEST_F(OthersTensorsTest, OtherSchemesOfCompressedTensorsAreRefusedByField) {
  PutPacked();
  using Way = Json::json_pointer;
  const std::string weights = "/config_groups/group_0/weights";
  const std::string prefix = "quantization_config.config_groups.group_0.weights.";
  EXPECT_THAT(RefusedWith(Way(weights + "/num_bits"), 8), HasSubstr(prefix + "num_bits is 8"));
  EXPECT_THAT(RefusedWith(Way(weights + "/symmetric"), false), HasSubstr(prefix + "symmetric"));
  EXPECT_THAT(RefusedWith(Way(weights + "/actorder"), "group"),
              HasSubstr(prefix + "actorder is \"group\""));
  EXPECT_THAT(RefusedWith(Way(weights + "/type"), "float"),
              HasSubstr(prefix + "type is \"float\""));
  EXPECT_THAT(RefusedWith(Way(weights + "/strategy"), "block"), HasSubstr(prefix + "strategy"));
  EXPECT_THAT(RefusedWith(Way(weights + "/group_size"), 16),
              HasSubstr(prefix + "group_size is 16"));
  EXPECT_THAT(RefusedWith(Way(weights + "/dynamic"), true), HasSubstr(prefix + "dynamic"));
  EXPECT_THAT(RefusedWith(Way(weights + "/new"), 1), HasSubstr(prefix + "new"));
  EXPECT_THAT(RefusedWith(Way("/config_groups/group_0/input_activations"), Json{{"num_bits", 8}}),
              HasSubstr("group_0.input_activations"));
  EXPECT_THAT(RefusedWith(Way("/config_groups/group_0/format"), "float-quantized"),
              HasSubstr("group_0.format is \"float-quantized\""));
  EXPECT_THAT(RefusedWith(Way("/format"), "int-quantized"),
              HasSubstr("quantization_config.format is \"int-quantized\"; expected "
                        "\"pack-quantized\". Use the unquantised checkpoint"));
  EXPECT_THAT(RefusedWith(Way("/kv_cache_scheme"), Json{{"num_bits", 8}}),
              HasSubstr("kv_cache_scheme"));
  EXPECT_THAT(RefusedWith(Way("/sparsity_config"), Json{{"format", "marlin-24"}}),
              HasSubstr("sparsity_config.format"));
  EXPECT_THAT(RefusedWith(Way("/transform_config"), Json{{"config_groups", Json{{"a", 1}}}}),
              HasSubstr("transform_config"));
  EXPECT_THAT(RefusedWith(Way("/config_groups"), Json::object()), HasSubstr("config_groups"));
  EXPECT_THAT(RefusedWith(Way("/future"), 1), HasSubstr("quantization_config.future"));
}

TEST_F(OthersTensorsTest, Int8WithAScaleBesideLoadsWithoutAWordInTheConfig) {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{}, {1}, {16}, {16, 1}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      PutInt8(shape, dtype);
      const Checkpoint checkpoint = Open();
      const QuantizedTensor* gate = checkpoint.quantized(kGateShort);
      ASSERT_NE(gate, nullptr);
      EXPECT_EQ(gate->layout.format, WeightFormat::kInt8Tiles);
      ExpectExact(*gate);
      EXPECT_EQ(checkpoint.main_dtype(), DType::kF32);
      EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported,
                          [&] { PlanQuantization(checkpoint, MakeRecipe("int8", 0, {})); }),
                  HasSubstr("quantised already"));
    }
  }
}

TEST_F(OthersTensorsTest, Int8ThatDoesNotFitIsRefusedByName) {
  PutInt8({2});
  EXPECT_THAT(Refused(), HasSubstr("gate_proj.weight_scale is F32 [2]; expected one number, or "
                                   "one a row: [16]"));
  PutInt8({1});
  tensors_[kGate].shape = {64, 16};
  EXPECT_THAT(Refused(), HasSubstr("is I8 [64, 16]; expected I8 [intermediate_size, hidden_size] "
                                   "= [16, 64]"));
  PutInt8({1});
  tensors_.erase(std::string(kGate) + "_scale");
  EXPECT_THAT(Refused(ErrorKind::kUnsupported), HasSubstr("gate_proj.weight is I8"));
}

Json Gemma(Json config) {
  config["tie_word_embeddings"] = false;
  config["quantization_config"] = Json::parse(R"({
    "quant_method": "gemma", "num_bits": 4, "quantize_embeddings": true,
    "module_quant_configs": {"lm_head": {"num_bits": 2}, "mlp": {"num_bits": 4}, "gate": {}},
    "modules_to_not_convert": ["per_layer_model_projection"]})");
  return config;
}

class GemmaTensorsTest : public OthersTensorsTest {
 protected:
  GemmaTensorsTest() {
    config_ = Gemma(config_);
    tensors_ = TensorsOf(ParseModelConfig(config_, "config"));
    Put(kGate, 4, 16, 64);
    tensors_[kGateStem + "input_activation_scale"] = Numbers(DType::kF32, {});
    tensors_[kGateStem + "output_activation_scale"] = Numbers(DType::kF32, {});
  }
  void Put(const std::string& name, int bits, std::int64_t n, std::int64_t k) {
    const std::int64_t width = (k * bits + 7) / 8;
    tensors_[name] = {bits == 8 ? DType::kI8 : DType::kU8,
                      {n, width},
                      RandomBytes(static_cast<std::size_t>(n * width), 3)};
    tensors_[name + "_scale"] = Numbers(DType::kF32, {n, 1});
  }
  // [40, 64] in 2 bits, `blocks` scales a row.
  void PutEmbedding(std::int64_t blocks) {
    tensors_.erase("model.embed_tokens.weight");
    tensors_["model.embed_tokens.embedding_quantized"] = {
        DType::kU8, {40, 16}, RandomBytes(640, 4)};
    tensors_["model.embed_tokens.embedding_scale"] = Numbers(DType::kF32, {40, blocks});
  }

  const std::string kGateStem = "model.layers.0.mlp.gate_proj.";
};

TEST_F(GemmaTensorsTest, WeightsOfEveryNumberOfBitsAreExactAndKeepTheirActivationScales) {
  for (const int bits : {2, 4, 8}) {
    Put(kGate, bits, 16, 64);
    const Checkpoint checkpoint = Open();
    const QuantizedTensor* gate = checkpoint.quantized(kGateShort);
    ASSERT_NE(gate, nullptr);
    EXPECT_EQ(gate->layout.format, bits == 8 ? WeightFormat::kInt8Tiles : WeightFormat::kInt4Tiles);
    EXPECT_EQ(gate->scale_dtype(), DType::kF32);
    EXPECT_EQ(gate->input_scale, 0.5f);
    EXPECT_EQ(gate->output_scale, 0.5f);
    ExpectExact(*gate);
  }
  tensors_.erase(kGateStem + "input_activation_scale");
  EXPECT_EQ(Open().quantized(kGateShort)->input_scale, 0);
}

// The file's rows are read one by one; nothing is held.
TEST_F(GemmaTensorsTest, AnEmbeddingThatIsNotTheHeadStaysWhereItIs) {
  for (const std::int64_t blocks : {1, 2, 4}) {
    PutEmbedding(blocks);
    const Checkpoint checkpoint = Open();
    const QuantizedTensor* table = checkpoint.quantized("embed_tokens.weight");
    ASSERT_NE(table, nullptr);
    EXPECT_EQ(table->layout.format, WeightFormat::kInt2Plain);
    EXPECT_EQ(table->layout.group, 64 / blocks);
    EXPECT_EQ(table->repacked_bytes(), 0u);
    EXPECT_TRUE(table->exact_scale);
  }
  PutEmbedding(3);
  EXPECT_THAT(Refused(),
              HasSubstr("embedding_scale is F32 [40, 3]; expected [40, 1], or a number"));
  PutEmbedding(1);
  config_["quantization_config"]["quantize_embeddings"] = false;
  EXPECT_THAT(Refused(), HasSubstr("quantize_embeddings false"));
}

TEST_F(GemmaTensorsTest, ScalesOfTheKvCacheAreListedAsUnused) {
  tensors_["model.layers.0.self_attn.k_cache_scale"] = Numbers(DType::kF32, {1});
  tensors_["model.layers.0.self_attn.v_cache_scale"] = Numbers(DType::kF32, {1});
  const Checkpoint checkpoint = Open();
  int unused = 0;
  for (const Checkpoint::Listing& listing : checkpoint.listings()) {
    if (listing.use != TensorUse::kUnused) continue;
    EXPECT_THAT(listing.reason, HasSubstr("KV cache"));
    ++unused;
  }
  EXPECT_EQ(unused, 2);
}

TEST_F(GemmaTensorsTest, WhatDoesNotFitIsRefusedByName) {
  const TinyTensors good = tensors_;
  tensors_[kGate].shape = {32, 16};
  EXPECT_THAT(Refused(),
              HasSubstr("is U8 [32, 16]; expected 8, 4 or 2 bits of [intermediate_size, "
                        "hidden_size] = [16, 64]: I8 [16, 64], U8 [16, 32], U8 [16, 16]"));
  tensors_ = good;
  tensors_.erase(std::string(kGate) + "_scale");
  EXPECT_THAT(Refused(), HasSubstr("weight_scale beside it is missing"));
  tensors_ = good;
  tensors_[kGateStem + "input_activation_scale"] = Numbers(DType::kF32, {2});
  EXPECT_THAT(Refused(), HasSubstr("input_activation_scale is F32 [2]; expected one number"));
  tensors_ = good;
  TinyTensor negative = testing::MakeTensor({}, -1.0f);
  tensors_[kGateStem + "output_activation_scale"] = negative;
  EXPECT_THAT(Refused(), HasSubstr("output_activation_scale is -1"));
  tensors_ = good;
  using Way = Json::json_pointer;
  EXPECT_THAT(RefusedWith(Way("/num_bits"), 3), HasSubstr("quantization_config.num_bits is 3"));
  EXPECT_THAT(RefusedWith(Way("/module_quant_configs/mlp/num_bits"), 16),
              HasSubstr("module_quant_configs.mlp.num_bits is 16"));
  EXPECT_THAT(RefusedWith(Way("/module_quant_configs/mlp/group"), 16),
              HasSubstr("module_quant_configs.mlp.group"));
  EXPECT_THAT(RefusedWith(Way("/future"), 16), HasSubstr("quantization_config.future"));
}

}  // namespace
}  // namespace culet
