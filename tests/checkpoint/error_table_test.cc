// If this fails, a file that is cut off, lies or does not fit its neighbours crashes culet, is
// believed, or gives a message that does not help. Each case spoils a good model in one way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "checkpoint/checkpoint.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::Conditional;
using ::culet::testing::MakeTensor;
using ::culet::testing::RawSafetensors;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TensorsOf;
using ::culet::testing::TinyExpertConfig;
using ::culet::testing::TinyTensor;
using ::culet::testing::TinyTensors;
using ::culet::testing::TinyTextConfig;
using ::culet::testing::WriteModel;
using ::culet::testing::WriteTensors;
using ::culet::testing::WriteText;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

// What a case may change before the model is written, and after.
struct Model {
  fs::path folder;
  Json config = TinyTextConfig();
  TinyTensors tensors;  // of TinyTextConfig()
  std::string raw;      // where not empty: the bytes of model.safetensors
  fs::path open;        // where not empty: what is opened instead of the folder
  std::function<void(const fs::path&)> after;
};

struct Case {
  std::string name;
  ErrorKind kind;
  std::vector<std::string> message;  // file, field or tensor, found, expected
  std::function<void(Model&)> spoil;
};

constexpr ErrorKind kCorrupt = ErrorKind::kCorrupt;
constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;
constexpr ErrorKind kNotFound = ErrorKind::kNotFound;
constexpr const char* kFile = "model.safetensors: ";

// A case whose model.safetensors has this header in front of `data_bytes` bytes.
std::function<void(Model&)> Header(std::string header, std::size_t data_bytes) {
  return [=](Model& model) { model.raw = RawSafetensors(header, std::string(data_bytes, 'x')); };
}

// A case with one entry "a": `entry`.
std::function<void(Model&)> Entry(const std::string& entry, std::size_t data_bytes) {
  return Header("{\"a\":" + entry + "}", data_bytes);
}

std::function<void(Model&)> Raw(std::string bytes) {
  return [=](Model& model) { model.raw = bytes; };
}

std::function<void(Model&)> Config(std::string key, Json value) {
  return [=](Model& model) { model.config[key] = value; };
}

std::function<void(Model&)> After(std::function<void(const fs::path&)> change) {
  return [=](Model& model) { model.after = change; };
}

// Replaces model.safetensors by an index with this weight_map.
std::function<void(Model&)> Index(std::string json) {
  return After([=](const fs::path& folder) {
    fs::rename(folder / "model.safetensors", folder / "shard.safetensors");
    WriteText(folder / "model.safetensors.index.json", json);
  });
}

// An index of everything in shard.safetensors, changed.
std::function<void(Model&)> GoodIndexBut(std::function<void(Json&)> change) {
  return [=](Model& model) {
    Json index;
    for (const auto& [name, tensor] : model.tensors) {
      index["weight_map"][name] = "shard.safetensors";
    }
    change(index["weight_map"]);
    Index(index.dump())(model);
  };
}

