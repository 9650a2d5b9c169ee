// Sessions: one sequence of the engine, answers over it.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <utility>

#include "api/model_impl.h"
#include "api/text_processor_impl.h"
#include "base/error.h"
#include "base/hash.h"
#include "culet/generate.h"
#include "runtime/answer_stream.h"
#include "runtime/sampler.h"

namespace culet {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
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

}  // namespace

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kToolCalls: return "tool_calls";
    case FinishReason::kCancelled: return "cancelled";
  }
  return "stop";
}

struct Session::Impl {
  explicit Impl(std::shared_ptr<Model> owner)
      : model(std::move(owner)), engine(*model->impl().engine), sequence(engine.AddSequence()) {}
  ~Impl() { engine.RemoveSequence(sequence); }

  std::int64_t KeepCommonBeginning(std::span<const TokenId> prompt);

  std::shared_ptr<Model> model;
  Engine& engine;
  int sequence;
};

// Goes back to where `prompt` leaves what the session stands for, and returns how many tokens that
// is. At least the last token is left to compute: its logits are wanted.
std::int64_t Session::Impl::KeepCommonBeginning(std::span<const TokenId> prompt) {
  const std::span<const std::int32_t> have = engine.tokens(sequence);
  const std::size_t most = std::min(have.size(), prompt.size() - 1);
  const auto apart =
      std::mismatch(have.begin(), have.begin() + static_cast<std::ptrdiff_t>(most), prompt.begin());
  const std::int64_t common = apart.first - have.begin();
  engine.Rewind(sequence, common);
  return common;
}

Session::Session(std::shared_ptr<Model> model) : impl_(std::make_unique<Impl>(std::move(model))) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

Model& Session::model() const { return *impl_->model; }
std::span<const TokenId> Session::tokens() const { return impl_->engine.tokens(impl_->sequence); }
std::int64_t Session::recomputed_tokens() const {
  return impl_->engine.recomputed_tokens(impl_->sequence);
}
void Session::Rewind(std::int64_t position) { impl_->engine.Rewind(impl_->sequence, position); }
void Session::Pin() { impl_->engine.Pin(impl_->sequence); }

std::span<const float> Session::Append(std::span<const TokenId> tokens) {
  impl_->engine.Append(impl_->sequence, tokens);
  return impl_->engine.CatchUp(impl_->sequence, 0, [] { return false; });
}

