// If this fails, a model is opened with tensors missing, mixed up, left unused in silence, or with
// the wrong head.
#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/published.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::Conditional;
using ::culet::testing::ErrorOf;
using ::culet::testing::MakeTensor;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TensorsOf;
using ::culet::testing::TinyExpertConfig;
using ::culet::testing::TinyTensor;
using ::culet::testing::TinyTensors;
using ::culet::testing::TinyTextConfig;
using ::culet::testing::WriteModel;
using ::culet::testing::WriteTensors;
using ::culet::testing::WriteText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

Checkpoint Open(const fs::path& path) { return Checkpoint::Open(FileSystem::Real(), path); }

TinyTensors Tensors(const Json& config) { return TensorsOf(ParseModelConfig(config, "config")); }

const Checkpoint::Listing& Find(const Checkpoint& checkpoint, const std::string& name) {
  for (const Checkpoint::Listing& listing : checkpoint.listings()) {
    if (listing.name == name) return listing;
  }
  throw std::runtime_error("no listing of " + name);
}

class CheckpointTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  const fs::path& path() { return folder_.path(); }
};

TEST_F(CheckpointTest, FindsEveryTensorByItsShortName) {
  for (const Json& config : {TinyTextConfig(), Conditional(TinyTextConfig()), TinyExpertConfig()}) {
    WriteModel(path(), config);
    const Checkpoint checkpoint = Open(path());
    EXPECT_EQ(checkpoint.main_dtype(), DType::kF32);
    EXPECT_TRUE(checkpoint.head_is_embedding());
    EXPECT_THAT(checkpoint.warnings(), IsEmpty());
    float start = 0;
    for (const ExpectedTensor& expected : ExpectedTensors(checkpoint.config())) {
      const TensorView& tensor = checkpoint.tensor(expected.name);
      float first = 0;
      std::memcpy(&first, tensor.bytes.data(), 4);
      EXPECT_EQ(first, start += 1) << expected.name;
      EXPECT_EQ(tensor.shape, expected.shape) << expected.name;
      const Checkpoint::Listing& listing = Find(checkpoint, tensor.name);
      EXPECT_EQ(listing.use, TensorUse::kText);
      EXPECT_EQ(listing.part, expected.part);
      EXPECT_EQ(listing.bytes, tensor.bytes.size());
    }
    EXPECT_FALSE(checkpoint.has_tensor("lm_head.weight"));
    ErrorOf(ErrorKind::kInternal, [&] { checkpoint.tensor("lm_head.weight"); });
  }
}

TEST_F(CheckpointTest, OpensASingleFileBesideItsConfig) {
  WriteModel(path(), TinyTextConfig());
  fs::rename(path() / "model.safetensors", path() / "mine.safetensors");
  EXPECT_EQ(Open(path() / "mine.safetensors").folder(), path());
  ErrorOf(ErrorKind::kNotFound, [&] { Open(path()); });
}

TEST_F(CheckpointTest, OverridesChangeWhatIsExpected) {
  WriteModel(path(), TinyTextConfig());
  EXPECT_EQ(Checkpoint::Open(FileSystem::Real(), path(), {{"text_config.sliding_window", "2"}})
                .config()
                .window,
            2);
  EXPECT_THAT(
      ErrorOf(ErrorKind::kCorrupt,
              [&] {
                Checkpoint::Open(FileSystem::Real(), path(), {{"text_config.head_dim", "2"}});
              }),
      HasSubstr("[num_attention_heads·head_dim, hidden_size] = [8, 24]"));
}

// A second shard with what the first lacks, and the index of both.
TEST_F(CheckpointTest, OpensShardsByTheirIndex) {
  const Json config = TinyTextConfig();
  WriteText(path() / "config.json", config.dump());
  TinyTensors shards[2];
  Json index;
  int number = 0;
  for (const auto& [name, tensor] : Tensors(config)) {
    shards[number % 2][name] = tensor;
    index["weight_map"][name] = number++ % 2 == 0 ? "one.safetensors" : "two.safetensors";
  }
  WriteTensors(path() / "one.safetensors", shards[0]);
  WriteTensors(path() / "two.safetensors", shards[1]);
  WriteText(path() / "model.safetensors.index.json", index.dump());
  const Checkpoint checkpoint = Open(path());
  EXPECT_EQ(checkpoint.tensors().size(), ExpectedTensors(checkpoint.config()).size());
  // One file that has all counts first, and the index that lies beside it is named.
  WriteTensors(path() / "model.safetensors", Tensors(config));
  EXPECT_THAT(Open(path()).warnings(), ElementsAre(HasSubstr("index.json is not used")));
}

