#include "api/answer_job.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>

#include "api/soft_prompt.h"
#include "api/text_processor_impl.h"
#include "base/error.h"
#include "base/hash.h"

namespace culet {
namespace {

double MillisecondsSince(AnswerJob::Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(AnswerJob::Clock::now() - start).count();
}

std::uint64_t SystemSeed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

StepLogprobs LogprobsOf(std::span<const float> logits, TokenId chosen, int count,
                        const Tokenizer& tokenizer) {
  const LogProbabilities probabilities = TopLogProbabilities(logits, chosen, count);
  StepLogprobs step;
  step.chosen = {chosen, std::string(tokenizer.TokenText(chosen)), probabilities.chosen};
  for (const Candidate& candidate : probabilities.top) {
    step.top.push_back(
        {candidate.token, std::string(tokenizer.TokenText(candidate.token)), candidate.logit});
  }
  return step;
}

void CheckPrompt(const ModelInfo& info, const Prompt& prompt, const GenerateOptions& options) {
  if (prompt.tokens.empty()) {
    throw Error(ErrorKind::kInvalidArgument, "the prompt is empty; at least <bos> is needed");
  }
  if (options.max_tokens.value_or(0) < 0 || options.logprobs < 0) {
    throw Error(ErrorKind::kInvalidArgument,
                "GenerateOptions::max_tokens and GenerateOptions::logprobs cannot be negative");
  }
  if (options.timeout_s && !(*options.timeout_s > 0)) {
    throw Error(ErrorKind::kInvalidArgument, "GenerateOptions::timeout_s is " +
                                                 std::to_string(*options.timeout_s) +
                                                 "; it must be more than 0");
  }
  if (static_cast<std::int64_t>(prompt.tokens.size()) >= info.context) {
    throw Error(ErrorKind::kResource,
                "the prompt has " + std::to_string(prompt.tokens.size()) +
                    " tokens; the context of " + std::to_string(info.context) +
                    " must hold them and at least one token of the answer. Use a larger "
                    "LoadOptions::context (the model was made for up to " +
                    std::to_string(info.max_positions) + ") or a shorter prompt");
  }
}

std::vector<std::string> StopTextsOf(const ModelDefaults& defaults,
                                     const GenerateOptions& options) {
  std::vector<std::string> texts = defaults.stop_texts;
  texts.insert(texts.end(), options.stop.begin(), options.stop.end());
  return texts;
}

}  // namespace

AnswerJob::AnswerJob(const Model& model, const Prompt& prompt, const GenerateOptions& options)
    : model_(&model),
      tokenizer_(TokenizerOf(model.text())),
      options_(options),
      stops_(model.defaults().stop_tokens),
      max_tokens_(options.max_tokens.value_or(model.defaults().max_new_tokens)),
      sampling_(ResolveSampling(options, model.defaults())),
      stream_(tokenizer_, prompt.starts_in_thought, StopTextsOf(model.defaults(), options)),
      start_(Clock::now()),
      first_token_(start_) {
  CheckPrompt(model.info(), prompt, options);
  if (!options.seed) sampling_.seed = SystemSeed();
  sampling_.Check();
  result_.seed = sampling_.seed;
  result_.prompt_tokens = static_cast<std::int64_t>(prompt.tokens.size());
  result_.finish_reason = FinishReason::kLength;
}

std::optional<SoftPrompt> AnswerJob::Encode(const Prompt& prompt) {
  RequestEnd end = RequestEnd::kCancelled;
  const auto go_on = [&](std::uint64_t done, std::uint64_t total) {
    if (options_.timeout_s && Clock::now() >= start_ + Seconds(*options_.timeout_s)) {
      end = RequestEnd::kDeadline;
      return false;
    }
    return !options_.on_media ||
           options_.on_media(static_cast<std::int64_t>(done), static_cast<std::int64_t>(total));
  };
  try {
    return Soften(*model_, prompt, go_on);
  } catch (const EncodingStopped&) {
    RequestReport report;
    report.end = end;
    OnEnd(report);
    return std::nullopt;
  }
}

std::optional<Request> AnswerJob::MakeRequest(const std::shared_ptr<AnswerJob>& job,
                                              const Prompt& prompt, int sequence) {
  std::optional<SoftPrompt> encoded = job->Encode(prompt);
  if (!encoded) return std::nullopt;
  SoftPrompt& soft = *encoded;
  Request request;
  request.prompt = std::move(soft.tokens);
  request.soft = std::move(soft.blocks);
  request.sampling = job->sampling_;
  request.sequence = sequence;
  request.cancelled = std::shared_ptr<const std::atomic<bool>>(job, &job->cancelled_);
  if (job->options_.timeout_s) {
    request.deadline = job->start_ + Seconds(*job->options_.timeout_s);
  }
  request.on_token = [job](std::int32_t token, std::span<const float> logits) {
    return job->OnToken(token, logits);
  };
  if (job->options_.on_prefill) {
    request.on_progress = [job](std::int64_t done, std::int64_t total) {
      {
        const std::lock_guard lock(job->mutex_);
        job->progress_ = {done, total};
      }
      job->changed_.notify_all();
    };
  }
  request.on_end = [job](const RequestReport& report) { job->OnEnd(report); };
  return request;
}

void AnswerJob::Wake() {
  changed_.notify_all();
  std::shared_ptr<const std::function<void()>> ready;  // the end must not fail for want of memory
  {
    const std::lock_guard lock(mutex_);
    ready = ready_;
  }
  if (ready) (*ready)();
}

void AnswerJob::Deliver(std::vector<OutputEvent> events) {
  if (events.empty()) return;
  for (OutputEvent& event : events) {
    GenerateEvent out;
    if (event.kind == OutputEvent::Kind::kToolCall) {
      out.kind = GenerateEvent::Kind::kToolCall;
      out.call = {event.call.name, event.call.arguments_json};
      result_.tool_calls.push_back(out.call);
    } else {
      const bool thinking = event.kind == OutputEvent::Kind::kThinking;
      out.kind = thinking ? GenerateEvent::Kind::kThinking : GenerateEvent::Kind::kContent;
      out.text = std::move(event.text);
      (thinking ? result_.thinking : result_.text) += out.text;
    }
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(out));
  }
  Wake();
}

