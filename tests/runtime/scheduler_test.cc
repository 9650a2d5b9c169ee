// Fails where a request's answer depends on its company, is lost, comes too late or in the wrong
// order, or where pages leak or are shared wrongly.
#include "runtime/scheduler.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "base/error.h"
#include "runtime/engine_thread.h"
#include "runtime/fake_model.h"
#include "runtime/scheduler_bench.h"

namespace culet {
namespace {

using testing::Bench;
using testing::FakeModel;
using testing::FakeNext;
using testing::Id;
using testing::kFakeVocab;
using testing::RandomPrompt;
using testing::Settings;
using testing::Tokens;

TEST(Scheduler, GivesEveryRequestWhatItGetsAlone) {
  std::mt19937 random(1);
  Bench bench(Settings{});
  for (int i = 0; i < 40; ++i) bench.Submit(RandomPrompt(random, 300), 1 + random() % 60);
  bench.RunAll();
  bench.CheckAll();
  bench.CheckNothingLeaks();
}

// Thousands of arrivals, cancels, shared beginnings, sessions that go on and go back, and a pool
// far too small for all of them.
TEST(Scheduler, RandomLivesKeepEveryAnswerRightAndEveryPageAccountedFor) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    Settings setup;
    setup.chunk = 1 + random() % 120;
    setup.sequences = 2 + random() % 6;
    setup.pool_tokens = 512 + random() % 1024;
    setup.prefix_tokens = random() % 600;
    setup.scheduler.prompt_rows_beside_decoding = 1 + random() % 64;
    Bench bench(setup);
    std::vector<Tokens> stems;
    for (int i = 0; i < 4; ++i) stems.push_back(RandomPrompt(random, 300));
    const int session = bench.engine().AddSequence();
    Tokens history = RandomPrompt(random, 50);
    Id turn = 0;
    for (int event = 0; event < 150; ++event) {
      switch (random() % 10) {
        case 0:
        case 1:
        case 2: {
          Tokens prompt = stems[random() % stems.size()];
          const Tokens rest = RandomPrompt(random, 120);
          prompt.insert(prompt.end(), rest.begin(), rest.end());
          bench.Submit(std::move(prompt), 1 + random() % 100);
          break;
        }
        case 3:
          if (!bench.answers().empty()) {
            auto at = bench.answers().begin();
            std::advance(at, random() % bench.answers().size());
            bench.Cancel(at->first);
          }
          break;
        case 8: {  // a text to be read, which may begin like the prompts
          Tokens text = stems[random() % stems.size()];
          text.resize(1 + random() % text.size());
          bench.SubmitText(std::move(text), random() % 2 == 0 ? Wanted::kAll : Wanted::kLast);
          break;
        }
        case 9:
          if (!bench.texts().empty()) {
            auto at = bench.texts().begin();
            std::advance(at, random() % bench.texts().size());
            at->second->cancelled = true;
          }
          break;
        case 4: {  // the session's next turn, sometimes from further back
          if (turn != 0 && bench.answer(turn).ends == 0) break;
          if (turn != 0) {
            const Tokens& said = bench.answer(turn).tokens;
            history.insert(history.end(), said.begin(), said.end());
          }
          if (random() % 3 == 0) history.resize(1 + random() % history.size());
          const Tokens more = RandomPrompt(random, 40);
          history.insert(history.end(), more.begin(), more.end());
          if (history.size() > 400) history.resize(400);
          turn = bench.Submit(history, 1 + random() % 40, session);
          break;
        }
        default:
          for (std::uint32_t i = random() % 20; i > 0; --i) bench.scheduler().Step();
      }
    }
    bench.RunAll();
    for (const auto& [id, answer] : bench.answers()) {
      Bench::Check(*answer);
      EXPECT_EQ(Bench::FailureOf(*answer), "");
    }
    for (const auto& [id, text] : bench.texts()) Bench::Check(*text);
    EXPECT_LE(bench.model().most_rows, setup.chunk);
    bench.engine().RemoveSequence(session);
    bench.CheckNothingLeaks();
    if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
}

TEST(Scheduler, ASmallPoolTakesPagesBackAndLosesNothing) {
  std::mt19937 random(5);
  Settings setup;
  setup.pool_tokens = 512;
  Bench bench(setup);
  for (int i = 0; i < 6; ++i) bench.Submit(Tokens(60, i), 300);
  bench.RunAll();
  bench.CheckAll();
  EXPECT_GT(bench.scheduler().statistics().preemptions, 0);
  bench.CheckNothingLeaks();
}

TEST(Scheduler, ComputesASharedBeginningOnce) {
  Bench bench(Settings{});
  const Tokens system(256, 7);
  for (std::int32_t user = 0; user < 5; ++user) {
    Tokens prompt = system;
    prompt.insert(prompt.end(), 20, user);
    const Id id = bench.Submit(prompt, 4);
    bench.RunAll();
    EXPECT_EQ(bench.answer(id).report.cached_tokens, user == 0 ? 0 : 256);
    EXPECT_EQ(bench.answer(id).report.computed_tokens, (user == 0 ? 276 : 20) + 3);
  }
  bench.CheckAll();
  EXPECT_EQ(bench.scheduler().statistics().shared_tokens, 4 * 256);
}

// Pages of equal tokens behind different ones are not the same: their K and V differ.
TEST(Scheduler, PagesThatOnlyEndAlikeAreNotShared) {
  Bench bench(Settings{});
  for (const std::int32_t first : {1, 2, 1}) {
    Tokens prompt(kPageTokens, first);
    prompt.insert(prompt.end(), 2 * kPageTokens, 7);
    prompt.insert(prompt.end(), 5, 9);
    bench.Submit(prompt, 20);
    bench.RunAll();
  }
  bench.CheckAll();
}

TEST(Scheduler, KeepsTheEndOfASharedBeginningThroughOtherWork) {
  Settings setup;
  setup.sequences = 2;
  setup.prefix_tokens = 192;
  Bench bench(setup);
  std::mt19937 random(9);
  const auto ask = [&](std::int32_t user) {
    Tokens prompt(256, 7);
    prompt.insert(prompt.end(), 30, user);
    const Id id = bench.Submit(prompt, 2);
    bench.RunAll();
    return bench.answer(id).report.cached_tokens;
  };
  EXPECT_EQ(ask(1), 0);
  EXPECT_EQ(ask(2), 256);
  for (int i = 0; i < 3; ++i) {
    bench.Submit(RandomPrompt(random, 100), 200);
    bench.RunAll();
  }
  EXPECT_EQ(ask(3), 256);
  bench.CheckAll();
}

TEST(Scheduler, ALongPromptDoesNotHoldUpTheOthersTokens) {
  Settings setup;
  setup.chunk = 64;
  setup.scheduler.prompt_rows_beside_decoding = 16;
  Bench bench(setup);
  const Id talker = bench.Submit(Tokens(5, 1), 60);
  for (int i = 0; i < 3; ++i) bench.scheduler().Step();
  bench.model().most_rows = 0;
  const Id reader = bench.Submit(Tokens(400, 2), 3);
  bench.RunAll();
  EXPECT_EQ(bench.answer(talker).last_gap, 1) << "a token came later than the next step";
  EXPECT_EQ(bench.model().most_rows, 1 + 16) << "a step beside the talker is too long";
  EXPECT_GT(bench.answer(reader).tokens.size(), 0u);
  bench.CheckAll();
}

TEST(Scheduler, AShortPromptDoesNotWaitForALongOne) {
  Settings setup;
  setup.chunk = 64;
  Bench bench(setup);
  const Id reader = bench.Submit(Tokens(500, 2), 2);
  const Id quick = bench.Submit(Tokens(10, 1), 2);
  bench.RunAll();
  EXPECT_LT(bench.answer(quick).first_step, bench.answer(reader).first_step);
  EXPECT_EQ(bench.answer(quick).first_step, 1);
}

TEST(Scheduler, GivesTheHiddenStatesOfEveryRowOrOfTheLast) {
  std::mt19937 random(3);
  Bench bench(Settings{});
  for (int i = 0; i < 40; ++i) {
    bench.SubmitText(RandomPrompt(random, 512), i % 3 == 0 ? Wanted::kLast : Wanted::kAll);
    bench.Submit(RandomPrompt(random, 100), 1 + random() % 30);
  }
  bench.RunAll();
  bench.CheckAll();
  EXPECT_EQ(bench.scheduler().statistics().texts, 40);
  EXPECT_EQ(bench.scheduler().statistics().finished, 40);
  bench.CheckNothingLeaks();
}

TEST(Scheduler, ATextThatGaveItsPagesBackGivesEachRowOnce) {
  std::mt19937 random(4);
  Settings setup;
  setup.pool_tokens = 512;
  setup.scheduler.prompt_rows_beside_decoding = 1;
  Bench bench(setup);
  // When the talkers need a third page each, the text holds four of the nine that there are.
  Tokens tokens(300);
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % kFakeVocab);
  for (int i = 0; i < 2; ++i) bench.Submit(Tokens(10, i), 190);
  const Id text = bench.SubmitText(tokens);
  bench.RunAll();
  bench.CheckAll();
  EXPECT_GT(bench.text(text).report.preemptions, 0) << "else this tests nothing";
  EXPECT_GT(bench.text(text).report.computed_tokens, 300);
  bench.CheckNothingLeaks();
}

