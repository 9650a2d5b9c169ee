#include "api/embed_job.h"

#include <chrono>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"

namespace culet {

EmbedJob::EmbedJob(std::span<const std::vector<TokenId>> texts, std::int64_t dimensions,
                   const EmbedOptions& options)
    : options_(options), texts_(texts.size()), done_tokens_(texts.size(), 0) {
  result_.dimensions = dimensions;
  result_.values.resize(texts.size() * static_cast<std::size_t>(dimensions));
  for (const std::vector<TokenId>& text : texts) {
    result_.tokens.push_back(static_cast<std::int64_t>(text.size()));
  }
}

Request EmbedJob::MakeRequest(const std::shared_ptr<EmbedJob>& job, std::size_t index,
                              const std::vector<TokenId>& tokens, bool progress) {
  Request request;
  request.prompt = tokens;
  request.hidden = job->options_.pooling == Pooling::kMean ? Wanted::kAll : Wanted::kLast;
  request.on_hidden = [job, index](std::int64_t, View<const float, 2> hidden) {
    job->AddRows(index, hidden);
  };
  if (progress) {
    // Comes after every layer: the caller is not woken for it.
    request.on_progress = [job, index](std::int64_t done, std::int64_t) {
      const std::lock_guard lock(job->mutex_);
      // Rows that must be computed again are not progress.
      if (done <= job->done_tokens_[index]) return;
      job->state_.done_tokens += done - std::exchange(job->done_tokens_[index], done);
    };
  }
  request.cancelled = std::shared_ptr<const std::atomic<bool>>(job, &job->cancelled_);
  request.on_end = [job, index](const RequestReport& report) { job->OnEnd(index, report); };
  return request;
}

void EmbedJob::AddRows(std::size_t index, View<const float, 2> hidden) {
  Text& text = texts_[index];
  if (text.rows == 0) text.sum.assign(static_cast<std::size_t>(hidden.extent(1)), 0.0);
  // Row after row: the same sum in whatever chunks they come.
  for (std::int64_t row = 0; row < hidden.extent(0); ++row) {
    const float* values = hidden.row(row);
    for (std::size_t i = 0; i < text.sum.size(); ++i) text.sum[i] += values[i];
  }
  text.rows += hidden.extent(0);
}

void EmbedJob::Finish(std::size_t index) {
  Text text = std::exchange(texts_[index], {});
  const auto dimensions = static_cast<std::size_t>(result_.dimensions);
  double scale = 1.0 / static_cast<double>(text.rows);
  if (options_.normalize) {
    double squares = 0;
    for (std::size_t i = 0; i < dimensions; ++i) squares += text.sum[i] * text.sum[i];
    scale = squares == 0 ? 0 : 1.0 / std::sqrt(squares);
  }
  float* row = result_.values.data() + index * dimensions;
  for (std::size_t i = 0; i < dimensions; ++i) {
    row[i] = static_cast<float>(text.sum[i] * scale);
    if (std::isfinite(row[i])) continue;
    throw Error(ErrorKind::kInternal,
                "text " + std::to_string(options_.first_text + static_cast<std::int64_t>(index)) +
                    ": a hidden state is not a finite number: the weights hold NaN or infinity, or "
                    "overflow in this number format");
  }
}

void EmbedJob::OnEnd(std::size_t index, const RequestReport& report) {
  std::exception_ptr error = report.error;
  if (report.end == RequestEnd::kEnough) {
    try {
      Finish(index);
    } catch (...) {
      error = std::current_exception();
    }
  }
  {
    const std::lock_guard lock(mutex_);
    if (error && !error_) error_ = error;
    state_.failed = error_ != nullptr;
    ++state_.ended;
    has_news_ = true;
  }
  changed_.notify_all();
}

EmbedJob::State EmbedJob::Wait(double seconds) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return has_news_; });
  has_news_ = false;
  return state_;
}

Embeddings EmbedJob::Take() {
  const std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(error_);
  return std::move(result_);
}

}  // namespace culet
