// If this fails, a model whose parts are of different models is loaded, or weights are read before
// that is seen. The data of the weights cannot be read here: whoever looks at it ends the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "checkpoint/tiny_model.h"
#include "culet/culet.h"
#include "faults/faults.h"

namespace culet {
namespace {

namespace fs = std::filesystem;
using culet::testing::ErrorOf;
using ::testing::HasSubstr;

class Parts : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"tokenizer.json", "chat_template.jinja", "generation_config.json"}) {
      fs::copy_file(Pebble() / name, Folder() / name);
    }
    config_ = culet::testing::TinyTextConfig();
    vocab_ = TextProcessor::Open(Pebble())->vocab_size();
    config_["vocab_size"] = vocab_;
    config_["vocab_size_per_layer_input"] = vocab_;
    tensors_ = culet::testing::TensorsOf(ParseModelConfig(config_, "config.json"));
    // A redundant head is compared with the embedding: the one look at weights of opening a model.
    tensors_["lm_head.weight"] = tensors_.at("model.embed_tokens.weight");
    faults::ForbidWeights(true);
  }
  void TearDown() override { faults::ForbidWeights(false); }

  static fs::path Pebble() { return fs::path(CULET_SOURCE_DIR) / "models" / "pebble"; }
  const fs::path& Folder() const { return folder_.path(); }
  void Write() { culet::testing::WriteModel(Folder(), config_, tensors_); }
  void Load() {
    LoadOptions options;
    options.threads = 1;
    options.context = 16;
    Model::Load(Folder(), options);
  }
  std::string Refusal(ErrorKind kind) {
    return ErrorOf(kind, [&] { Load(); });
  }

  culet::testing::TemporaryFolder folder_;
  Json config_;
  std::int64_t vocab_ = 0;
  culet::testing::TinyTensors tensors_;
};

TEST_F(Parts, ThatFitAreLoadedAndThenWeightsAreRead) {
  Write();
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(Load(), "");  // so the cases below show something
  faults::ForbidWeights(false);
  EXPECT_NO_THROW(Load());
}

TEST_F(Parts, ATokenizerWithMoreTokensThanTheModel) {
  config_["vocab_size"] = vocab_ - 1;
  tensors_ = culet::testing::TensorsOf(ParseModelConfig(config_, "config.json"));
  tensors_["lm_head.weight"] = tensors_.at("model.embed_tokens.weight");
  Write();
  EXPECT_THAT(Refusal(ErrorKind::kCorrupt), HasSubstr("different models"));
}

TEST_F(Parts, ATokenizerWithoutAControlTokenOfTheTemplate) {
  Write();
  std::string text = FileSystem::Real().ReadFile(Folder() / "tokenizer.json", 1 << 24);
  const std::string token = "<|turn>";
  for (std::size_t at = 0; (at = text.find(token, at)) != std::string::npos;) {
    text.replace(at, token.size(), "<|torn>");
  }
  culet::testing::WriteText(Folder() / "tokenizer.json", text);
  EXPECT_THAT(Refusal(ErrorKind::kCorrupt), HasSubstr("added_tokens has no <|turn>"));
  // A base model has no template, and so no need of it.
  fs::remove(Folder() / "chat_template.jinja");
  faults::ForbidWeights(false);
  EXPECT_NO_THROW(Load());
}

TEST_F(Parts, TokensOfTheGenerationConfigThatTheModelLacks) {
  Write();
  for (const char* field : {"eos_token_id", "suppress_tokens"}) {
    Json json;
    json[field] = {1, vocab_};
    culet::testing::WriteText(Folder() / "generation_config.json", json.dump());
    EXPECT_THAT(Refusal(ErrorKind::kCorrupt),
                HasSubstr("generation_config.json: has token " + std::to_string(vocab_)));
  }
}

TEST_F(Parts, ATensorOfAnotherShapeAndOneThatNothingExplains) {
  const culet::testing::TinyTensors good = tensors_;
  tensors_["model.norm.weight"] = culet::testing::MakeTensor({25}, 1);
  Write();
  EXPECT_THAT(Refusal(ErrorKind::kCorrupt), HasSubstr("model.norm.weight"));
  tensors_ = good;
  tensors_["model.zzz"] = culet::testing::MakeTensor({4}, 1);
  Write();
  EXPECT_THAT(Refusal(ErrorKind::kUnsupported), HasSubstr("model.zzz"));
}

TEST_F(Parts, AnIndexThatSaysOtherThingsThanItsShards) {
  Write();
  fs::rename(Folder() / "model.safetensors", Folder() / "a.safetensors");
  Json index;
  for (const auto& [name, tensor] : tensors_) index["weight_map"][name] = "a.safetensors";
  index["weight_map"]["model.more"] = "a.safetensors";
  culet::testing::WriteText(Folder() / "model.safetensors.index.json", index.dump());
  EXPECT_THAT(Refusal(ErrorKind::kCorrupt), HasSubstr("index and shard are of different models"));
  index["weight_map"].erase("model.more");
  index["weight_map"].erase("model.norm.weight");
  culet::testing::WriteText(Folder() / "model.safetensors.index.json", index.dump());
  EXPECT_THAT(Refusal(ErrorKind::kCorrupt), HasSubstr("index and shard are of different models"));
}

}  // namespace
}  // namespace culet