TEST(Scheduler, ManyTextsHoldUpNeitherATokenNorAnAnswerThatComes) {
  Settings setup;
  setup.chunk = 64;
  setup.scheduler.prompt_rows_beside_decoding = 16;
  Bench bench(setup);
  const Id talker = bench.Submit(Tokens(5, 1), 60);
  for (int i = 0; i < 3; ++i) bench.scheduler().Step();
  for (int i = 0; i < 100; ++i) bench.SubmitText(Tokens(300, i % kFakeVocab));
  for (int i = 0; i < 3; ++i) bench.scheduler().Step();
  const std::int64_t now = bench.model().steps;
  const Id late = bench.Submit(Tokens(2, 2), 3);
  bench.RunAll();
  EXPECT_EQ(bench.answer(talker).last_gap, 1) << "a token came later than the next step";
  EXPECT_LE(bench.answer(late).first_step, now + 2) << "an answer waited for texts to end";
  bench.CheckAll();
  bench.CheckNothingLeaks();
}

TEST(Scheduler, TextsDoNotTakeEachOthersPages) {
  std::mt19937 random(6);
  Settings setup;
  setup.pool_tokens = 512;
  Bench bench(setup);
  for (int i = 0; i < 60; ++i) bench.SubmitText(RandomPrompt(random, i % 4 == 0 ? 500 : 60));
  bench.RunAll();
  bench.CheckAll();
  EXPECT_EQ(bench.scheduler().statistics().preemptions, 0);
  std::int64_t rows = 0;
  for (const auto& [id, text] : bench.texts()) {
    rows += static_cast<std::int64_t>(text->tokens.size());
  }
  EXPECT_EQ(bench.scheduler().statistics().rows, rows) << "rows were computed twice";
}