std::vector<Case> HeaderCases() {
  const std::string good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  return {
      {"EmptyFile", kCorrupt, {kFile, "0 bytes"}, After([](const fs::path& folder) {
         WriteText(folder / "model.safetensors", "");
       })},
      {"CutInsideTheLength", kCorrupt, {kFile, "5 bytes", "8 bytes"}, Raw("12345")},
      {"HeaderLongerThanTheFile",
       kCorrupt,
       {kFile, "header length is 100", "only 2"},
       Raw(std::string("\x64\0\0\0\0\0\0\0{}", 10))},
      {"HeaderLengthOverTheCap",
       kCorrupt,
       {kFile, "header length is 1099511627776", "100000000"},
       Raw(std::string("\0\0\0\0\0\1\0\0{}", 10))},
      {"HeaderLengthOfAllOnes",
       kCorrupt,
       {kFile, "18446744073709551615"},
       Raw(std::string(8, '\xff') + "{}")},
      {"HeaderIsNoJson",
       kCorrupt,
       {"model.safetensors (header)", "not valid JSON", "line 1"},
       Header("{\"a\":", 0)},
      {"HeaderIsEmpty", kCorrupt, {"model.safetensors (header)", "not valid JSON"}, Header("", 0)},
      {"HeaderIsAnArray",
       kCorrupt,
       {kFile, "the header is an array", "an object"},
       Header("[]", 0)},
      {"HeaderIsNotUtf8",
       kCorrupt,
       {"model.safetensors (header)", "UTF-8"},
       Header("{\"\xff\xfe\":" + good + "}", 8)},
      {"HeaderNestsTooDeep",
       kCorrupt,
       {"model.safetensors (header)", "256 levels"},
       Entry(std::string(100000, '['), 0)},
      {"HeaderHasTooManyValues",
       kCorrupt,
       {kFile, "values", "at most 262144 tensors"},
       Header("{\"a\":[" + std::string(7'000'000, ',') + "]}", 0)},
      {"TensorStandsTwice",
       kCorrupt,
       {"model.safetensors (header)", "\"a\"", "twice"},
       Header("{\"a\":" + good + ",\"a\":" + good + "}", 8)},
      {"MetadataIsNoObject",
       kCorrupt,
       {kFile, "__metadata__ is an array"},
       Header("{\"__metadata__\":[]}", 0)},
      {"MetadataValueIsNoString",
       kCorrupt,
       {kFile, "__metadata__.x is an integer", "a string"},
       Header("{\"__metadata__\":{\"x\":1}}", 0)},
      {"EntryIsNoObject", kCorrupt, {kFile, "tensor a is an integer"}, Entry("7", 0)},
      {"EntryHasAnUnknownMember",
       kCorrupt,
       {kFile, "tensor a has the member strides"},
       Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]})", 8)},
      {"EntryLacksItsShape",
       kCorrupt,
       {kFile, "tensor a has no shape"},
       Entry(R"({"dtype":"F32","data_offsets":[0,8]})", 8)},
      {"UnknownDType",
       kUnsupported,
       {kFile, "tensor a has dtype \"F4\"", "BF16"},
       Entry(R"({"dtype":"F4","shape":[16],"data_offsets":[0,8]})", 8)},
      {"DTypeIsNoName",
       kCorrupt,
       {kFile, "tensor a has dtype 3"},
       Entry(R"({"dtype":3,"shape":[8],"data_offsets":[0,8]})", 8)},
      {"ShapeIsNoArray",
       kCorrupt,
       {kFile, "tensor a has shape 2", "an array"},
       Entry(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})", 8)},
      {"ShapeHasANegativeSize",
       kCorrupt,
       {kFile, "tensor a has shape [-2]"},
       Entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", 8)},
      {"ShapeHasAFraction",
       kCorrupt,
       {kFile, "tensor a has shape [2.0]"},
       Entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", 8)},
      {"ShapeHasTooManySizes",
       kCorrupt,
       {kFile, "tensor a has shape", "at most 16"},
       Entry(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]})",
             8)},
      {"ShapeOverflows",
       kCorrupt,
       {kFile, "tensor a", "needs more than 2^63"},
       Entry(R"({"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]})", 8)},
      {"ShapeNeedsOtherBytes",
       kCorrupt,
       {kFile, "tensor a has 8 bytes", "[3] in F32 needs 12"},
       Entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", 8)},
      {"OffsetsPastTheEnd",
       kCorrupt,
       {kFile, "tensor a", "past the end", "8 bytes of data"},
       Entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})", 8)},
      {"OffsetsBackwards",
       kCorrupt,
       {kFile, "tensor a has data_offsets [8,0]", "begin <= end"},
       Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", 8)},
      {"OffsetsNegative",
       kCorrupt,
       {kFile, "tensor a has data_offsets [-8,0]"},
       Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})", 8)},
      {"OffsetsWrapAround",
       kCorrupt,
       {kFile, "tensor a has data_offsets"},
       Entry(
           R"({"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551616]})",
           8)},
      {"OffsetsAreThree",
       kCorrupt,
       {kFile, "tensor a has data_offsets [0,8,8]", "[begin, end]"},
       Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,8]})", 8)},
      {"TensorsOverlap",
       kCorrupt,
       {kFile, "tensor b begins at byte 4", "overlaps tensor a"},
       Header("{\"a\":" + good + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12)},
      {"TensorsLeaveAHole",
       kCorrupt,
       {kFile, "tensor b begins at byte 12", "expected 8"},
       Header("{\"a\":" + good + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
              16)},
      {"BytesFollowTheLastTensor",
       kCorrupt,
       {kFile, "3 bytes follow the last tensor"},
       Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 11)},
  };
}

