// Texts on their way to embeddings, between two threads: the engine's pools rows, the caller's
// waits.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "culet/embed.h"
#include "runtime/scheduler.h"

namespace culet {

// Threads: what requests call is the engine thread's; the rest is the caller's.
class EmbedJob {
 public:
  EmbedJob(std::span<const std::vector<TokenId>> texts, std::int64_t dimensions,
           const EmbedOptions& options);

  // The request that embeds text `index` and reports to `job`.
  // `progress`: done_tokens is to be counted.
  static Request MakeRequest(const std::shared_ptr<EmbedJob>& job, std::size_t index,
                             const std::vector<TokenId>& tokens, bool progress);

  struct State {
    std::size_t ended = 0;         // texts
    std::int64_t done_tokens = 0;  // of all texts
    bool failed = false;
  };
  // Waits until a text has ended since the last call, or so many seconds.
  State Wait(double seconds);
  // Ends what has not ended before the model's next step.
  void Cancel() { cancelled_ = true; }
  // After the end of every text. Throws what one failed with.
  Embeddings Take();

 private:
  void AddRows(std::size_t index, View<const float, 2> hidden);
  // Of a text that is over: its pooled row.
  void Finish(std::size_t index);
  void OnEnd(std::size_t index, const RequestReport& report);

  // A text that is being read.
  struct Text {
    std::vector<double> sum;  // [hidden]; in double, so that a long text loses nothing
    std::int64_t rows = 0;
  };

  const EmbedOptions options_;
  std::atomic<bool> cancelled_ = false;
  std::vector<Text> texts_;  // the engine thread's until the end
  Embeddings result_;        // the same

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool has_news_ = false;  // a text has ended
  State state_;
  std::vector<std::int64_t> done_tokens_;  // by text
  std::exception_ptr error_;               // the first
};

}  // namespace culet
