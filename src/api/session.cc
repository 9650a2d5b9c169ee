// Answers and sessions over the model's thread.
#include <chrono>
#include <utility>

#include "api/answer_job.h"
#include "api/boundary.h"
#include "api/model_impl.h"
#include "base/error.h"
#include "culet/generate.h"

namespace culet {

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kToolCalls: return "tool_calls";
    case FinishReason::kCancelled: return "cancelled";
    case FinishReason::kTimeout: return "timeout";
  }
  return "stop";
}

// ---- Answer ----

struct CULET_HIDDEN Answer::Impl {
  std::shared_ptr<Model> model;
  std::shared_ptr<AnswerJob> job;

  static std::unique_ptr<Impl> Submit(std::shared_ptr<Model> model, const Prompt& prompt,
                                      const GenerateOptions& options, int sequence) {
    auto impl = std::make_unique<Impl>();
    impl->job = std::make_shared<AnswerJob>(*model, prompt, options);
    std::optional<Request> request = AnswerJob::MakeRequest(impl->job, prompt, sequence);
    if (request) model->impl().thread->Submit(std::move(*request));
    impl->model = std::move(model);
    return impl;
  }
};

Answer::Answer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Answer::Answer(Answer&&) noexcept = default;
Answer& Answer::operator=(Answer&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}

Answer::~Answer() {
  if (!impl_) return;
  // The thread may be about to use what the caller's callbacks point to.
  impl_->job->Cancel();
  impl_->job->WaitUntilEnded();
}

std::optional<GenerateEvent> Answer::Next() try {
  return impl_->job->Next(std::nullopt);
} catch (...) {
  RethrowAsError();
}

std::optional<GenerateEvent> Answer::NextWithin(double seconds) try {
  return impl_->job->Next(AnswerJob::Clock::now() + AnswerJob::Seconds(seconds));
} catch (...) {
  RethrowAsError();
}

void Answer::ThrowIfFailed() const try { impl_->job->ThrowIfFailed(); } catch (...) {
  RethrowAsError();
}
bool Answer::ended() const { return impl_->job->ended(); }
void Answer::Cancel() { impl_->job->Cancel(); }
GenerateResult Answer::Wait() try { return impl_->job->TakeResult(); } catch (...) {
  RethrowAsError();
}
void Answer::OnReady(std::function<void()> ready) {
  impl_->job->SetReadyCallback(std::move(ready));
}

namespace {

// How often should_stop is asked while nothing comes.
constexpr double kAskEverySeconds = 0.01;

GenerateResult Follow(Answer answer, const std::function<void(const GenerateEvent&)>& on_event,
                      const std::function<bool()>& should_stop) {
  bool stopping = false;
  while (!answer.ended()) {
    if (!stopping && should_stop && should_stop()) {
      answer.Cancel();
      stopping = true;
    }
    const std::optional<GenerateEvent> event =
        should_stop && !stopping ? answer.NextWithin(kAskEverySeconds) : answer.Next();
    if (event && on_event) on_event(*event);
  }
  return answer.Wait();
}

// While media are encoded there is no answer yet that could be cancelled.
GenerateOptions StoppedBy(const std::function<bool()>& should_stop,
                          const GenerateOptions& options) {
  GenerateOptions stopped = options;
  if (!should_stop) return stopped;
  stopped.on_media = [&](std::int64_t done, std::int64_t total) {
    return (!options.on_media || options.on_media(done, total)) && !should_stop();
  };
  return stopped;
}

}  // namespace

Answer Start(std::shared_ptr<Model> model, const Prompt& prompt,
             const GenerateOptions& options) try {
  return Answer(Answer::Impl::Submit(std::move(model), prompt, options, -1));
} catch (...) {
  RethrowAsError();
}

GenerateResult Generate(std::shared_ptr<Model> model, const Prompt& prompt,
                        const GenerateOptions& options,
                        const std::function<void(const GenerateEvent&)>& on_event,
                        const std::function<bool()>& should_stop) try {
  return Follow(Start(std::move(model), prompt, StoppedBy(should_stop, options)), on_event,
                should_stop);
} catch (...) {
  RethrowAsError();
}

// ---- Session ----

struct CULET_HIDDEN Session::Impl {
  explicit Impl(std::shared_ptr<Model> owner)
      : model(std::move(owner)),
        sequence(thread().Exclusive([](Engine& engine) { return engine.AddSequence(); })) {}
  ~Impl() {
    WaitForAnswer();
    thread().Exclusive([&](Engine& engine) { engine.RemoveSequence(sequence); });
  }

  EngineThread& thread() const { return *model->impl().thread; }
  // The session's sequence may be touched once its answer has ended.
  void WaitForAnswer() const {
    if (!job) return;
    job->Cancel();
    job->WaitUntilEnded();
  }
  void RefuseWhileAnswering() const {
    if (!job || job->has_ended()) return;
    throw Error(ErrorKind::kInvalidArgument,
                "this session is answering already; wait for it, or use a session for each");
  }

  std::shared_ptr<Model> model;
  int sequence;
  std::shared_ptr<AnswerJob> job;  // the last answer
  std::vector<float> logits;
  std::vector<TokenId> tokens;  // with placeholders of media
};

Session::Session(std::shared_ptr<Model> model) try
    : impl_(std::make_unique<Impl>(std::move(model))) {
} catch (...) {
  RethrowAsError();
}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

Model& Session::model() const { return *impl_->model; }

std::span<const TokenId> Session::tokens() const {
  return impl_->thread().Exclusive([&](Engine& engine) -> std::span<const TokenId> {
    if (!engine.has_soft_tokens(impl_->sequence)) return engine.tokens(impl_->sequence);
    impl_->tokens = engine.TokensWithPlaceholders(impl_->sequence);
    return impl_->tokens;
  });
}

std::int64_t Session::recomputed_tokens() const {
  return impl_->thread().Exclusive(
      [&](Engine& engine) { return engine.recomputed_tokens(impl_->sequence); });
}

void Session::Rewind(std::int64_t position) try {
  impl_->RefuseWhileAnswering();
  impl_->thread().Exclusive([&](Engine& engine) { engine.Rewind(impl_->sequence, position); });
} catch (...) {
  RethrowAsError();
}

void Session::Pin() try {
  impl_->RefuseWhileAnswering();
  impl_->thread().Exclusive([&](Engine& engine) { engine.Pin(impl_->sequence); });
} catch (...) {
  RethrowAsError();
}

std::span<const float> Session::Append(std::span<const TokenId> tokens) try {
  impl_->RefuseWhileAnswering();
  impl_->thread().Exclusive([&](Engine& engine) {
    engine.Append(impl_->sequence, tokens);
    const std::span<const float> logits = engine.CatchUp(impl_->sequence, 0, [] { return false; });
    impl_->logits.assign(logits.begin(), logits.end());
  });
  return impl_->logits;
} catch (...) {
  RethrowAsError();
}

Answer Session::Start(const Prompt& prompt, const GenerateOptions& options) try {
  impl_->RefuseWhileAnswering();
  Answer answer(Answer::Impl::Submit(impl_->model, prompt, options, impl_->sequence));
  impl_->job = answer.impl_->job;
  return answer;
} catch (...) {
  RethrowAsError();
}

GenerateResult Session::Generate(const Prompt& prompt, const GenerateOptions& options,
                                 const std::function<void(const GenerateEvent&)>& on_event,
                                 const std::function<bool()>& should_stop) try {
  return Follow(Start(prompt, StoppedBy(should_stop, options)), on_event, should_stop);
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
