// Fails where an embedding is not what transformers' hidden states pool to, depends on the other
// texts, on chunks or on answers in the making, or where a call that ends early keeps sequences or
// pages.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <thread>

#include "api/model_impl.h"
#include "culet/culet.h"
#include "model/golden.h"

namespace culet {
namespace {

using Ids = std::vector<TokenId>;
using Texts = std::vector<std::string>;

std::shared_ptr<Model> LoadPebble(const std::function<void(LoadOptions*)>& change = {}) {
  LoadOptions options;
  options.threads = 2;
  options.context = 512;
  if (change) change(&options);
  return Model::Load(std::filesystem::path(CULET_SOURCE_DIR) / "models" / "pebble", options);
}

std::string Long(int words) {
  std::string text;
  for (int i = 0; i < words; ++i) text += "Tom has " + std::to_string(i) + " cups. ";
  return text;
}

Texts UnequalTexts() {
  return {"Hi", Long(9), "What is 27 + 45?", Long(3), "x", Long(20), Long(1), "A cat sat."};
}

void ExpectNothingHeld(const Model& model) {
  const Engine& engine = *model.impl().engine;
  EXPECT_EQ(engine.kv().available_pages(),
            engine.kv().plan().PoolPages(engine.config(), LayerKind::kFull));
}

std::string MessageOf(const std::function<void()>& work, ErrorKind kind) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

// ---- transformers ----

void ExpectClose(std::span<const float> got, std::span<const float> reference,
                 const std::string& what) {
  double largest = 0, apart = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(reference[i])));
    apart = std::max(apart, std::abs(static_cast<double>(got[i]) - reference[i]));
  }
  EXPECT_LE(apart, 1e-4 * largest) << what;
}

TEST(Embed, IsWhatTransformersHiddenStatesPoolTo) {
  int compared = 0;
  for (const testing::GoldenCase& golden : testing::GoldenCases()) {
    const std::filesystem::path file = golden.folder / "embeddings.safetensors";
    if (!std::filesystem::exists(file)) continue;
    ++compared;
    const SafetensorsFile reference = SafetensorsFile::Open(FileSystem::Real(), file);
    std::vector<Ids> texts;
    std::span<const std::int32_t> ids;
    const std::vector<std::int32_t> all = testing::InputIds(reference);
    ids = all;
    for (const auto length : testing::Elements<std::int64_t>(reference.tensors().at("lengths"))) {
      texts.emplace_back(ids.begin(), ids.begin() + length);
      ids = ids.subspan(static_cast<std::size_t>(length));
    }
    LoadOptions load;
    load.context = 512;
    const std::shared_ptr<Model> model = Model::Load(golden.folder, load);
    for (const Pooling pooling : {Pooling::kMean, Pooling::kLast}) {
      EmbedOptions options;
      options.pooling = pooling;
      const Embeddings got = EmbedTokens(model, texts, options).value();
      const std::string name = pooling == Pooling::kMean ? "mean" : "last";
      const std::vector<float> rows = testing::Elements<float>(reference.tensors().at(name));
      ASSERT_EQ(got.values.size(), rows.size());
      const auto width = static_cast<std::size_t>(got.dimensions);
      for (std::size_t text = 0; text < texts.size(); ++text) {
        ExpectClose(got.row(static_cast<std::int64_t>(text)),
                    std::span(rows).subspan(text * width, width),
                    golden.name + " " + name + " of text " + std::to_string(text));
      }
    }
  }
  EXPECT_EQ(compared, 7) << "tools/reference/make_goldens.py EMBEDDED";
}

// ---- company, chunks, threads ----

TEST(Embed, OfManyTextsIsThatOfEachAloneInAnyChunk) {
  const std::shared_ptr<Model> reference = LoadPebble();
  for (const Pooling pooling : {Pooling::kMean, Pooling::kLast}) {
    EmbedOptions options;
    options.pooling = pooling;
    std::vector<float> alone;
    for (const std::string& text : UnequalTexts()) {
      const Embeddings one = Embed(reference, std::span(&text, 1), options).value();
      alone.insert(alone.end(), one.values.begin(), one.values.end());
    }
    for (const std::int64_t chunk : {3, 64, 512}) {
      for (const int sequences : {0, 1}) {
        const auto model = LoadPebble([&](LoadOptions* load) {
          load->chunk = chunk;
          load->sequences = sequences;
          load->threads = sequences == 1 ? 1 : 2;
        });
        const Embeddings together = Embed(model, UnequalTexts(), options).value();
        EXPECT_EQ(together.values, alone) << "chunk " << chunk << ", sequences " << sequences;
        ExpectNothingHeld(*model);
      }
    }
    EXPECT_GT(reference->statistics().texts, 0);
  }
}

