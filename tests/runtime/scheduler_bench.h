// An engine over the fake model with a scheduler, and what every request of a test came to.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "runtime/fake_model.h"
#include "runtime/scheduler.h"

namespace culet::testing {

using Id = int;  // of an answer of a Bench, by arrival
using Tokens = std::vector<std::int32_t>;

struct Settings {
  std::int64_t context = 512, chunk = 96, sequences = 6, pool_tokens = 0, prefix_tokens = 256;
  SchedulerOptions scheduler;
};

// An engine over the fake model, its scheduler, and what every request answered.
class Bench {
 public:
  explicit Bench(const Settings& setup)
      : config_(FakeConfig()), engine_(MakeEngine(setup)), scheduler_(engine_, setup.scheduler) {}

  struct Answer {
    Tokens prompt, tokens;
    std::int64_t wanted = 0;
    int ends = 0;
    std::int64_t first_step = -1, last_gap = 0, last_step = 0;
    RequestReport report;
    std::atomic<bool> cancelled = false;
  };

  Id Submit(Tokens prompt, std::int64_t count, int sequence = -1) {
    const auto answer = std::make_shared<Answer>();
    answer->prompt = prompt;
    answer->wanted = count;
    Request request;
    request.prompt = std::move(prompt);
    request.sequence = sequence;
    request.on_token = [this, answer](std::int32_t token, std::span<const float>) {
      const std::int64_t step = model_->steps;
      if (answer->first_step < 0) answer->first_step = answer->last_step = step;
      answer->last_gap = std::max(answer->last_gap, step - answer->last_step);
      answer->last_step = step;
      answer->tokens.push_back(token);
      return static_cast<std::int64_t>(answer->tokens.size()) < answer->wanted;
    };
    request.on_end = [answer](const RequestReport& report) {
      ++answer->ends;
      answer->report = report;
    };
    request.cancelled = std::shared_ptr<const std::atomic<bool>>(answer, &answer->cancelled);
    scheduler_.Submit(std::move(request));
    const Id id = static_cast<Id>(answers_.size()) + 1;
    answers_[id] = answer;
    return id;
  }

  void Cancel(Id id) { answer(id).cancelled = true; }

  // A request for hidden states.
  struct Text {
    Tokens tokens;
    Wanted wanted = Wanted::kAll;
    std::vector<std::int32_t> hidden;  // of rows in order
    std::int64_t begin = -1;           // position of the first
    int ends = 0;
    RequestReport report;
    std::atomic<bool> cancelled = false;
  };

  Id SubmitText(Tokens tokens, Wanted wanted = Wanted::kAll) {
    const auto text = std::make_shared<Text>();
    text->tokens = tokens;
    text->wanted = wanted;
    Request request;
    request.prompt = std::move(tokens);
    request.hidden = wanted;
    request.on_hidden = [text](std::int64_t position, View<const float, 2> hidden) {
      if (text->begin < 0) text->begin = position;
      EXPECT_EQ(position, text->begin + static_cast<std::int64_t>(text->hidden.size()));
      for (std::int64_t row = 0; row < hidden.extent(0); ++row) {
        text->hidden.push_back(static_cast<std::int32_t>(*hidden.row(row)));
      }
    };
    request.on_end = [text](const RequestReport& report) {
      ++text->ends;
      text->report = report;
    };
    request.cancelled = std::shared_ptr<const std::atomic<bool>>(text, &text->cancelled);
    scheduler_.Submit(std::move(request));
    const Id id = static_cast<Id>(texts_.size()) + 1;
    texts_[id] = text;
    return id;
  }

  // Every row, or the last, once and right: what was delivered of a cancelled one too.
  static void Check(const Text& text) {
    EXPECT_EQ(text.ends, 1);
    EXPECT_FALSE(text.report.error);
    if (text.report.end == RequestEnd::kEnough) {
      EXPECT_EQ(text.hidden.size(), text.wanted == Wanted::kAll ? text.tokens.size() : 1);
      EXPECT_EQ(text.begin + static_cast<std::int64_t>(text.hidden.size()),
                static_cast<std::int64_t>(text.tokens.size()));
    }
    for (std::size_t row = 0; row < text.hidden.size(); ++row) {
      const std::size_t position = static_cast<std::size_t>(text.begin) + row;
      ASSERT_EQ(text.hidden[row], FakeNext(std::span(text.tokens).first(position + 1)));
    }
  }

  void RunAll() {
    for (int steps = 0; scheduler_.Step(); ++steps) ASSERT_LT(steps, 200000) << "never ends";
  }

  // What the answer must be: the fake's tokens, as many as were wanted or fitted.
  static void Check(const Answer& answer) {
    EXPECT_EQ(answer.ends, 1);
    Tokens all = answer.prompt;
    for (const std::int32_t token : answer.tokens) {
      ASSERT_EQ(token, FakeNext(all)) << "after " << all.size() << " tokens";
      all.push_back(token);
    }
    if (answer.report.end == RequestEnd::kEnough) {
      EXPECT_EQ(static_cast<std::int64_t>(answer.tokens.size()), answer.wanted);
    }
  }
  static std::string FailureOf(const Answer& answer) {
    if (!answer.report.error) return "";
    try {
      std::rethrow_exception(answer.report.error);
    } catch (const std::exception& error) {
      return error.what();
    }
  }
  void CheckAll() const {
    for (const auto& [id, answer] : answers_) Check(*answer);
    for (const auto& [id, text] : texts_) Check(*text);
  }
  // Nothing is held but by the cache of prefixes, and that gives everything back.
  void CheckNothingLeaks() {
    EXPECT_EQ(engine_.kv().available_pages(),
              engine_.kv().plan().PoolPages(config_, LayerKind::kFull));
  }

  FakeModel& model() { return *model_; }
  Engine& engine() { return engine_; }
  Scheduler& scheduler() { return scheduler_; }
  Answer& answer(Id id) { return *answers_.at(id); }
  const std::map<Id, std::shared_ptr<Answer>>& answers() const { return answers_; }
  Text& text(Id id) { return *texts_.at(id); }
  const std::map<Id, std::shared_ptr<Text>>& texts() const { return texts_; }

 private:
  Engine MakeEngine(const Settings& setup) {
    KvPlan plan;
    plan.dtype = DType::kF32;
    plan.context = setup.context;
    plan.chunk = setup.chunk;
    plan.sequences = setup.sequences;
    plan.pool_tokens = setup.pool_tokens;
    plan.prefix_tokens = setup.prefix_tokens;
    auto model = std::make_unique<FakeModel>();
    model_ = model.get();
    return Engine(config_, plan, std::make_unique<Context>(1, CpuLevel::kPlain), std::move(model));
  }

  ModelConfig config_;
  FakeModel* model_ = nullptr;
  Engine engine_;
  Scheduler scheduler_;
  std::map<Id, std::shared_ptr<Answer>> answers_;
  std::map<Id, std::shared_ptr<Text>> texts_;
};

inline Tokens RandomPrompt(std::mt19937& random, std::int64_t most) {
  Tokens tokens(1 + random() % static_cast<std::uint32_t>(most));
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % kFakeVocab);
  return tokens;
}

}  // namespace culet::testing
