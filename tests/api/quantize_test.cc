// Fails where the quality report measures something else than it says, calibration weighs columns
// by other numbers, a copy beyond the bounds passes, or the cache gives a copy of other files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "api/calibrate.h"
#include "api/model_impl.h"
#include "api/quality.h"
#include "base/json.h"
#include "checkpoint/published.h"
#include "checkpoint/synth.h"
#include "checkpoint/tiny_model.h"
#include "culet/culet.h"

namespace culet {
namespace {

using ::culet::testing::ErrorOf;
using ::culet::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

const fs::path kPebble = fs::path(CULET_SOURCE_DIR) / "models" / "pebble";
constexpr const char* kText =
    "<bos><|turn>user\nWhat is 27 + 45?<turn|>\n<|turn>model\n72<turn|>\n"
    "<bos><|turn>user\nToday is Friday. What day is it in 10 days?<turn|>\n<|turn>model\n"
    "Monday<turn|>\n";

std::shared_ptr<Model> LoadModel(const fs::path& path) {
  LoadOptions options;
  options.threads = 2;
  options.context = 256;
  return Model::Load(path, options);
}

// Tokens that pebble's tokenizer knows.
std::int64_t Vocabulary() { return Describe(kPebble).vocab; }

std::vector<std::string> Names(const fs::path& folder) { return FileSystem::Real().List(folder); }

// A random model with pebble's vocabulary and tokenizer.
void WriteRandom(const fs::path& folder) {
  Json config = testing::TinyTextConfig();
  config["vocab_size"] = Vocabulary();
  config["vocab_size_per_layer_input"] = Vocabulary();
  config["hidden_size"] = 64;
  config["intermediate_size"] = 64;
  config["head_dim"] = 16;
  config["global_head_dim"] = 32;
  config["hidden_size_per_layer_input"] = 32;
  SynthOptions options;
  options.tokenizer_file = kPebble / "tokenizer.json";
  SynthesizeConfig(OrderedJson(config), PublishedGenerationConfig("e2b"), folder, options);
}

TEST(Quality, SequencesBeginWhereTheTextSaysOrTheWindowEnds) {
  const auto text = TextProcessor::Open(kPebble);
  const std::vector<TokenId> a = text->Encode("3 + 4"), b = text->Encode("9 - 2 = 7");
  ASSERT_LE(a.size(), b.size());
  const auto windows = TextWindows(*text, "3 + 4<bos>9 - 2 = 7<bos><bos>", 100, 1000);
  ASSERT_EQ(windows.size(), 2u);
  std::vector<TokenId> expected = text->PlainTokens("", true);
  expected.insert(expected.end(), b.begin(), b.end());
  EXPECT_EQ(windows[1], expected);
  EXPECT_EQ(windows[0].size(), a.size() + 1);
  // Cut off after two tokens of text, each piece with a beginning of its own.
  const auto pieces = TextWindows(*text, "9 - 2 = 7", 3, 4);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_THAT(pieces[0], ElementsAre(expected[0], b[0], b[1]));
  EXPECT_THAT(pieces[1], ElementsAre(expected[0], b[2], b[3]));
  EXPECT_THAT(TextWindows(*text, "", 10, 10), IsEmpty());
}

TEST(Quality, AModelIsAtNoDistanceFromItself) {
  const auto source = LoadModel(kPebble), same = LoadModel(kPebble);
  const auto windows = TextWindows(source->text(), kText, 100, 1000);
  QualityMeter meter(*source, windows);
  std::int64_t rows = 0;
  const QuantizeQuality quality = meter.Measure(*same, [&](std::int64_t done) { rows = done; });
  EXPECT_EQ(rows, meter.tokens());
  EXPECT_EQ(quality.mean_kl, 0.0);
  EXPECT_EQ(quality.p99_kl, 0.0);
  EXPECT_EQ(quality.top1_agreement, 1.0);
  EXPECT_EQ(quality.perplexity, quality.source_perplexity);
}

TEST(Quality, DistanceIsWhatTheFormulaSays) {
  TemporaryFolder folder;
  WriteRandom(folder.path() / "other");
  const auto source = LoadModel(kPebble), other = LoadModel(folder.path() / "other");
  const auto windows = TextWindows(source->text(), kText, 100, 1000);
  QualityMeter meter(*source, windows);
  const QuantizeQuality quality = meter.Measure(*other, [](std::int64_t) {});
  // Again, straight: probabilities in double, row by row.
  const auto probabilities = [](Model& model, const std::vector<TokenId>& tokens) {
    std::vector<std::vector<double>> rows;
    model.Logits(tokens, 0, [&](std::int64_t, std::span<const float> logits) {
      std::vector<double> row(logits.begin(), logits.end());
      double sum = 0;
      for (double& value : row) sum += value = std::exp(value);
      for (double& value : row) value /= sum;
      rows.push_back(std::move(row));
    });
    return rows;
  };
  double loss = 0, other_loss = 0, agreed = 0;
  std::vector<double> kl;
  for (const auto& tokens : windows) {
    const auto p = probabilities(*source, tokens), q = probabilities(*other, tokens);
    for (std::size_t row = 0; row + 1 < tokens.size(); ++row) {
      double sum = 0;
      for (std::size_t i = 0; i < p[row].size(); ++i) {
        if (p[row][i] > 0) sum += p[row][i] * std::log(p[row][i] / q[row][i]);
      }
      kl.push_back(sum);
      const auto next = static_cast<std::size_t>(tokens[row + 1]);
      loss -= std::log(p[row][next]);
      other_loss -= std::log(q[row][next]);
      agreed += std::max_element(p[row].begin(), p[row].end()) - p[row].begin() ==
                std::max_element(q[row].begin(), q[row].end()) - q[row].begin();
    }
  }
  const auto count = static_cast<double>(kl.size());
  double mean = 0;
  for (const double value : kl) mean += value / count;
  std::sort(kl.begin(), kl.end());
  // f32 exponentials of the logits of a vocabulary, whose error is at most 2^-23 each.
  EXPECT_NEAR(quality.mean_kl, mean, 1e-5 * mean);
  EXPECT_NEAR(quality.p99_kl, kl[kl.size() * 99 / 100], 1e-5 * quality.p99_kl);
  EXPECT_NEAR(std::log(quality.source_perplexity), loss / count, 1e-5);
  EXPECT_NEAR(std::log(quality.perplexity), other_loss / count, 1e-5);
  EXPECT_EQ(quality.top1_agreement, agreed / count);
}

TEST(Calibration, WeighsColumnsByTheMeanSquareOfWhatTheyMultiply) {
  const auto model = LoadModel(kPebble);
  const auto windows = TextWindows(model->text(), kText, 100, 1000);
  std::int64_t tokens = 0;
  const ColumnWeights weights =
      Calibrate(*model, windows, [&](std::int64_t done) { tokens = done; });
  EXPECT_GT(tokens, 20);
  const std::string layer = "model.language_model.layers.0.";
  // One operand, one vector.
  EXPECT_EQ(weights.at(layer + "self_attn.q_proj.weight"),
            weights.at(layer + "self_attn.k_proj.weight"));
  EXPECT_EQ(weights.at(layer + "mlp.gate_proj.weight"), weights.at(layer + "mlp.up_proj.weight"));
  EXPECT_NE(weights.at(layer + "self_attn.q_proj.weight"),
            weights.at(layer + "mlp.gate_proj.weight"));
  // The per-layer projection multiplies the scaled embedding of each token, and nothing else:
  // (√128 · row)², bf16 to bf16.
  const TensorView& table = model->impl().checkpoint->tensor("embed_tokens.weight");
  std::vector<double> squares(128);
  for (const auto& window : windows) {
    for (const TokenId token : window) {
      for (std::size_t col = 0; col < squares.size(); ++col) {
        const double value = ElementAsF32(table.dtype, table.bytes.data(),
                                          static_cast<std::size_t>(token) * 128 + col);
        squares[col] += value * value;
      }
    }
  }
  double mean = 0;
  for (const double square : squares) mean += square / 128;
  const std::vector<float>& projection =
      weights.at("model.language_model.per_layer_model_projection.weight");
  ASSERT_EQ(projection.size(), 128u);
  for (std::size_t col = 0; col < 128; ++col) {
    EXPECT_NEAR(projection[col], squares[col] / mean + 0.01, 1e-5 * projection[col]) << col;
  }
  // What is only looked up has no operand.
  EXPECT_EQ(weights.count("model.language_model.embed_tokens_per_layer.weight"), 0u);
  // Nothing is left behind: an answer later changes no sum.
  EXPECT_FALSE(static_cast<bool>(model->impl().engine->context().product_tap()));
}

TEST(QuantizeModel, ReportsAndWritesWhatItReports) {
  TemporaryFolder folder;
  QuantizeOptions options;
  options.report_text = kText;
  options.threads = 2;
  std::vector<std::string> stages;
  options.on_progress = [&](std::string_view what, double done, double total) {
    EXPECT_LE(done, total);
    if (stages.empty() || stages.back() != what) stages.emplace_back(what);
  };
  const QuantizeResult result = QuantizeModel(kPebble, folder.path() / "q8", options);
  EXPECT_THAT(stages, ElementsAre("quantising", "measuring"));
  ASSERT_TRUE(result.quality);
  EXPECT_GT(result.quality->mean_kl, 0.0);
  EXPECT_LT(result.quality->mean_kl, 0.01);
  EXPECT_LT(result.bytes, result.source_bytes * 7 / 10);
  const auto mlp = std::find_if(result.classes.begin(), result.classes.end(),
                                [](const auto& quantized) { return quantized.part == "mlp"; });
  ASSERT_NE(mlp, result.classes.end());
  EXPECT_EQ(mlp->format, "int8, groups of 128");
  ASSERT_TRUE(mlp->quality);
  EXPECT_GT(mlp->quality->mean_kl, 0.0);
  const Json report =
      Json::parse(FileSystem::Real().ReadFile(folder.path() / "q8" / "quantization.json", 1 << 20));
  EXPECT_EQ(report["report"]["quality"]["mean_kl"], result.quality->mean_kl);
  EXPECT_EQ(report["report"]["tokens"], result.report_tokens);
  EXPECT_EQ(report["bytes"], result.bytes);
  EXPECT_FALSE(fs::exists(folder.path() / "q8" / "class"));
  // The copy is a model, and says what it is.
  EXPECT_EQ(Describe(folder.path() / "q8").variant, Describe(kPebble).variant);
  EXPECT_THAT(ErrorOf(ErrorKind::kUnsupported,
                      [&] { QuantizeModel(folder.path() / "q8", folder.path() / "twice"); }),
              HasSubstr("quantised already"));
  EXPECT_THAT(Names(folder.path()), ElementsAre("q8"));
}

TEST(QuantizeModel, WhatIsTooFarIsRefusedUnlessForced) {
  TemporaryFolder folder;
  const fs::path source = folder.path() / "random", to = folder.path() / "q4";
  WriteRandom(source);
  QuantizeOptions options;
  options.to = "int4";
  options.threads = 2;
  options.report = QuantizeReport::kWhole;
  // Of a random model the likeliest token is hardly above the others.
  EXPECT_THAT(
      ErrorOf(ErrorKind::kUnsupported, [&] { QuantizeModel(source, to, options); }),
      ::testing::AllOf(HasSubstr("too far from its source"), HasSubstr("QuantizeOptions::force")));
  EXPECT_THAT(Names(folder.path()), ElementsAre("random"));
  options.force = true;
  const QuantizeResult result = QuantizeModel(source, to, options);
  EXPECT_LT(result.quality->top1_agreement, kLeastQuantizeAgreement);
  EXPECT_TRUE(fs::exists(to / "config.json"));
}

TEST(QuantizeModel, WhoStopsInBetweenLeavesNothing) {
  struct Stop {};
  for (const char* stage : {"calibrating", "quantising", "measuring"}) {
    TemporaryFolder folder;
    QuantizeOptions options;
    options.to = "int4";
    options.threads = 2;
    options.calibration = options.report_text = kText;
    options.on_progress = [&](std::string_view what, double, double) {
      if (what == stage) throw Stop();
    };
    EXPECT_THROW(QuantizeModel(kPebble, folder.path() / "to", options), Stop) << stage;
    EXPECT_THAT(Names(folder.path()), IsEmpty()) << stage;
  }
}

TEST(QuantizedCopy, IsMadeOnceAndAnewWhereTheModelChanged) {
  TemporaryFolder folder;
  ASSERT_EQ(setenv("CULET_CACHE", (folder.path() / "cache").c_str(), 1), 0);
  const fs::path model = folder.path() / "model";
  fs::copy(kPebble, model);
  EXPECT_FALSE(HasQuantizedCopy(model, "int8"));
  int calls = 0;
  QuantizeOptions options;
  options.threads = 2;
  options.on_progress = [&](std::string_view, double, double) { ++calls; };
  const fs::path copy = QuantizedCopy(model, "int8", options);
  EXPECT_GT(calls, 0);
  EXPECT_TRUE(HasQuantizedCopy(model, "int8"));
  EXPECT_FALSE(HasQuantizedCopy(model, "int4"));
  calls = 0;
  EXPECT_EQ(QuantizedCopy(model / "", "int8", options), copy);
  EXPECT_EQ(calls, 0);
  LoadOptions load;
  load.quant = "int8";
  load.threads = 2;
  EXPECT_LT(Describe(model, load).weight_bytes, Describe(model).weight_bytes * 7 / 10);
  EXPECT_EQ(Model::Load(model, load)->info().vocab, Vocabulary());
  // Other times are other files.
  fs::last_write_time(model / "model.safetensors",
                      fs::last_write_time(model / "model.safetensors") - std::chrono::hours(1));
  EXPECT_FALSE(HasQuantizedCopy(model, "int8"));
  EXPECT_EQ(QuantizedCopy(model, "int8", options), copy);
  EXPECT_GT(calls, 0);
  const std::vector<std::string> held = Names(folder.path() / "cache" / "quantized");
  EXPECT_EQ(held.size(), 2u) << ::testing::PrintToString(held);  // the copy and its lock
  unsetenv("CULET_CACHE");
  load.quant = "int5";
  EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument, [&] { Describe(model, load); }),
              HasSubstr("LoadOptions::quant is \"int5\""));
}

}  // namespace
}  // namespace culet