TEST_F(CheckpointTest, KvOfSharedLayersIsUnusedWithItsReason) {
  const Json config = TinyTextConfig();
  TinyTensors tensors = Tensors(config);
  tensors["model.layers.3.self_attn.k_proj.weight"] = MakeTensor({16, 24}, 1);
  tensors["model.layers.3.self_attn.v_proj.weight"] = MakeTensor({16, 24}, 1);
  tensors["model.layers.3.self_attn.k_norm.weight"] = MakeTensor({8}, 1);
  WriteModel(path(), config, tensors);
  const Checkpoint checkpoint = Open(path());
  const Checkpoint::Listing& listing = Find(checkpoint, "model.layers.3.self_attn.k_proj.weight");
  EXPECT_EQ(listing.use, TensorUse::kUnused);
  EXPECT_EQ(listing.reason, "layer 3 shares the KV of layer 1; its own k_proj is not used");
  EXPECT_FALSE(checkpoint.has_tensor("layers.3.self_attn.k_proj.weight"));
}

TEST_F(CheckpointTest, MediaTensorsOfConditionalModelsAreUnusedOfAnyDtype) {
  const Json config = Conditional(TinyTextConfig());
  TinyTensors tensors = Tensors(config);
  tensors["model.vision_tower.x.weight"] = MakeTensor({2}, 1);
  // transformers takes a tower in any dtype that torch has; what it does not compute with here is
  // nobody's business.
  int number = 0;
  for (const DType dtype : {DType::kI64, DType::kF8E4M3, DType::kF8E5M2, DType::kU16, DType::kU32,
                            DType::kU64, DType::kF64}) {
    tensors["model.embed_audio.x" + std::to_string(number++)] = {
        dtype, {3}, std::string(3 * DTypeBytes(dtype), 'x')};
  }
  WriteModel(path(), config, tensors);
  const Checkpoint checkpoint = Open(path());
  EXPECT_THAT(Find(checkpoint, "model.vision_tower.x.weight").reason, HasSubstr("vision tower"));
  EXPECT_EQ(Find(checkpoint, "model.embed_audio.x1").bytes, 3u);
  // A text-only model has no place for them.
  const Json text = TinyTextConfig();
  tensors = Tensors(text);
  tensors["model.vision_tower.x.weight"] = MakeTensor({2}, 1);
  WriteModel(path(), text, tensors);
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported, [&] { Open(path()); }),
              HasSubstr("model.vision_tower.x.weight"));
}

TEST_F(CheckpointTest, TiedHeadThatEqualsTheEmbeddingIsUnused) {
  const Json config = TinyTextConfig();
  TinyTensors tensors = Tensors(config);
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
  WriteModel(path(), config, tensors);
  const Checkpoint checkpoint = Open(path());
  EXPECT_TRUE(checkpoint.head_is_embedding());
  EXPECT_FALSE(checkpoint.has_tensor("lm_head.weight"));
  EXPECT_EQ(Find(checkpoint, "lm_head.weight").use, TensorUse::kUnused);
  EXPECT_THAT(checkpoint.warnings(), IsEmpty());
}

TEST_F(CheckpointTest, TiedHeadThatDiffersIsUsedWithAWarning) {
  const Json config = TinyTextConfig();
  TinyTensors tensors = Tensors(config);
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
  tensors["lm_head.weight"].data.back() ^= 1;  // the last byte of the last value
  WriteModel(path(), config, tensors);
  const Checkpoint checkpoint = Open(path());
  EXPECT_FALSE(checkpoint.head_is_embedding());
  EXPECT_EQ(checkpoint.tensor("lm_head.weight").name, "lm_head.weight");
  EXPECT_EQ(Find(checkpoint, "lm_head.weight").part, "head");
  EXPECT_THAT(checkpoint.warnings(), ElementsAre(HasSubstr("lm_head.weight differs")));
}

TEST_F(CheckpointTest, TiedHeadIsComparedByValueAcrossDtypes) {
  const Json config = TinyTextConfig();
  TinyTensors tensors = Tensors(config);
  // Values that bf16 holds exactly.
  TinyTensor& embedding = tensors["model.embed_tokens.weight"];
  TinyTensor head{DType::kBF16, embedding.shape, ""};
  for (std::size_t i = 0; i < embedding.data.size(); i += 4) {
    const float value = static_cast<float>(i % 64) - 32;
    const std::uint16_t bits = F32ToBf16(value);
    std::memcpy(embedding.data.data() + i, &value, 4);
    head.data.append(reinterpret_cast<const char*>(&bits), 2);
  }
  tensors["lm_head.weight"] = head;
  WriteModel(path(), config, tensors);
  EXPECT_TRUE(Open(path()).head_is_embedding());
  tensors["lm_head.weight"].data.back() ^= 1;
  WriteModel(path(), config, tensors);
  EXPECT_FALSE(Open(path()).head_is_embedding());
}

TEST_F(CheckpointTest, AloneTiedHeadServesAsEmbedding) {
  const Json config = TinyTextConfig();
  TinyTensors tensors = Tensors(config);
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
  tensors.erase("model.embed_tokens.weight");
  WriteModel(path(), config, tensors);
  const Checkpoint checkpoint = Open(path());
  EXPECT_TRUE(checkpoint.head_is_embedding());
  EXPECT_EQ(checkpoint.tensor("embed_tokens.weight").name, "lm_head.weight");
  EXPECT_EQ(checkpoint.warnings().size(), 1u);
}