std::vector<Case> TensorCases() {
  return {
      {"TensorIsMissing",
       kCorrupt,
       {kFile, "tensor model.layers.2.mlp.up_proj.weight is missing",
        "[2·intermediate_size, hidden_size] = [32, 24]"},
       [](Model& model) { model.tensors.erase("model.layers.2.mlp.up_proj.weight"); }},
      {"ScalarIsMissing",
       kCorrupt,
       {kFile, "tensor model.layers.2.layer_scalar is missing; config.json asks [1]. Weights"},
       [](Model& model) { model.tensors.erase("model.layers.2.layer_scalar"); }},
      {"TensorIsUnknown",
       kUnsupported,
       {kFile, "tensor model.layers.2.mlp.extra.weight [2]"},
       [](Model& model) { model.tensors["model.layers.2.mlp.extra.weight"] = MakeTensor({2}, 1); }},
      {"TensorNameIsHostile",
       kUnsupported,
       {kFile, "tensor \"\\u001b[2J\\n\""},
       [](Model& model) { model.tensors["\x1b[2J\n"] = MakeTensor({2}, 1); }},
      {"ALayerTooMany",
       kUnsupported,
       {kFile, "tensor model.layers.4.layer_scalar"},
       [](Model& model) { model.tensors["model.layers.4.layer_scalar"] = MakeTensor({1}, 1); }},
      {"VProjWhereKIsV",
       kUnsupported,
       {kFile, "tensor model.layers.1.self_attn.v_proj.weight"},
       Config("attention_k_eq_v", true)},
      {"WrongShape",
       kCorrupt,
       {kFile, "tensor model.layers.0.self_attn.k_proj.weight is [8, 12]",
        "[num_key_value_heads·head_dim, hidden_size] = [8, 24]"},
       [](Model& model) {
         model.tensors["model.layers.0.self_attn.k_proj.weight"] = MakeTensor({8, 12}, 1);
       }},
      {"WrongRank",
       kCorrupt,
       {kFile, "tensor model.norm.weight is [24, 1]", "[hidden_size] = [24]"},
       [](Model& model) {
         model.tensors["model.norm.weight"] = MakeTensor({24, 1}, 1);
       }},
      {"IntegerWeights",
       kUnsupported,
       {kFile, "tensor model.norm.weight is I32", "BF16"},
       [](Model& model) { model.tensors["model.norm.weight"].dtype = DType::kI32; }},
      {"QuantisedWeights",
       kUnsupported,
       {kFile, "tensor model.layers.0.self_attn.q_proj.weight is F8_E4M3", "BF16"},
       [](Model& model) {
         TinyTensor& tensor = model.tensors["model.layers.0.self_attn.q_proj.weight"];
         tensor.dtype = DType::kF8E4M3;
         tensor.data.resize(tensor.data.size() / 4);
       }},
      {"MisalignedTensor",
       kUnsupported,
       {kFile, "begins at byte", "expected a multiple of 4"},
       After([](const fs::path& folder) {
         std::string bytes =
             FileSystem::Real().ReadFile(folder / "model.safetensors", std::uint64_t{1} << 30);
         bytes.insert(8 + static_cast<unsigned char>(bytes[0]) +
                          256 * static_cast<std::size_t>(static_cast<unsigned char>(bytes[1])),
                      " ");
         bytes[0] = static_cast<char>(bytes[0] + 1);  // headers are padded: no carry
         WriteText(folder / "model.safetensors", bytes);
       })},
      {"ConditionalWeightsOfATextConfig",
       kCorrupt,
       {kFile, "tensor model.embed_tokens.weight is missing",
        "model.language_model.embed_tokens.weight instead"},
       [](Model& model) {
         const Json config = Conditional(TinyTextConfig());
         model.tensors = TensorsOf(ParseModelConfig(config, "config.json"));
       }},
      {"ExpertsMissing",
       kCorrupt,
       {kFile, "tensor model.layers.0.post_feedforward_layernorm_1.weight is missing"},
       [](Model& model) { model.config = TinyExpertConfig(); }},
      {"TiedHeadOfAnotherShape",
       kCorrupt,
       {kFile, "tensor lm_head.weight is [40, 12]", "[vocab_size, hidden_size] = [40, 24]"},
       [](Model& model) {
         model.tensors["lm_head.weight"] = MakeTensor({40, 12}, 1);
       }},
      {"UntiedWithoutHead",
       kCorrupt,
       {kFile, "tensor lm_head.weight is missing"},
       Config("tie_word_embeddings", false)},
  };
}

