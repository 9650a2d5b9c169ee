// Fails where an answer depends on who else is being answered, or where a caller that goes away, is
// late or asks too much disturbs others. Runs the bundled demo model.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "culet/culet.h"

namespace culet {
namespace {

std::shared_ptr<Model> Load(int sequences = 0, std::int64_t pool_tokens = 0,
                            std::int64_t queue = 1024) {
  LoadOptions options;
  options.threads = 2;
  options.context = 512;
  options.sequences = sequences;
  options.pool_tokens = pool_tokens;
  options.queue = queue;
  return Model::Load(std::filesystem::path(CULET_SOURCE_DIR) / "models" / "pebble", options);
}

Prompt Ask(const Model& model, const std::string& question) {
  return model.text().RenderTokens(R"({"messages":[{"role":"user","content":")" + question +
                                       R"("}],"add_generation_prompt":true})",
                                   "test");
}

// Every second one draws, with a seed of its own.
GenerateOptions Options(int number) {
  GenerateOptions options;
  options.max_tokens = 24;
  options.temperature = number % 2 == 0 ? 0.0 : 1.2;
  options.seed = static_cast<std::uint64_t>(number);
  return options;
}

std::string Question(int number) {
  return "What is " + std::to_string(10 + number) + " + " + std::to_string(90 - number) + "?";
}

std::vector<GenerateResult> AnswerOneByOne(const std::shared_ptr<Model>& model, int count) {
  std::vector<GenerateResult> results;
  for (int number = 0; number < count; ++number) {
    results.push_back(Generate(model, Ask(*model, Question(number)), Options(number)));
  }
  return results;
}

TEST(ManyCallers, GetWhatEachGetsAlone) {
  constexpr int kCallers = 32;
  const std::vector<GenerateResult> alone = AnswerOneByOne(Load(1), kCallers);
  // 16 sequences with room for all, and 6 that take each other's pages.
  for (const auto& model : {Load(), Load(6, 512)}) {
    std::vector<Answer> answers;
    for (int number = 0; number < kCallers; ++number) {
      answers.push_back(Start(model, Ask(*model, Question(number)), Options(number)));
    }
    for (int number = 0; number < kCallers; ++number) {
      const GenerateResult result = answers[static_cast<std::size_t>(number)].Wait();
      EXPECT_EQ(result.tokens, alone[static_cast<std::size_t>(number)].tokens) << number;
      EXPECT_EQ(result.logits_hash, alone[static_cast<std::size_t>(number)].logits_hash) << number;
    }
    const ModelStatistics statistics = model->statistics();
    EXPECT_EQ(statistics.answers, kCallers);
    EXPECT_GT(statistics.rows, 2 * statistics.steps) << "answers were not computed together";
  }
}