bool AnswerJob::OnToken(TokenId token, std::span<const float> logits) {
  result_.tokens.push_back(token);
  result_.logits_hash = HashBytes(std::as_bytes(logits));
  if (result_.tokens.size() == 1) {
    result_.prefill_ms = MillisecondsSince(start_);
    first_token_ = Clock::now();
  }
  if (options_.logprobs > 0) {
    result_.logprobs.push_back(LogprobsOf(logits, token, options_.logprobs, tokenizer_));
  }
  const bool is_stop = std::find(stops_.begin(), stops_.end(), token) != stops_.end();
  if (is_stop && !options_.ignore_stop_tokens) {
    result_.finish_reason = FinishReason::kStop;
    return false;
  }
  Deliver(stream_.Push(token));
  if (stream_.stopped()) {
    result_.finish_reason = FinishReason::kStop;
    return false;
  }
  return max_tokens_ == 0 || static_cast<std::int64_t>(result_.tokens.size()) < max_tokens_;
}

void AnswerJob::OnEnd(const RequestReport& report) {
  std::exception_ptr error = report.error;
  if (report.end == RequestEnd::kCancelled) result_.finish_reason = FinishReason::kCancelled;
  if (report.end == RequestEnd::kDeadline) result_.finish_reason = FinishReason::kTimeout;
  try {
    Deliver(stream_.Finish());
  } catch (...) {
    if (!error) error = std::current_exception();
  }
  if (result_.finish_reason == FinishReason::kStop && !result_.tool_calls.empty()) {
    result_.finish_reason = FinishReason::kToolCalls;
  }
  result_.cached_tokens = report.cached_tokens;
  result_.computed_tokens = result_.prompt_tokens - report.cached_tokens;
  result_.completion_tokens = static_cast<std::int64_t>(result_.tokens.size());
  if (result_.tokens.empty()) {
    result_.prefill_ms = MillisecondsSince(start_);
  } else {
    result_.decode_ms = MillisecondsSince(first_token_);
  }
  {
    const std::lock_guard lock(mutex_);
    error_ = error;
    ended_ = true;
  }
  Wake();
}

std::optional<GenerateEvent> AnswerJob::Next(std::optional<Clock::time_point> limit) {
  std::unique_lock lock(mutex_);
  const auto there_is_news = [&] { return ended_ || progress_ || !events_.empty(); };
  for (;;) {
    if (limit) {
      changed_.wait_until(lock, *limit, there_is_news);
    } else {
      changed_.wait(lock, there_is_news);
    }
    if (!progress_) break;
    const auto [done, total] = *std::exchange(progress_, std::nullopt);
    lock.unlock();
    options_.on_prefill(done, total);
    lock.lock();
  }
  if (events_.empty()) return std::nullopt;
  GenerateEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

bool AnswerJob::has_ended() {
  const std::lock_guard lock(mutex_);
  return ended_;
}

bool AnswerJob::ended() {
  const std::lock_guard lock(mutex_);
  return ended_ && events_.empty();
}

void AnswerJob::WaitUntilEnded() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ended_; });
}

void AnswerJob::ThrowIfFailed() {
  const std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(error_);
}

GenerateResult AnswerJob::TakeResult() {
  WaitUntilEnded();
  ThrowIfFailed();
  const std::lock_guard lock(mutex_);
  return std::move(result_);
}

void AnswerJob::SetReadyCallback(std::function<void()> callback) {
  bool at_once = false;
  auto ready = callback ? std::make_shared<const std::function<void()>>(callback) : nullptr;
  {
    const std::lock_guard lock(mutex_);
    ready_ = std::move(ready);
    at_once = ended_ || !events_.empty();
  }
  if (at_once && callback) callback();
}

}  // namespace culet
