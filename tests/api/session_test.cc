// Fails where a session answers differently than its parts promise: what it keeps, when it stops,
// what it counts. Runs the bundled demo model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "culet/culet.h"

namespace culet {
namespace {

std::filesystem::path Pebble() {
  return std::filesystem::path(CULET_SOURCE_DIR) / "models" / "pebble";
}

std::shared_ptr<Model> Load(std::int64_t context = 1024, std::int64_t rewind_tokens = 512,
                            std::int64_t chunk = 512) {
  LoadOptions options;
  options.threads = 1;
  options.context = context;
  options.chunk = chunk;
  options.rewind_tokens = rewind_tokens;
  return Model::Load(Pebble(), options);
}

Prompt Ask(const Model& model, const std::string& question) {
  return model.text().RenderTokens(R"({"messages":[{"role":"user","content":")" + question +
                                       R"("}],"add_generation_prompt":true})",
                                   "test");
}

GenerateOptions Greedy(std::int64_t max_tokens = 0) {
  GenerateOptions options;
  options.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

TEST(Session, TheSameQuestionGetsTheSameAnswerAndEventsJoinToIt) {
  const std::shared_ptr<Model> model = Load();
  Session session(model);
  std::string streamed;
  const GenerateResult first =
      session.Generate(Ask(*model, "hello"), Greedy(40), [&](const GenerateEvent& event) {
        if (event.kind == GenerateEvent::Kind::kContent) streamed += event.text;
      });
  EXPECT_EQ(streamed, first.text);
  EXPECT_FALSE(first.tokens.empty());
  EXPECT_EQ(first.completion_tokens, static_cast<std::int64_t>(first.tokens.size()));
  Session other(Load());
  const GenerateResult second = other.Generate(Ask(other.model(), "hello"), Greedy(40));
  EXPECT_EQ(second.tokens, first.tokens);
  EXPECT_EQ(second.logits_hash, first.logits_hash);
}

TEST(Session, APromptThatGoesOnComputesOnlyWhatIsNew) {
  const std::shared_ptr<Model> model = Load();
  Session session(model);
  const Prompt first = Ask(*model, "hello");
  const GenerateResult answer = session.Generate(first, Greedy(8));
  EXPECT_EQ(answer.cached_tokens, 0);
  EXPECT_EQ(answer.computed_tokens, static_cast<std::int64_t>(first.tokens.size()));

  Prompt second;
  second.tokens.assign(session.tokens().begin(), session.tokens().end());
  const std::int64_t kept = static_cast<std::int64_t>(second.tokens.size());
  const std::vector<TokenId> more =
      model->text().Encode("<turn|>\n<|turn>user\n1 + 2?<turn|>\n<|turn>model\n");
  second.tokens.insert(second.tokens.end(), more.begin(), more.end());
  const GenerateResult next = session.Generate(second, Greedy(8));
  EXPECT_EQ(next.cached_tokens, kept);
  EXPECT_EQ(next.computed_tokens, static_cast<std::int64_t>(more.size()));

  Session fresh(Load());
  EXPECT_EQ(fresh.Generate(second, Greedy(8)).tokens, next.tokens);
}

TEST(Session, TheSamePromptAgainComputesOneToken) {
  const std::shared_ptr<Model> model = Load();
  Session session(model);
  const Prompt prompt = Ask(*model, "hello");
  const GenerateResult first = session.Generate(prompt, Greedy(12));
  const GenerateResult again = session.Generate(prompt, Greedy(12));
  EXPECT_EQ(again.computed_tokens, 1);
  EXPECT_EQ(again.tokens, first.tokens);
}

// Memory for fewer rows of the sliding layers than the thought has: without a pin those before it
// would be gone.
constexpr std::int64_t kFewRewindTokens = 128;
constexpr std::int64_t kSmallChunk = 16;

TEST(Session, GoingBackOverADroppedThoughtKeepsThePrompt) {
  const std::shared_ptr<Model> model = Load(1024, kFewRewindTokens, kSmallChunk);
  Session session(model);
  const Prompt prompt = Ask(*model, "hello");
  session.Append(prompt.tokens);
  session.Pin();
  // A thought much longer than the sliding window.
  session.Append(std::vector<TokenId>(400, model->text().Encode("a").front()));
  Prompt next = prompt;
  const std::vector<TokenId> answer = model->text().Encode("Hi");
  next.tokens.insert(next.tokens.end(), answer.begin(), answer.end());
  const GenerateResult result = session.Generate(next, Greedy(4));
  EXPECT_EQ(result.cached_tokens, static_cast<std::int64_t>(prompt.tokens.size()));
  EXPECT_EQ(session.recomputed_tokens(), 0);
}

// The same without a Pin of ours: Generate pins the end of its prompt.
TEST(Session, AnAnswerThatIsDroppedIsGoneBackOverWithoutComputingAgain) {
  const std::shared_ptr<Model> model = Load(1024, kFewRewindTokens, kSmallChunk);
  Session session(model);
  GenerateOptions options = Greedy(400);  // much longer than the sliding window
  options.ignore_stop_tokens = true;
  const Prompt prompt = Ask(*model, "hello");
  ASSERT_EQ(session.Generate(prompt, options).completion_tokens, 400);
  Prompt next = prompt;
  const std::vector<TokenId> answer = model->text().Encode("Hi");
  next.tokens.insert(next.tokens.end(), answer.begin(), answer.end());
  const GenerateResult result = session.Generate(next, Greedy(4));
  EXPECT_EQ(result.cached_tokens, static_cast<std::int64_t>(prompt.tokens.size()));
  EXPECT_EQ(session.recomputed_tokens(), 0);
}

TEST(Session, TellsHowMuchOfThePromptIsComputed) {
  const std::shared_ptr<Model> model = Load(1024, 0, kSmallChunk);
  Session session(model);
  Prompt prompt;
  prompt.tokens.assign(100, 2);
  session.Append(std::span(prompt.tokens).first(40));
  GenerateOptions options = Greedy(3);
  std::vector<std::int64_t> done;
  options.on_prefill = [&](std::int64_t tokens, std::int64_t total) {
    EXPECT_EQ(total, 60);
    done.push_back(tokens);
  };
  const GenerateResult result = session.Generate(prompt, options);
  EXPECT_EQ(result.computed_tokens, 60);
  // A reader that is busy sees the latest only.
  ASSERT_FALSE(done.empty());
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), 60);
}