TEST(Scheduler, ATextWithOneSequenceIsReadAndOneThatFillsTheContextToo) {
  Settings setup;
  setup.sequences = 1;
  Bench bench(setup);
  bench.SubmitText(Tokens(512, 1));
  bench.SubmitText({2}, Wanted::kLast);
  bench.Submit({3}, 4);
  EXPECT_THROW(bench.SubmitText(Tokens(513, 1)), Error);
  bench.RunAll();
  bench.CheckAll();
}

TEST(Scheduler, ATextNeitherTakesNorLeavesAPrefix) {
  Bench bench(Settings{});
  const Tokens tokens(256, 7);
  bench.SubmitText(tokens);
  bench.RunAll();
  const Id id = bench.Submit(tokens, 2);
  bench.RunAll();
  EXPECT_EQ(bench.answer(id).report.cached_tokens, 0);
  const Id text = bench.SubmitText(tokens);
  bench.RunAll();
  EXPECT_EQ(bench.text(text).report.computed_tokens, 256);
  bench.CheckAll();
}

TEST(Scheduler, AdmitsInOrderOfArrival) {
  Settings setup;
  setup.sequences = 1;
  Bench bench(setup);
  std::vector<Id> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(bench.Submit(Tokens(3, i), 3));
  bench.RunAll();
  for (std::size_t i = 1; i < ids.size(); ++i) {
    EXPECT_LT(bench.answer(ids[i - 1]).first_step, bench.answer(ids[i]).first_step);
  }
}

TEST(Scheduler, CancelsBeforeTheNextStep) {
  Bench bench(Settings{});
  const Id id = bench.Submit(Tokens(10, 1), 1000);
  for (int i = 0; i < 5; ++i) bench.scheduler().Step();
  const std::size_t count = bench.answer(id).tokens.size();
  bench.Cancel(id);
  EXPECT_FALSE(bench.scheduler().Step());
  EXPECT_EQ(bench.answer(id).tokens.size(), count);
  EXPECT_EQ(bench.answer(id).report.end, RequestEnd::kCancelled);
  EXPECT_EQ(bench.answer(id).ends, 1);
  bench.CheckNothingLeaks();
}

TEST(Scheduler, EndsARequestAtItsDeadline) {
  Bench bench(Settings{});
  int ends = 0;
  Request request;
  request.prompt = Tokens(4, 1);
  request.deadline = std::chrono::steady_clock::now() - std::chrono::milliseconds(1);
  request.on_token = [](std::int32_t, std::span<const float>) { return true; };
  request.on_end = [&](const RequestReport& report) {
    ++ends;
    EXPECT_EQ(report.end, RequestEnd::kDeadline);
  };
  bench.scheduler().Submit(std::move(request));
  while (bench.scheduler().Step()) {
  }
  EXPECT_EQ(ends, 1);
}