TEST(ManyCallers, FromManyThreadsWithSessionsBetweenThem) {
  const std::shared_ptr<Model> model = Load(4);
  const std::vector<GenerateResult> alone = AnswerOneByOne(Load(1), 8);
  // Before the others come, who may take every sequence that is left.
  std::vector<Session> sessions;
  for (int number = 0; number < 2; ++number) sessions.emplace_back(model);
  std::vector<std::thread> callers;
  for (int number = 0; number < 8; ++number) {
    callers.emplace_back([&, number] {
      const Prompt prompt = Ask(*model, Question(number));
      if (number < 2) {
        Session& session = sessions[static_cast<std::size_t>(number)];
        EXPECT_EQ(session.Generate(prompt, Options(number)).tokens,
                  alone[static_cast<std::size_t>(number)].tokens);
        EXPECT_EQ(session.Generate(prompt, Options(number)).tokens,
                  alone[static_cast<std::size_t>(number)].tokens);
      } else {
        std::string streamed;
        const GenerateResult result =
            Generate(model, prompt, Options(number), [&](const GenerateEvent& event) {
              if (event.kind == GenerateEvent::Kind::kContent) streamed += event.text;
            });
        EXPECT_EQ(result.tokens, alone[static_cast<std::size_t>(number)].tokens);
        EXPECT_EQ(streamed, result.text);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(ManyCallers, ShareTheBeginningOfTheirPrompts) {
  const std::shared_ptr<Model> model = Load();
  std::string long_system;
  for (int i = 0; i < 40; ++i) long_system += "Tom has a cup. ";
  const auto ask = [&](const std::string& question) {
    return Generate(model, Ask(*model, long_system + question), Options(0));
  };
  EXPECT_EQ(ask("Who has the cup?").cached_tokens, 0);
  const GenerateResult second = ask("What does Tom have?");
  EXPECT_GE(second.cached_tokens, 64);
  EXPECT_EQ(second.cached_tokens + second.computed_tokens, second.prompt_tokens);
  EXPECT_EQ(model->statistics().shared_tokens, second.cached_tokens);
  // What was shared changed nothing.
  const std::shared_ptr<Model> fresh = Load();
  EXPECT_EQ(Generate(fresh, Ask(*fresh, long_system + "What does Tom have?"), Options(0)).tokens,
            second.tokens);
}

GenerateOptions Endless() {
  GenerateOptions options = Options(0);
  options.max_tokens = 0;
  options.ignore_stop_tokens = true;
  return options;
}

TEST(Answer, IsCancelledFromAnotherThreadAndByGoingAway) {
  const std::shared_ptr<Model> model = Load(2);
  {
    Answer answer = Start(model, Ask(*model, "hello"), Endless());
    while (!answer.Next()) {
    }
    std::thread([&] { answer.Cancel(); }).join();
    const GenerateResult result = answer.Wait();
    EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
    EXPECT_LT(result.completion_tokens, 480);
    Start(model, Ask(*model, "hello"), Endless());  // goes away at once
  }
  EXPECT_EQ(Generate(model, Ask(*model, Question(0)), Options(0)).tokens,
            AnswerOneByOne(model, 1)[0].tokens);
}

TEST(Answer, IsARangeOfItsEvents) {
  const std::shared_ptr<Model> model = Load();
  Answer answer = Start(model, Ask(*model, Question(0)), Options(0));
  std::string text;
  for (const GenerateEvent& event : answer) text += event.text;
  EXPECT_TRUE(answer.ended());
  EXPECT_EQ(text, answer.Wait().text);
  EXPECT_FALSE(text.empty());
  EXPECT_TRUE(answer.begin() == answer.end());
}

TEST(Answer, ThatFailedSaysSoAtTheEndOfItsRange) {
  const std::shared_ptr<Model> model = Load();
  Prompt prompt;
  prompt.tokens = {2, 1 << 20};  // outside the vocabulary
  Answer answer = Start(model, prompt, Options(0));
  EXPECT_THROW(
      {
        for (const GenerateEvent& event : answer) ADD_FAILURE() << event.text;
      },
      Error);
  EXPECT_TRUE(answer.ended());
  EXPECT_THROW(answer.Wait(), Error);
}

TEST(Answer, WaitsForAnyNumberOfSeconds) {
  const std::shared_ptr<Model> model = Load();
  GenerateOptions options = Options(0);
  options.timeout_s = 1e300;
  Answer answer = Start(model, Ask(*model, Question(0)), options);
  EXPECT_TRUE(answer.NextWithin(1e300).has_value());
  EXPECT_EQ(answer.Wait().finish_reason, FinishReason::kStop);
}

TEST(Answer, EndsWithTimeoutWhenItTakesTooLong) {
  const std::shared_ptr<Model> model = Load(1);
  GenerateOptions options = Endless();
  options.timeout_s = 0.001;
  EXPECT_EQ(Generate(model, Ask(*model, "hello"), options).finish_reason, FinishReason::kTimeout);
  options.timeout_s = -1;
  EXPECT_THROW(Generate(model, Ask(*model, "hello"), options), Error);
}

TEST(Answer, IsRefusedWhereTheQueueIsFull) {
  const std::shared_ptr<Model> model = Load(1, 0, 0);
  try {
    Generate(model, Ask(*model, "hello"), Options(0));
    FAIL() << "a queue of none took one";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kResource);
  }
}

TEST(Answer, WakesItsReaderForEveryEventAndAtTheEnd) {
  const std::shared_ptr<Model> model = Load(1);
  std::atomic<int> calls = 0;
  Answer answer = Start(model, Ask(*model, Question(1)), Options(0));
  answer.OnReady([&] { ++calls; });
  answer.Wait();
  int events = 0;
  while (answer.Next()) ++events;
  EXPECT_GT(events, 0);
  EXPECT_GE(calls, 1);
  EXPECT_TRUE(answer.ended());
}

TEST(Session, RefusesASecondAnswerWhileOneIsInTheMaking) {
  const std::shared_ptr<Model> model = Load(2);
  Session session(model);
  Answer answer = session.Start(Ask(*model, "hello"), Endless());
  EXPECT_THROW(session.Generate(Ask(*model, "hi"), Options(0)), Error);
  EXPECT_THROW(session.Rewind(0), Error);
  answer.Cancel();
  answer.Wait();
  EXPECT_FALSE(session.Generate(Ask(*model, "hi"), Options(0)).tokens.empty());
}

}  // namespace
}  // namespace culet