TEST(Embed, ComputesTextsTogether) {
  const auto model = LoadPebble([](LoadOptions* load) { load->context = 2048; });
  const Texts texts(60, "What is 27 + 45?");
  const Embeddings embeddings = Embed(model, texts).value();
  EXPECT_EQ(embeddings.texts(), 60);
  EXPECT_LE(model->statistics().steps, 20) << "60 texts of one step each, up to 15 at a time";
  for (std::int64_t text = 1; text < 60; ++text) {
    EXPECT_TRUE(std::ranges::equal(embeddings.row(text), embeddings.row(0)));
  }
}

Prompt Ask(const Model& model, int number) {
  return model.text().RenderTokens(R"({"messages":[{"role":"user","content":"What is )" +
                                       std::to_string(number) +
                                       R"( + 45?"}],"add_generation_prompt":true})",
                                   "test");
}

GenerateOptions Greedy() {
  GenerateOptions options;
  options.temperature = 0;
  options.max_tokens = 24;
  options.ignore_stop_tokens = true;
  return options;
}

TEST(Embed, BesideAnswersChangesNeither) {
  const std::shared_ptr<Model> reference = LoadPebble();
  const std::vector<float> alone = Embed(reference, UnequalTexts())->values;
  std::vector<std::vector<TokenId>> answers;
  for (int number = 0; number < 6; ++number) {
    answers.push_back(Generate(reference, Ask(*reference, number), Greedy()).tokens);
  }
  // Room for all, and a pool in which they take each other's pages.
  for (const std::int64_t pool : {0, 512}) {
    const auto model = LoadPebble([&](LoadOptions* load) {
      load->sequences = 5;
      load->pool_tokens = pool;
      load->context = pool == 0 ? 2048 : 512;
      load->prompt_rows_beside_decoding = 16;
    });
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 3; ++caller) {
      callers.emplace_back([&, caller] {
        for (int i = 0; i < 2; ++i) EXPECT_EQ(Embed(model, UnequalTexts())->values, alone);
        for (int number = caller; number < 6; number += 3) {
          EXPECT_EQ(Generate(model, Ask(*model, number), Greedy()).tokens,
                    answers[static_cast<std::size_t>(number)]);
        }
      });
    }
    for (int number = 0; number < 6; ++number) {
      EXPECT_EQ(Generate(model, Ask(*model, number), Greedy()).tokens,
                answers[static_cast<std::size_t>(number)]);
    }
    for (std::thread& caller : callers) caller.join();
    ExpectNothingHeld(*model);
  }
}

TEST(Embed, LeavesNoPrefixAndTakesNone) {
  const std::shared_ptr<Model> model = LoadPebble();
  const Prompt prompt = model->text().RawPrompt(Long(20));
  const std::vector<float> before = EmbedTokens(model, std::span(&prompt.tokens, 1))->values;
  EXPECT_EQ(Generate(model, prompt, Greedy()).cached_tokens, 0);
  EXPECT_GT(Generate(model, prompt, Greedy()).cached_tokens, 0);
  EXPECT_EQ(EmbedTokens(model, std::span(&prompt.tokens, 1))->values, before);
}

// ---- options ----

TEST(Embed, CutsAndScalesVectors) {
  const std::shared_ptr<Model> model = LoadPebble();
  const Texts texts = {"A cat sat.", "Ein Hund lief."};
  const Embeddings whole = Embed(model, texts).value();
  EXPECT_EQ(whole.dimensions, model->info().hidden);
  EmbedOptions options;
  options.dimensions = 20;
  const Embeddings cut = Embed(model, texts, options).value();
  ASSERT_EQ(cut.values.size(), 40u);
  options.normalize = true;
  const Embeddings scaled = Embed(model, texts, options).value();
  for (std::int64_t text = 0; text < 2; ++text) {
    EXPECT_TRUE(std::ranges::equal(cut.row(text), whole.row(text).first(20)));
    double squares = 0, length = 0;
    for (const float value : scaled.row(text)) squares += static_cast<double>(value) * value;
    for (const float value : cut.row(text)) length += static_cast<double>(value) * value;
    EXPECT_NEAR(squares, 1, 1e-6);
    for (std::size_t i = 0; i < 20; ++i) {
      EXPECT_NEAR(scaled.row(text)[i], cut.row(text)[i] / std::sqrt(length), 1e-6);
    }
  }
}

