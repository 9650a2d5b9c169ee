// Embeddings over the model's thread.
#include "culet/embed.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "api/boundary.h"
#include "api/embed_job.h"
#include "api/model_impl.h"
#include "base/error.h"

namespace culet {
namespace {

using Progress = std::function<void(std::int64_t, std::int64_t)>;
using ShouldStop = std::function<bool()>;

// How often should_stop is asked while nothing happens.
constexpr double kAskEverySeconds = 0.01;
constexpr double kTellEverySeconds = 0.1;  // on_progress

std::int64_t ResolveDimensions(const ModelInfo& info, const EmbedOptions& options) {
  if (options.dimensions == 0) return info.hidden;
  if (options.dimensions >= 1 && options.dimensions <= info.hidden) return options.dimensions;
  throw Error(ErrorKind::kInvalidArgument,
              "EmbedOptions::dimensions is " + std::to_string(options.dimensions) +
                  "; the hidden states of this model have " + std::to_string(info.hidden) +
                  ": it must be 1 to that, or 0 for all");
}

void CheckText(const Model& model, const std::vector<TokenId>& tokens, std::int64_t number) {
  const std::string name = "text " + std::to_string(number);
  if (tokens.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                name +
                    " has no tokens, so there is nothing to embed; leave it out, or put <bos> "
                    "in front of every text (EmbedOptions::bos)");
  }
  const ModelInfo& info = model.info();
  if (static_cast<std::int64_t>(tokens.size()) > info.context) {
    throw Error(ErrorKind::kResource,
                name + " has " + std::to_string(tokens.size()) + " tokens; the context is " +
                    std::to_string(info.context) +
                    ". Use a larger LoadOptions::context (the model was "
                    "made for up to " +
                    std::to_string(info.max_positions) + ") or shorter texts");
  }
  try {
    model.impl().engine->CheckTokens(tokens);  // of the engine only what never changes
  } catch (const Error& error) {
    throw Error(error.kind(), name + ": " + error.what());
  }
}

// The texts of one call in the hands of the model's thread. Going away cancels what has not ended
// and waits for it.
class Submission {
 public:
  Submission(const Model& model, std::span<const std::vector<TokenId>> texts,
             std::shared_ptr<EmbedJob> job, bool progress)
      : thread_(*model.impl().thread), texts_(texts), job_(std::move(job)), progress_(progress) {
    // Enough that the next texts are there before this thread was woken, and no more than half of
    // the queue, as answers wait in it too.
    const auto sequences = static_cast<std::size_t>(model.info().sequences);
    const auto queue = static_cast<std::size_t>(model.impl().queue);
    most_in_flight_ = std::clamp<std::size_t>(queue / 2, 1, 8 * sequences);
  }
  ~Submission() {
    job_->Cancel();
    while (ended_ < submitted_) ended_ = job_->Wait(1).ended;
  }
  Submission(const Submission&) = delete;
  Submission& operator=(const Submission&) = delete;

  // False: all texts have ended, or none will be computed any more.
  bool Step(double seconds, std::int64_t* done_tokens) {
    while (submitted_ < texts_.size() && submitted_ - ended_ < most_in_flight_) {
      thread_.Submit(EmbedJob::MakeRequest(job_, submitted_, texts_[submitted_], progress_));
      ++submitted_;
    }
    if (ended_ == texts_.size()) return false;
    const EmbedJob::State state = job_->Wait(seconds);
    ended_ = state.ended;
    *done_tokens = state.done_tokens;
    return !state.failed;
  }

 private:
  EngineThread& thread_;
  std::span<const std::vector<TokenId>> texts_;
  std::shared_ptr<EmbedJob> job_;
  bool progress_;
  std::size_t most_in_flight_ = 1;
  std::size_t submitted_ = 0;
  std::size_t ended_ = 0;  // of them
};

std::optional<Embeddings> Run(const Model& model, std::span<const std::vector<TokenId>> texts,
                              const EmbedOptions& options, const Progress& on_progress,
                              const ShouldStop& should_stop) {
  const std::int64_t dimensions = ResolveDimensions(model.info(), options);
  for (std::size_t index = 0; index < texts.size(); ++index) {
    CheckText(model, texts[index], options.first_text + static_cast<std::int64_t>(index));
  }
  const auto job = std::make_shared<EmbedJob>(texts, dimensions, options);
  const std::int64_t total = std::accumulate(texts.begin(), texts.end(), std::int64_t{0},
                                             [](std::int64_t sum, const auto& text) {
                                               return sum + static_cast<std::int64_t>(text.size());
                                             });
  {
    Submission submission(model, texts, job, static_cast<bool>(on_progress));
    const double seconds = should_stop ? kAskEverySeconds : kTellEverySeconds;
    std::int64_t done = 0, told = 0;
    while (submission.Step(seconds, &done)) {
      if (should_stop && should_stop()) return std::nullopt;
      if (on_progress && done > told) on_progress(told = done, total);
    }
  }
  return job->Take();
}

}  // namespace

std::optional<Embeddings> EmbedTokens(const std::shared_ptr<Model>& model,
                                      std::span<const std::vector<TokenId>> texts,
                                      const EmbedOptions& options, const Progress& on_progress,
                                      const ShouldStop& should_stop) try {
  return Run(*model, texts, options, on_progress, should_stop);
} catch (...) {
  RethrowAsError();
}

std::optional<Embeddings> Embed(const std::shared_ptr<Model>& model,
                                std::span<const std::string> texts, const EmbedOptions& options,
                                const Progress& on_progress, const ShouldStop& should_stop) try {
  std::vector<std::vector<TokenId>> tokens;
  tokens.reserve(texts.size());
  for (const std::string& text : texts) {
    tokens.push_back(model->text().PlainTokens(text, options.bos));
  }
  return Run(*model, tokens, options, on_progress, should_stop);
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
