// Continuous batching: any number of requests over one engine, one step at a time.
//
// A step computes one row of every sequence that is decoding and fills the rest of its rows with
// prompts that are still being read, in even shares; beside decoding sequences those rows are
// limited, so that a long prompt does not hold up the others' tokens. Where the KV pool runs dry
// the youngest request gives its pages back and is computed again later: an answer is never wrong
// or lost for want of memory.
//
// A request may also ask for hidden states of its text instead of an answer. Its rows stand in the
// same steps, as those of a prompt do.
//
// Rows are equal bit for bit whatever the batch, so a request's tokens do not depend on its
// company.
//
// Threads: one caller at a time (engine_thread.h gives it a thread of its own).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/engine.h"
#include "runtime/sampler.h"

namespace culet {

enum class RequestEnd { kEnough, kContextFull, kCancelled, kDeadline, kFailed };

// What became of a request.
struct RequestReport {
  RequestEnd end = RequestEnd::kEnough;
  std::exception_ptr error;          // of kFailed
  std::int64_t cached_tokens = 0;    // of the prompt, taken from the sequence or from a prefix
  std::int64_t computed_tokens = 0;  // rows computed for it, again after it gave pages back too
  std::int64_t preemptions = 0;
};

struct Request {
  std::vector<std::int32_t> prompt;
  SoftBlocks soft;  // of the soft tokens in the prompt
  SamplingParameters sampling;
  // A sequence of the caller's that stands for a beginning of the prompt or is empty, and is kept
  // at the end; −1: one of the scheduler's, from admission to the end.
  int sequence = -1;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  // Set by any thread: the request ends before the next step. A flag, for it must work where
  // memory has run out. Not set: the request cannot be cancelled alone.
  std::shared_ptr<const std::atomic<bool>> cancelled;
  // Every token in order, with the logits that it was drawn from [vocab]. False: enough.
  std::function<bool(std::int32_t token, std::span<const float> logits)> on_token;
  // Not kNone: nothing is generated. on_hidden gets the hidden states (after the final norm) of all
  // of the prompt's rows or of the last, each once and in order [rows, hidden], and the request
  // ends with the last one. It neither takes nor leaves shared prefixes: of rows that were computed
  // before, no hidden states are kept.
  Wanted hidden = Wanted::kNone;
  std::function<void(std::int64_t position, View<const float, 2> hidden)> on_hidden;
  // How many of the prompt's rows that must be computed are, several times a step.
  std::function<void(std::int64_t done, std::int64_t total)> on_progress;
  // Exactly once, last; not called from Submit.
  std::function<void(const RequestReport&)> on_end;
};

struct SchedulerOptions {
  // Prompt rows of a step in which others decode.
  std::int64_t prompt_rows_beside_decoding = 64;
  // Requests that wait for a sequence; one more is refused.
  std::int64_t queue = 1024;
};

struct SchedulerStatistics {
  std::int64_t steps = 0, rows = 0, preemptions = 0;
  std::int64_t finished = 0, texts = 0;  // ended: answers, and requests for hidden states
  std::int64_t prompt_tokens = 0, shared_tokens = 0;  // of them, taken from prefixes
};

class Scheduler {
 public:
  // Keeps a reference to the engine.
  Scheduler(Engine& engine, const SchedulerOptions& options);
  // Ends every request as cancelled.
  ~Scheduler();

  // Throws Error: kInvalidArgument (parameters, token ids, a sequence that is answering already),
  // kResource (the queue is full, or the prompt does not fit the context). Then `request` is as it
  // was, and on_end is not called.
  void Submit(Request&& request);
  void CancelAll();
  void FailAll(const std::exception_ptr& error);

  // One step. False: there is nothing to do.
  bool Step();
  bool idle() const { return waiting_.empty() && running_.empty(); }

  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t running() const { return static_cast<std::int64_t>(running_.size()); }
  const SchedulerStatistics& statistics() const { return statistics_; }

 private:
  struct Active;
  using List = std::deque<std::unique_ptr<Active>>;

  bool DropEnded(List& list);
  bool HasRoomForText(const Active& next) const;
  void Admit();
  void Start(Active& active);
  void PlanRows();
  void AddPart(Active& active, std::int64_t rows);
  // Takes pages back until the parts fit; false: parts were dropped, plan again.
  bool MakeRoom();
  void Compute();
  void ReportProgress(std::int64_t layers_done, std::int64_t layers) const;
  void DeliverTokens(std::span<Active* const> asked, View<const float, 2> hidden);
  // The request has its next token; ends it where that was the last.
  void Deliver(Active& active, std::span<const float> logits);
  // Rows of a request for hidden states; ends it where these were the last.
  void DeliverHidden(Active& active, View<const float, 2> rows);
  void End(Active& active, RequestEnd end, std::exception_ptr error = nullptr);
  std::int64_t RowsLeft(const Active& active) const;
  void PlanPrompts(std::vector<Active*>& reading, std::int64_t budget, std::int64_t room);

  Engine& engine_;
  SchedulerOptions options_;
  List waiting_;  // by arrival
  List running_;  // by arrival; has a sequence
  std::vector<StepPart> parts_;
  std::vector<Active*> owners_;  // of parts_
  SchedulerStatistics statistics_;
};

}  // namespace culet
