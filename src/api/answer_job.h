// One answer between two threads: the engine's makes tokens into events, the caller's takes them.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "api/model_impl.h"
#include "api/soft_prompt.h"
#include "culet/generate.h"
#include "runtime/answer_stream.h"
#include "runtime/scheduler.h"

namespace culet {

// Threads: OnToken and OnEnd are the engine thread's, once it has the request; the rest is any
// thread's.
class AnswerJob {
 public:
  using Clock = std::chrono::steady_clock;

  // As the clock counts; from a year on it is a year, for the clock's 64 bits end somewhere.
  static Clock::duration Seconds(double seconds) {
    constexpr double kYear = 365.0 * 24 * 3600;
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(std::clamp(seconds, 0.0, kYear)));
  }

  // Checks prompt and options. Throws Error. The model must outlive the job's end.
  AnswerJob(const Model& model, const Prompt& prompt, const GenerateOptions& options);

  // The request that answers this prompt and reports to `job`. Encodes the prompt's media here;
  // where that was stopped, or took too long, the job has ended and there is none.
  static std::optional<Request> MakeRequest(const std::shared_ptr<AnswerJob>& job,
                                            const Prompt& prompt, int sequence);

  // The next event, in order; empty at the end or, with a `limit`, where none came by then. Tells
  // options.on_prefill of what was read of the prompt meanwhile.
  std::optional<GenerateEvent> Next(std::optional<Clock::time_point> limit);
  // The request is over; ended(): and every event was taken.
  bool has_ended();
  // Ends it before the next step; never fails.
  void Cancel() { cancelled_ = true; }
  bool ended();
  void WaitUntilEnded();
  // Throws what a request that is over failed with.
  void ThrowIfFailed();
  // Once, after the end. Throws what the request failed with.
  GenerateResult TakeResult();
  // Called after every event and at the end, on the engine's thread; at once where there are some.
  void SetReadyCallback(std::function<void()> callback);

 private:
  bool OnToken(TokenId token, std::span<const float> logits);
  void OnEnd(const RequestReport& report);
  // The prompt with its media encoded; none: that was stopped, and the job has ended.
  std::optional<SoftPrompt> Encode(const Prompt& prompt);
  void Deliver(std::vector<OutputEvent> events);
  void Wake();

  const Model* model_;
  const Tokenizer& tokenizer_;
  const GenerateOptions options_;
  const std::vector<TokenId> stops_;
  const std::int64_t max_tokens_;
  SamplingParameters sampling_;
  AnswerStream stream_;
  Clock::time_point start_, first_token_;
  GenerateResult result_;  // the engine thread's until the end
  std::atomic<bool> cancelled_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<GenerateEvent> events_;
  std::optional<std::pair<std::int64_t, std::int64_t>> progress_;  // rows of the prompt: done, all
  std::shared_ptr<const std::function<void()>> ready_;
  std::exception_ptr error_;
  bool ended_ = false;
};

}  // namespace culet