TEST(Scheduler, AFullContextEndsTheAnswer) {
  Settings setup;
  setup.context = 64;
  Bench bench(setup);
  const Id id = bench.Submit(Tokens(60, 1), 100);
  bench.RunAll();
  EXPECT_EQ(bench.answer(id).report.end, RequestEnd::kContextFull);
  EXPECT_EQ(bench.answer(id).tokens.size(), 4u);
}

TEST(Scheduler, AStepThatFailsEndsThoseInItAndNobodyElse) {
  Settings setup;
  setup.sequences = 1;
  Bench bench(setup);
  const Id first = bench.Submit(Tokens(10, 1), 5);
  const Id second = bench.Submit(Tokens(10, 2), 5);
  bench.model().fail_next = true;
  bench.RunAll();
  EXPECT_EQ(bench.answer(first).report.end, RequestEnd::kFailed);
  EXPECT_THROW(std::rethrow_exception(bench.answer(first).report.error), std::runtime_error);
  EXPECT_EQ(bench.answer(second).report.end, RequestEnd::kEnough);
  bench.CheckAll();
  bench.CheckNothingLeaks();
}

TEST(Scheduler, RefusesWhatCannotBeAnswered) {
  Settings setup;
  setup.scheduler.queue = 2;
  Bench bench(setup);
  EXPECT_THROW(bench.Submit({}, 1), Error);
  EXPECT_THROW(bench.Submit(Tokens(512, 1), 1), Error);
  EXPECT_THROW(bench.Submit({kFakeVocab}, 1), Error);
  bench.Submit({1}, 1);
  bench.Submit({2}, 1);
  try {
    bench.Submit({3}, 1);
    FAIL() << "the queue has no end";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kResource);
    EXPECT_NE(std::string(error.what()).find("the queue is full"), std::string::npos);
  }
  Request refused;
  refused.prompt = {4};
  refused.on_end = [](const RequestReport&) {};
  EXPECT_THROW(bench.scheduler().Submit(std::move(refused)), Error);
  EXPECT_EQ(refused.prompt, Tokens{4}) << "who tells the caller needs the request";
  EXPECT_TRUE(refused.on_end);
  bench.RunAll();
  bench.CheckAll();
}

TEST(Scheduler, SaysSoWhereSessionsHoldEverySequence) {
  Settings setup;
  setup.sequences = 1;
  Bench bench(setup);
  bench.engine().AddSequence();
  const Id id = bench.Submit({1}, 1);
  bench.RunAll();
  EXPECT_EQ(bench.answer(id).report.end, RequestEnd::kFailed);
}

TEST(EngineThread, AnswersManyCallersAtOnceAndEndsTheRestWhenItGoes) {
  const ModelConfig config = testing::FakeConfig();
  KvPlan plan;
  plan.dtype = DType::kF32;
  plan.context = 256;
  plan.chunk = 64;
  plan.sequences = 4;
  Engine engine(config, plan, std::make_unique<Context>(1, CpuLevel::kPlain),
                std::make_unique<FakeModel>());
  std::atomic<int> ended = 0, cancelled = 0;
  {
    EngineThread thread(engine, {});
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
      callers.emplace_back([&, caller] {
        for (int i = 0; i < 20; ++i) {
          Tokens all(3, caller);
          all.push_back(i % kFakeVocab);
          std::mutex mutex;
          std::condition_variable wake;
          bool done = false;
          Request request;
          request.prompt = all;
          request.on_token = [&](std::int32_t token, std::span<const float>) {
            EXPECT_EQ(token, FakeNext(all));
            all.push_back(token);
            return all.size() < 40;
          };
          request.on_end = [&](const RequestReport&) {
            const std::lock_guard lock(mutex);
            done = true;
            wake.notify_all();
          };
          const auto cancelled_one = std::make_shared<std::atomic<bool>>(false);
          request.cancelled = cancelled_one;
          thread.Submit(std::move(request));
          if (i % 5 == 4) *cancelled_one = true;
          if (i % 7 == 0) thread.Exclusive([](Engine& e) { return e.allocated_bytes(); });
          std::unique_lock lock(mutex);
          wake.wait(lock, [&] { return done; });
          ++ended;
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(ended, 80);
    for (int i = 0; i < 10; ++i) {
      Request request;
      request.prompt = Tokens(10, i);
      request.on_token = [](std::int32_t, std::span<const float>) { return true; };
      request.on_end = [&](const RequestReport& report) {
        cancelled += report.end == RequestEnd::kCancelled || report.end == RequestEnd::kContextFull;
      };
      thread.Submit(std::move(request));
    }
  }
  EXPECT_EQ(cancelled, 10);
}

}  // namespace
}  // namespace culet