GenerateResult Session::Generate(const Prompt& prompt, const GenerateOptions& options,
                                 const std::function<void(const GenerateEvent&)>& on_event,
                                 const std::function<bool()>& should_stop) {
  Engine& engine = impl_->engine;
  const int sequence = impl_->sequence;
  const ModelDefaults& defaults = impl_->model->defaults();
  const std::int64_t context = impl_->model->info().context;
  const Tokenizer& tokenizer = TokenizerOf(impl_->model->text());
  const std::int64_t prompt_tokens = static_cast<std::int64_t>(prompt.tokens.size());
  if (prompt_tokens == 0) {
    throw Error(ErrorKind::kInvalidArgument, "the prompt is empty; at least <bos> is needed");
  }
  if (options.max_tokens.value_or(0) < 0 || options.logprobs < 0) {
    throw Error(ErrorKind::kInvalidArgument,
                "GenerateOptions::max_tokens and GenerateOptions::logprobs cannot be negative");
  }
  if (prompt_tokens >= context) {
    throw Error(ErrorKind::kResource, "the prompt has " + std::to_string(prompt_tokens) +
                                          " tokens; the context of " + std::to_string(context) +
                                          " must hold them and at least one token of the answer. "
                                          "Use a larger LoadOptions::context (the "
                                          "model was made for up to " +
                                          std::to_string(impl_->model->info().max_positions) +
                                          ") or a shorter prompt");
  }
  SamplingParameters parameters = ResolveSampling(options, defaults);
  if (!options.seed) parameters.seed = SystemSeed();
  Sampler sampler(parameters, impl_->model->info().vocab);
  std::vector<std::string> stop_texts = defaults.stop_texts;
  stop_texts.insert(stop_texts.end(), options.stop.begin(), options.stop.end());
  AnswerStream stream(tokenizer, prompt.starts_in_thought, std::move(stop_texts));

  GenerateResult result;
  result.seed = parameters.seed;
  result.prompt_tokens = prompt_tokens;
  const auto deliver = [&](std::vector<OutputEvent> events) {
    for (OutputEvent& event : events) {
      GenerateEvent out;
      if (event.kind == OutputEvent::Kind::kToolCall) {
        out.kind = GenerateEvent::Kind::kToolCall;
        out.call = {event.call.name, event.call.arguments_json};
        result.tool_calls.push_back(out.call);
      } else {
        const bool thinking = event.kind == OutputEvent::Kind::kThinking;
        out.kind = thinking ? GenerateEvent::Kind::kThinking : GenerateEvent::Kind::kContent;
        out.text = std::move(event.text);
        (thinking ? result.thinking : result.text) += out.text;
      }
      if (on_event) on_event(out);
    }
  };
  std::int64_t step_begin = 0;  // positions that were computed before this step
  const auto stop_now = [&] {
    step_begin = engine.computed(sequence);
    return should_stop && should_stop();
  };
  const std::span<const TokenId> stops = defaults.stop_tokens;
  const std::int64_t max_tokens = options.max_tokens.value_or(defaults.max_new_tokens);

  const Clock::time_point start = Clock::now();
  result.cached_tokens = impl_->KeepCommonBeginning(prompt.tokens);
  result.cached_tokens = std::min(result.cached_tokens, engine.computed(sequence));
  result.computed_tokens = prompt_tokens - result.cached_tokens;
  engine.Append(sequence, std::span(prompt.tokens).subspan(engine.tokens(sequence).size()));

  sampler.Observe(prompt.tokens);  // the engine has checked the ids

  LayerTap on_layer;  // while the prompt is computed
  if (options.on_prefill) {
    on_layer = [&, last_layer = engine.config().first_shared_layer(), rows = std::int64_t{0}](
                   int layer, View<const float, 2> x) mutable {
      if (layer == 0) rows = x.extent(0);
      // Layers behind the last with KV of its own see the rows no more that nobody asks for.
      const std::int64_t done = rows * std::min(layer, last_layer) / last_layer;
      options.on_prefill(step_begin - result.cached_tokens + done, result.computed_tokens);
    };
  }

  result.finish_reason = FinishReason::kLength;
  Clock::time_point first_token = start;
  std::span<const float> logits;
  for (;;) {
    logits = engine.CatchUp(sequence, 0, stop_now, on_layer);
    on_layer = {};
    if (logits.empty()) {
      result.finish_reason = FinishReason::kCancelled;
      break;
    }
    const TokenId token = sampler.Sample(logits);
    result.tokens.push_back(token);
    if (result.tokens.size() == 1) {
      result.prefill_ms = MillisecondsSince(start);
      engine.Pin(sequence);  // where the next turn goes back to when it drops this answer's thought
      first_token = Clock::now();
    }
    if (options.logprobs > 0) {
      result.logprobs.push_back(LogprobsOf(logits, token, options.logprobs, tokenizer));
    }
    const bool is_stop = std::find(stops.begin(), stops.end(), token) != stops.end();
    if (is_stop && !options.ignore_stop_tokens) {
      result.finish_reason = FinishReason::kStop;
      break;
    }
    deliver(stream.Push(token));
    if (stream.stopped()) {
      result.finish_reason = FinishReason::kStop;
      break;
    }
    const std::int64_t count = static_cast<std::int64_t>(result.tokens.size());
    if (max_tokens > 0 && count >= max_tokens) break;
    if (prompt_tokens + count >= context) break;
    sampler.Observe(std::span(&token, 1));
    engine.Append(sequence, std::span(&token, 1));
  }
  result.logits_hash = HashBytes(std::as_bytes(logits));
  deliver(stream.Finish());
  if (result.finish_reason == FinishReason::kStop && !result.tool_calls.empty()) {
    result.finish_reason = FinishReason::kToolCalls;
  }
  result.completion_tokens = static_cast<std::int64_t>(result.tokens.size());
  if (result.completion_tokens == 0) {
    result.prefill_ms = MillisecondsSince(start);
  } else {
    result.decode_ms = MillisecondsSince(first_token);
  }
  return result;
}

}  // namespace culet