TEST(Embed, PutsBosInFrontWhereAsked) {
  const std::shared_ptr<Model> model = LoadPebble();
  const Texts texts = {"Hi <bos>"};
  EmbedOptions options;
  EXPECT_EQ(Embed(model, texts)->tokens, Embed(model, texts, options)->tokens);
  options.bos = true;
  const Embeddings with = Embed(model, texts, options).value();
  EXPECT_EQ(with.tokens[0], Embed(model, texts)->tokens[0] + 1);
  const Ids ids = model->text().RawPrompt(texts[0]).tokens;
  EXPECT_EQ(EmbedTokens(model, std::span(&ids, 1))->values, with.values);
}

TEST(Embed, OfNoTextIsNothing) {
  const Embeddings none = Embed(LoadPebble(), Texts()).value();
  EXPECT_EQ(none.texts(), 0);
  EXPECT_TRUE(none.values.empty());
}

// ---- refusals and early ends ----

TEST(Embed, RefusesByNumberAndNameBeforeAnythingIsComputed) {
  const std::shared_ptr<Model> model = LoadPebble();
  const auto message = [&](const std::vector<Ids>& texts, const EmbedOptions& options,
                           ErrorKind kind) {
    return MessageOf([&] { EmbedTokens(model, texts, options); }, kind);
  };
  EmbedOptions options;
  EXPECT_NE(message({{2}, Ids(513, 5)}, options, ErrorKind::kResource)
                .find("text 2 has 513 tokens; the context is 512. Use a larger "
                      "LoadOptions::context"),
            std::string::npos);
  options.first_text = 100;
  EXPECT_NE(message({{2}, {}}, options, ErrorKind::kInvalidArgument).find("text 101 has no tokens"),
            std::string::npos);
  EXPECT_NE(
      message({{2, 99999}}, options, ErrorKind::kInvalidArgument).find("text 100: token id 99999"),
      std::string::npos);
  for (const std::int64_t dimensions : {std::int64_t{-1}, model->info().hidden + 1}) {
    options.dimensions = dimensions;
    EXPECT_NE(message({{2}}, options, ErrorKind::kInvalidArgument)
                  .find("EmbedOptions::dimensions is " + std::to_string(dimensions)),
              std::string::npos);
  }
  EXPECT_EQ(model->statistics().steps, 0);
}

TEST(Embed, TakesATextThatFillsTheContext) {
  const std::shared_ptr<Model> model = LoadPebble();
  const Ids text(512, 7);
  EXPECT_EQ(EmbedTokens(model, std::span(&text, 1))->tokens[0], 512);
}

TEST(Embed, TellsItsProgress) {
  const std::shared_ptr<Model> model = LoadPebble([](LoadOptions* load) { load->chunk = 8; });
  std::int64_t last = 0, tokens = 0;
  const Embeddings embeddings =
      Embed(model, UnequalTexts(), {}, [&](std::int64_t done, std::int64_t total) {
        EXPECT_GT(done, last);
        EXPECT_LE(done, total);
        last = done;
        tokens = total;
      }).value();
  std::int64_t all = 0;
  for (const std::int64_t count : embeddings.tokens) all += count;
  EXPECT_EQ(tokens, all);
  EXPECT_EQ(last, all);
}

TEST(Embed, ThatIsStoppedOrThrowsGivesEverythingBack) {
  const auto model = LoadPebble([](LoadOptions* load) {
    load->sequences = 2;
    load->chunk = 4;
  });
  const Texts texts(200, Long(30));
  int asked = 0;
  EXPECT_FALSE(Embed(model, texts, {}, {}, [&] { return ++asked > 2; }).has_value());
  ExpectNothingHeld(*model);
  EXPECT_LT(model->statistics().texts, 200) << "stopped texts were computed all the same";
  EXPECT_THROW(Embed(model, texts, {}, {},
                     [&]() -> bool {
                       if (++asked > 6) throw std::runtime_error("the caller's own");
                       return false;
                     }),
               std::runtime_error);
  ExpectNothingHeld(*model);
  EXPECT_EQ(Generate(model, Ask(*model, 1), Greedy()).tokens.size(), 24u);
}

TEST(Embed, IsRefusedWhereSessionsHoldEverySequence) {
  const auto model = LoadPebble([](LoadOptions* load) { load->sequences = 1; });
  {
    Session session(model);
    EXPECT_NE(MessageOf([&] { Embed(model, UnequalTexts()); }, ErrorKind::kResource)
                  .find("sessions hold all 1 sequences"),
              std::string::npos);
  }
  EXPECT_EQ(Embed(model, UnequalTexts())->texts(), 8);
}

TEST(Embed, WorksWithTheShortestQueue) {
  const auto model = LoadPebble([](LoadOptions* load) { load->queue = 1; });
  EXPECT_EQ(Embed(model, UnequalTexts())->texts(), 8);
}

}  // namespace
}  // namespace culet