TEST(Session, EndsByLengthAtMaxTokensAndAtTheContext) {
  const std::shared_ptr<Model> model = Load(64);
  Session session(model);
  GenerateOptions options = Greedy(5);
  options.ignore_stop_tokens = true;
  const Prompt prompt = Ask(*model, "hello");
  const GenerateResult five = session.Generate(prompt, options);
  EXPECT_EQ(five.finish_reason, FinishReason::kLength);
  EXPECT_EQ(five.completion_tokens, 5);
  options.max_tokens = 0;
  const GenerateResult full = session.Generate(prompt, options);
  EXPECT_EQ(full.finish_reason, FinishReason::kLength);
  EXPECT_EQ(full.prompt_tokens + full.completion_tokens, 64);
}

TEST(Session, RefusesAPromptThatDoesNotFitAndStaysUsable) {
  const std::shared_ptr<Model> model = Load(32);
  Session session(model);
  Prompt prompt;
  prompt.tokens.assign(32, 2);
  try {
    session.Generate(prompt, Greedy(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kResource);
    EXPECT_NE(std::string(error.what()).find("32 tokens; the context of 32"), std::string::npos)
        << error.what();
  }
  prompt.tokens.assign(31, 2);
  EXPECT_EQ(session.Generate(prompt, Greedy(4)).completion_tokens, 1);
  EXPECT_THROW(session.Generate(Prompt(), Greedy(1)), Error);
}

TEST(Session, StopsBeforeAStopText) {
  const std::shared_ptr<Model> model = Load();
  Session session(model);
  const Prompt prompt = Ask(*model, "hello");
  const std::string whole = session.Generate(prompt, Greedy(30)).text;
  ASSERT_GE(whole.size(), 4u);
  GenerateOptions options = Greedy(30);
  options.stop = {whole.substr(2, 2)};
  const GenerateResult cut = session.Generate(prompt, options);
  EXPECT_EQ(cut.text, whole.substr(0, whole.find(options.stop[0])));
  EXPECT_EQ(cut.finish_reason, FinishReason::kStop);
}

TEST(Session, CancelEndsTheAnswerAndKeepsTheSessionGood) {
  const std::shared_ptr<Model> model = Load(2048);
  Session session(model);
  GenerateOptions options = Greedy(0);  // seconds of tokens
  options.ignore_stop_tokens = true;
  int events = 0;
  const Prompt prompt = Ask(*model, "hello");
  const GenerateResult cut = session.Generate(
      prompt, options, [&](const GenerateEvent&) { ++events; }, [&] { return events > 0; });
  EXPECT_EQ(cut.finish_reason, FinishReason::kCancelled);
  EXPECT_GT(cut.completion_tokens, 0);
  options.max_tokens = cut.completion_tokens;
  EXPECT_EQ(session.Generate(prompt, options).tokens, cut.tokens);
  const GenerateResult never = session.Generate(prompt, options, {}, [] { return true; });
  EXPECT_EQ(never.completion_tokens, 0);
}

TEST(Session, ASeedRepeatsASampledAnswer) {
  const std::shared_ptr<Model> model = Load();
  Session session(model);
  GenerateOptions options;
  options.temperature = 20;  // the model is sure of its greeting: at 1.5 two seeds may agree
  options.max_tokens = 20;
  options.ignore_stop_tokens = true;
  options.seed = 7;
  const Prompt prompt = Ask(*model, "hello");
  const std::vector<TokenId> first = session.Generate(prompt, options).tokens;
  EXPECT_EQ(session.Generate(prompt, options).tokens, first);
  options.seed = 8;
  EXPECT_NE(session.Generate(prompt, options).tokens, first);
}

TEST(Session, LogProbabilitiesAreOfTheChosenTokens) {
  const std::shared_ptr<Model> model = Load();
  Session session(model);
  GenerateOptions options = Greedy(5);
  options.logprobs = 3;
  const GenerateResult result = session.Generate(Ask(*model, "hello"), options);
  ASSERT_EQ(result.logprobs.size(), result.tokens.size());
  for (std::size_t step = 0; step < result.tokens.size(); ++step) {
    EXPECT_EQ(result.logprobs[step].chosen.id, result.tokens[step]);
    ASSERT_EQ(result.logprobs[step].top.size(), 3u);
    // Greedy: the chosen one is the first.
    EXPECT_EQ(result.logprobs[step].top[0].id, result.tokens[step]);
    EXPECT_LE(result.logprobs[step].chosen.logprob, 0.0f);
  }
}

TEST(Model, WhatInfoPlansIsAllocated) {
  const std::shared_ptr<Model> model = Load();
  EXPECT_EQ(model->allocated_bytes(), model->info().kv_bytes + model->info().activation_bytes);
}

TEST(Model, LogitsOfAllRowsDoNotDependOnTheChunk) {
  const std::shared_ptr<Model> model = Load();
  const std::vector<TokenId> tokens = Ask(*model, "What day comes three days after Friday?").tokens;
  const auto all = [&](std::int64_t chunk) {
    std::vector<float> rows;
    model->Logits(tokens, chunk, [&](std::int64_t row, std::span<const float> logits) {
      EXPECT_EQ(row * model->info().vocab, static_cast<std::int64_t>(rows.size()));
      rows.insert(rows.end(), logits.begin(), logits.end());
    });
    return rows;
  };
  const std::vector<float> whole = all(0);
  EXPECT_EQ(whole.size(), tokens.size() * static_cast<std::size_t>(model->info().vocab));
  EXPECT_EQ(all(1), whole);
  EXPECT_EQ(all(7), whole);
}

TEST(Model, RefusesOptionsOutOfRangeByName) {
  const auto message = [](const LoadOptions& options) {
    try {
      Model::Load(Pebble(), options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  LoadOptions options;
  options.threads = -1;
  EXPECT_NE(message(options).find("threads"), std::string::npos);
  options = {};
  options.chunk = 0;
  EXPECT_NE(message(options).find("chunk"), std::string::npos);
  options = {};
  options.cpu = "quantum";
  EXPECT_NE(message(options).find("quantum"), std::string::npos);
  options = {};
  options.pool_tokens = std::int64_t{1} << 36;  // more KV than memory
  options.sequences = 4096;
  options.context = std::int64_t{1} << 20;
  EXPECT_NE(message(options).find("LoadOptions::context"), std::string::npos) << message(options);
}

TEST(Model, ABrokenGenerationConfigIsToldToThoseWhoNeedIt) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(::testing::TempDir()) / "culet-broken-defaults";
  fs::remove_all(folder);
  fs::copy(Pebble(), folder);
  std::ofstream(folder / "generation_config.json") << R"({"temperature": -3})";
  const std::shared_ptr<Model> model = Model::Load(folder);
  int rows = 0;
  model->Logits(std::vector<TokenId>{2, 3}, 0, [&](std::int64_t, auto) { ++rows; });
  EXPECT_EQ(rows, 2);
  EXPECT_THROW(model->defaults(), Error);
  Session session(model);
  EXPECT_THROW(session.Generate(Ask(*model, "hello"), Greedy(1)), Error);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace culet