std::vector<Case> FileCases() {
  return {
      {"NoSuchFolder",
       kNotFound,
       {"absent", "no such folder"},
       [](Model& model) { model.open = model.folder / "absent"; }},
      {"ConfigMissing", kNotFound, {"config.json: no such file"}, After([](const fs::path& folder) {
         fs::remove(folder / "config.json");
       })},
      {"OnlyAnAdapter",
       kNotFound,
       {"config.json", "adapter (LoRA)"},
       After([](const fs::path& folder) {
         fs::remove(folder / "config.json");
         WriteText(folder / "adapter_config.json", "{}");
       })},
      {"WeightsMissing",
       kNotFound,
       {"has no model.safetensors", "model.safetensors.index.json"},
       After([](const fs::path& folder) { fs::remove(folder / "model.safetensors"); })},
      {"PickledWeightsOnly",
       kNotFound,
       {"has no model.safetensors", "pickled"},
       After([](const fs::path& folder) {
         fs::rename(folder / "model.safetensors", folder / "pytorch_model.bin");
       })},
      {"WeightsAreAFolder",
       ErrorKind::kIo,
       {"model.safetensors", "is a folder"},
       After([](const fs::path& folder) {
         fs::remove(folder / "model.safetensors");
         fs::create_directory(folder / "model.safetensors");
       })},
      {"FileOfAnotherFormat",
       kUnsupported,
       {"model.gguf", "does not read GGUF"},
       [](Model& model) {
         model.open = model.folder / "model.gguf";
         model.after = [](const fs::path& folder) { WriteText(folder / "model.gguf", "GGUF"); };
       }},
      {"ConfigIsNoModelFile",
       kUnsupported,
       {"config.json: is neither a folder"},
       [](Model& model) { model.open = model.folder / "config.json"; }},
      {"ConfigIsNoJson",
       kCorrupt,
       {"config.json: not valid JSON at line 1"},
       After([](const fs::path& folder) { WriteText(folder / "config.json", "{,"); })},
      {"ConfigIsEmpty",
       kCorrupt,
       {"config.json: not valid JSON"},
       After([](const fs::path& folder) { WriteText(folder / "config.json", ""); })},
      {"ConfigIsNotUtf8", kCorrupt, {"config.json", "UTF-8"}, After([](const fs::path& folder) {
         WriteText(folder / "config.json", "{\"model_type\": \"\xc3\x28\"}");
       })},
      {"ConfigIsHuge",
       kCorrupt,
       {"config.json", "at most 4194304"},
       After([](const fs::path& folder) {
         WriteText(folder / "config.json", std::string(5 << 20, ' '));
       })},
      {"ConfigIsAnArray",
       kCorrupt,
       {"config.json: the whole file is an array"},
       After([](const fs::path& folder) { WriteText(folder / "config.json", "[1]"); })},
      {"ConfigFieldStandsTwice",
       kCorrupt,
       {"config.json", "\"head_dim\"", "twice"},
       After([](const fs::path& folder) {
         WriteText(folder / "config.json", "{\"head_dim\": 4, \"head_dim\": 8}");
       })},
      {"UnknownModelType",
       kUnsupported,
       {"config.json: model_type is \"gemma3\"", "\"gemma4\""},
       Config("model_type", "gemma3")},
      {"SizesOfHugeLayers",
       kCorrupt,
       {"config.json: hidden_size is 9223372036854775807", "65536"},
       Config("hidden_size", INT64_MAX)},
      {"UnknownConfigField",
       kUnsupported,
       {"config.json: logit_scale is 0.5", "no such field"},
       Config("logit_scale", 0.5)},
      {"OneShardAlone",
       kCorrupt,
       {"model-00001-of-00002.safetensors", "one shard of several"},
       [](Model& model) {
         model.tensors.erase("model.norm.weight");
         model.open = model.folder / "model-00001-of-00002.safetensors";
         model.after = [](const fs::path& folder) {
           fs::rename(folder / "model.safetensors", folder / "model-00001-of-00002.safetensors");
         };
       }},
      {"IndexIsNoJson", kCorrupt, {"model.safetensors.index.json: not valid JSON"}, Index("{")},
      {"IndexHasNoMap", kCorrupt, {"index.json: weight_map is missing"}, Index("{}")},
      {"IndexMapIsAList",
       kCorrupt,
       {"index.json: weight_map is [1]"},
       Index("{\"weight_map\":[1]}")},
      {"IndexNamesNoFile",
       kCorrupt,
       {"index.json: weight_map.a is 5", "a file name"},
       Index(R"({"weight_map": {"a": 5}})")},
      {"IndexLeadsOut",
       kCorrupt,
       {"weight_map.a is \"../up.safetensors\"", "in the same folder"},
       Index(R"({"weight_map": {"a": "../up.safetensors"}})")},
      {"IndexLeadsToARoot",
       kCorrupt,
       {"weight_map.a is \"/etc/x.safetensors\""},
       Index(R"({"weight_map": {"a": "/etc/x.safetensors"}})")},
      {"IndexNamesAnotherKindOfFile",
       kCorrupt,
       {"weight_map.a is \"passwd\""},
       Index(R"({"weight_map": {"a": "passwd"}})")},
      {"ShardIsMissing",
       kNotFound,
       {"index.json", "model.norm.weight to gone.safetensors"},
       GoodIndexBut([](Json& map) { map["model.norm.weight"] = "gone.safetensors"; })},
      {"ShardLacksATensor",
       kCorrupt,
       {"shard.safetensors: has no tensor model.more.weight"},
       GoodIndexBut([](Json& map) { map["model.more.weight"] = "shard.safetensors"; })},
      {"IndexForgetsATensor",
       kCorrupt,
       {"shard.safetensors: has tensor model.norm.weight", "does not list"},
       GoodIndexBut([](Json& map) { map.erase("model.norm.weight"); })},
  };
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const auto& group : {HeaderCases(), TensorCases(), FileCases()}) {
    cases.insert(cases.end(), group.begin(), group.end());
  }
  return cases;
}

