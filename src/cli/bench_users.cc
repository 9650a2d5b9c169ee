#include "cli/bench_users.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "cli/interrupt.h"
#include "culet/generate.h"

namespace culet::cli {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

Clock::time_point After(Clock::time_point from, double milliseconds) {
  return from + std::chrono::duration_cast<Clock::duration>(
                    std::chrono::duration<double, std::milli>(milliseconds));
}

double Median(const std::vector<double>& values) { return SpreadOf(values).median; }

// Runs of one number of users.
struct Samples {
  std::vector<double> rates, ratios, prompt_rates, first_token_ms, whole_rates, whole_ratios;
};

// One run, of all users.
struct Run {
  double rate = 0, prompt_rate = 0, whole_rate = 0;  // tokens/s
  std::vector<double> first_token_ms;                // of each user
};

class UsersBench {
 public:
  UsersBench(std::shared_ptr<Model> model, const UsersPlan& plan,
             const std::function<void(int, int)>& on_step)
      : model_(std::move(model)), on_step_(on_step), random_(plan.seed) {
    total_ = static_cast<int>(plan.contexts.size() * plan.decode.size() * plan.users.size()) *
             (plan.repeats + 1);
  }

  void Measure(const UsersPlan& plan, std::int64_t context, std::int64_t tokens,
               std::vector<UsersResult>* results);

 private:
  Prompt RandomPrompt(std::int64_t count);
  Answer StartOne(std::int64_t context, std::int64_t tokens);
  Run RunOnce(std::int64_t users, std::int64_t context, std::int64_t tokens);

  std::shared_ptr<Model> model_;
  const std::function<void(int, int)>& on_step_;
  std::mt19937_64 random_;
  int done_ = 0;
  int total_ = 0;
};

// Of new tokens each time, so that nothing is taken from what others computed.
Prompt UsersBench::RandomPrompt(std::int64_t count) {
  const auto vocab = static_cast<std::uint64_t>(model_->info().vocab);
  Prompt prompt;
  for (std::int64_t i = 0; i < count; ++i) {
    prompt.tokens.push_back(static_cast<TokenId>(random_() % vocab));
  }
  return prompt;
}

Answer UsersBench::StartOne(std::int64_t context, std::int64_t tokens) {
  GenerateOptions options;
  options.temperature = 0;
  options.max_tokens = tokens;
  options.ignore_stop_tokens = true;
  return Start(model_, RandomPrompt(context), options);
}

Run UsersBench::RunOnce(std::int64_t users, std::int64_t context, std::int64_t tokens) {
  // While the model is busy with another prompt, everybody comes; then that one goes away. So all
  // begin in the same step, however long it takes to start them.
  const Clock::time_point busy_start = Clock::now();
  Answer busy = StartOne(context, 1);
  std::vector<Answer> answers;
  std::vector<Clock::time_point> starts;
  for (std::int64_t user = 0; user < users; ++user) {
    starts.push_back(Clock::now());
    answers.push_back(StartOne(context, tokens));
  }
  busy.Cancel();
  const GenerateResult end_of_busy = busy.Wait();
  // Times are those of the model's thread: this one may be woken late.
  const Clock::time_point begin =
      std::max(starts.front(), After(busy_start, end_of_busy.prefill_ms + end_of_busy.decode_ms));
  std::vector<Clock::time_point> firsts, ends;
  std::int64_t made = 0;
  Run run;
  for (std::size_t user = 0; user < answers.size(); ++user) {
    while (!answers[user].ended()) {
      if (InterruptGuard::Pending()) throw Interrupted();  // cancels the answers
      answers[user].NextWithin(0.1);
    }
    const GenerateResult result = answers[user].Wait();
    firsts.push_back(After(starts[user], result.prefill_ms));
    ends.push_back(After(starts[user], result.prefill_ms + result.decode_ms));
    made += result.completion_tokens;
    run.first_token_ms.push_back(1000 * Seconds(begin, firsts.back()));
  }
  const Clock::time_point first = *std::ranges::min_element(firsts);
  const Clock::time_point all_have_one = *std::ranges::max_element(firsts);
  const Clock::time_point end = *std::ranges::max_element(ends);
  run.rate = static_cast<double>(made - users) / Seconds(first, end);  // behind the first ones
  run.prompt_rate = static_cast<double>(users * context) / Seconds(begin, all_have_one);
  run.whole_rate = static_cast<double>(made) / Seconds(begin, end);
  return run;
}

void UsersBench::Measure(const UsersPlan& plan, std::int64_t context, std::int64_t tokens,
                         std::vector<UsersResult>* results) {
  std::vector<Samples> samples(plan.users.size());
  // The first round only warms up. Then every number of users once a round: machines move, and a
  // ratio is of runs that stand side by side.
  for (int round = 0; round <= plan.repeats; ++round) {
    Run one;
    for (std::size_t index = 0; index < plan.users.size(); ++index) {
      if (InterruptGuard::Pending()) throw Interrupted();
      on_step_(done_++, total_);
      const Run run = RunOnce(plan.users[index], context, tokens);
      if (plan.users[index] == 1) one = run;
      if (round == 0) continue;
      Samples& kept = samples[index];
      kept.rates.push_back(run.rate);
      kept.ratios.push_back(run.rate / one.rate);
      kept.prompt_rates.push_back(run.prompt_rate);
      kept.whole_rates.push_back(run.whole_rate);
      kept.whole_ratios.push_back(run.whole_rate / one.whole_rate);
      kept.first_token_ms.insert(kept.first_token_ms.end(), run.first_token_ms.begin(),
                                 run.first_token_ms.end());
    }
  }
  for (std::size_t index = 0; index < plan.users.size(); ++index) {
    const Samples& kept = samples[index];
    results->push_back({plan.users[index], context, tokens, SpreadOf(kept.rates),
                        SpreadOf(kept.ratios), Median(kept.prompt_rates),
                        Median(kept.first_token_ms), Median(kept.whole_rates),
                        Median(kept.whole_ratios)});
  }
}

// Each number once and in order, the one that ratios are taken to first.
std::vector<std::int64_t> InOrder(std::vector<std::int64_t> users) {
  users.push_back(1);
  std::ranges::sort(users);
  users.erase(std::unique(users.begin(), users.end()), users.end());
  return users;
}

}  // namespace

std::int64_t UsersPlan::Sequences() const {
  // +1: who keeps the model busy while the users come.
  return users.empty() ? 1 : std::ranges::max(users) + 1;
}

std::int64_t UsersPlan::LongestContext() const {
  if (users.empty()) return 1;
  return std::ranges::max(contexts) + std::ranges::max(decode) + 1;
}

std::int64_t UsersPlan::PoolTokens() const {
  if (users.empty()) return 0;
  constexpr std::int64_t kMostPage = 64;  // a page that each may have begun
  return Sequences() * (LongestContext() + kMostPage);
}

std::vector<UsersResult> RunUsers(const std::shared_ptr<Model>& model, const UsersPlan& plan,
                                  const std::function<void(int, int)>& on_step) {
  UsersPlan ordered = plan;
  ordered.users = InOrder(plan.users);
  std::vector<UsersResult> results;
  UsersBench bench(model, ordered, on_step);
  for (const std::int64_t context : plan.contexts) {
    for (const std::int64_t tokens : plan.decode) {
      bench.Measure(ordered, context, tokens, &results);
    }
  }
  return results;
}

}  // namespace culet::cli