TEST_F(CheckpointTest, UntiedModelsNeedTheirHead) {
  Json config = TinyTextConfig();
  config["tie_word_embeddings"] = false;
  TinyTensors tensors = Tensors(config);
  WriteModel(path(), config, tensors);
  const Checkpoint checkpoint = Open(path());
  EXPECT_FALSE(checkpoint.head_is_embedding());
  EXPECT_EQ(checkpoint.tensor("lm_head.weight").name, "lm_head.weight");
  tensors.erase("lm_head.weight");
  WriteModel(path(), config, tensors);
  EXPECT_THAT(ErrorOf(ErrorKind::kCorrupt, [&] { Open(path()); }),
              HasSubstr("tensor lm_head.weight is missing"));
}

TEST_F(CheckpointTest, MainDtypeIsThatOfMostBytes) {
  const Json config = TinyTextConfig();
  TinyTensors tensors = Tensors(config);
  for (auto& [name, tensor] : tensors) {
    if (tensor.shape.size() < 2) continue;
    tensor.dtype = DType::kBF16;
    tensor.data.resize(tensor.data.size() / 2);
  }
  WriteModel(path(), config, tensors);
  const Checkpoint checkpoint = Open(path());
  EXPECT_EQ(checkpoint.main_dtype(), DType::kBF16);
  EXPECT_EQ(checkpoint.tensor("norm.weight").dtype, DType::kF32);
}

// A file system whose n-th call fails: every failure comes out as the error it is.
class FailingFiles : public FileSystem {
 public:
  explicit FailingFiles(int good_calls) : left_(good_calls) {}
  std::string ReadFile(const fs::path& path, std::uint64_t max_bytes) override {
    Count(path);
    return FileSystem::ReadFile(path, max_bytes);
  }
  MappedFile Map(const fs::path& path) override {
    Count(path);
    return FileSystem::Map(path);
  }

 private:
  void Count(const fs::path& path) {
    if (left_-- == 0) throw Error(ErrorKind::kIo, path.string() + ": planted failure");
  }
  int left_;
};

TEST(FailingReads, EachIsPassedOn) {
  TemporaryFolder folder;
  WriteModel(folder.path(), TinyTextConfig());
  for (int calls = 0; calls < 2; ++calls) {
    FailingFiles files(calls);
    EXPECT_THAT(ErrorOf(ErrorKind::kIo, [&] { Checkpoint::Open(files, folder.path()); }),
                HasSubstr("planted failure"));
  }
  FailingFiles files(2);
  EXPECT_NO_THROW(Checkpoint::Open(files, folder.path()));
}

// The number of text tensors of each published size (spec, section 4).
TEST(TensorTable, PublishedSizesHaveTheirNumberOfTensors) {
  const std::map<std::string, std::size_t> counts = {
      {"e2b", 540}, {"e4b", 665}, {"12b", 666}, {"26b-a4b", 657}, {"31b", 832}};
  for (const auto& [size, count] : counts) {
    const Json config = Json(PublishedTextConfig(size));
    EXPECT_EQ(ExpectedTensors(ParseModelConfig(config, size)).size(), count) << size;
  }
}

TEST(TensorTable, ShapesAreNamedAsTheConfigNamesThem) {
  const ModelConfig config = ParseModelConfig(TinyTextConfig(), "config.json");
  for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
    if (tensor.name == "layers.1.self_attn.k_proj.weight") {
      EXPECT_EQ(tensor.symbolic_shape, "[num_key_value_heads·head_dim, hidden_size]");
      EXPECT_THAT(tensor.shape, ElementsAre(16, 24));
    }
    if (tensor.name == "layers.3.mlp.up_proj.weight") {
      EXPECT_EQ(tensor.symbolic_shape, "[2·intermediate_size, hidden_size]");
      EXPECT_THAT(tensor.shape, ElementsAre(32, 24));
    }
  }
}

// Every checkpoint that the reference wrote, in all its forms, opens.
TEST(Goldens, EveryReferenceCheckpointOpens) {
  const fs::path root = fs::path(CULET_SOURCE_DIR) / "tests/golden/text";
  int opened = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    SCOPED_TRACE(entry.path().filename().string());
    try {
      const Checkpoint checkpoint = Open(entry.path());
      EXPECT_EQ(checkpoint.tensors().empty(), false);
      ++opened;
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
  EXPECT_GE(opened, 50);
}

TEST(Goldens, OddTyingIsReadAsTheReferenceReadsIt) {
  const fs::path root = fs::path(CULET_SOURCE_DIR) / "tests/golden/text";
  EXPECT_TRUE(Open(root / "tied_equal_head").head_is_embedding());
  EXPECT_FALSE(Open(root / "tied_other_head").head_is_embedding());
  EXPECT_TRUE(Open(root / "tie_nested_ignored").head_is_embedding());
  EXPECT_FALSE(Open(root / "dense_untied").head_is_embedding());
}

}  // namespace
}  // namespace culet