class ErrorTable : public ::testing::TestWithParam<Case> {};

TEST_P(ErrorTable, IsRefusedWithAMessageThatHelps) {
  TemporaryFolder folder;
  Model model;
  model.folder = folder.path();
  model.tensors = TensorsOf(ParseModelConfig(model.config, "config.json"));
  GetParam().spoil(model);
  WriteModel(model.folder, model.config, model.tensors);
  if (!model.raw.empty()) WriteText(model.folder / "model.safetensors", model.raw);
  if (model.after) model.after(model.folder);
  const std::string message = ::culet::testing::ErrorOf(GetParam().kind, [&] {
    Checkpoint::Open(FileSystem::Real(), model.open.empty() ? model.folder : model.open);
  });
  for (const std::string& part : GetParam().message) EXPECT_THAT(message, HasSubstr(part));
  // One line that a terminal shows as it is.
  for (const char c : message) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << message;
  EXPECT_LT(message.size(), 1000u) << message;
}

INSTANTIATE_TEST_SUITE_P(Files, ErrorTable, ::testing::ValuesIn(AllCases()),
                         [](const auto& test) { return test.param.name; });

TEST(ErrorTableItself, HasAtLeastFortyCases) { EXPECT_GE(AllCases().size(), 40u); }

// The good model of the table opens: no case fails for another reason than its own.
TEST(ErrorTableItself, StartsFromAModelThatOpens) {
  TemporaryFolder folder;
  WriteModel(folder.path(), TinyTextConfig());
  EXPECT_NO_THROW(Checkpoint::Open(FileSystem::Real(), folder.path()));
}

}  // namespace
}  // namespace culet
