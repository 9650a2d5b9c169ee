// Answers: sessions that keep their KV, sampling, streaming.
#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culet/export.h"
#include "culet/model.h"
#include "culet/text.h"

namespace culet {

// What is unset comes from the model's generation_config.json. Values that cannot be are refused by
// the function that gets them, with Error(kInvalidArgument).
struct GenerateOptions {
  std::optional<std::int64_t> max_tokens;    // 0: until the context is full; unset: max_new_tokens
  std::optional<double> temperature;         // 0: greedy
  std::optional<std::int64_t> top_k;         // 0: off
  std::optional<double> top_p;               // 1: off
  std::optional<double> min_p;               // 0: off
  std::optional<double> repetition_penalty;  // 1: off
  std::optional<std::uint64_t> seed;         // unset: from the system's entropy
  std::vector<std::string> stop;             // answer ends before any of these texts (content only)
  int logprobs = 0;                          // alternatives a token, 0: none
  bool ignore_stop_tokens = false;           // for measurements
  std::optional<double> timeout_s;           // ends with kTimeout when it took so many seconds
  // Told of the prompt's tokens that must be computed how many are, several times a second; on the
  // thread that waits in Next, NextWithin or Generate, and by nobody else.
  std::function<void(std::int64_t done, std::int64_t total)> on_prefill;
  // Told of the work on the prompt's media that is left to do how much is done, several times a
  // second, on the thread that starts the answer; false ends the answer with kCancelled. What is
  // encoded by then is kept.
  std::function<bool(std::int64_t done, std::int64_t total)> on_media;
};

enum class FinishReason { kStop, kLength, kToolCalls, kCancelled, kTimeout };
// "stop", "length", "tool_calls", "cancelled", "timeout". Lives for ever. Any thread.
CULET_EXPORT std::string_view FinishReasonName(FinishReason reason);

struct TokenLogprob {
  TokenId id = 0;
  std::string text;   // of the token alone, as tokenizer.json has it
  float logprob = 0;  // natural logarithm
};
struct StepLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // falling; of the distribution before sampling filters
};

struct GenerateEvent {
  enum class Kind { kThinking, kContent, kToolCall };
  Kind kind = Kind::kContent;
  std::string text;  // thinking, content: the next piece
  CalledTool call;   // tool call: whole
};

struct GenerateResult {
  std::string text;
  std::string thinking;
  std::vector<CalledTool> tool_calls;
  FinishReason finish_reason = FinishReason::kStop;
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;      // of them, taken from KV that was there
  std::int64_t computed_tokens = 0;    // of them, computed by this call
  std::int64_t completion_tokens = 0;  // stop token included
  double prefill_ms = 0;               // until the first token is chosen
  double decode_ms = 0;                // the rest
  std::uint64_t seed = 0;
  std::uint64_t logits_hash = 0;  // FNV-1a over the bits of the last logits: for comparing builds
  std::vector<TokenId> tokens;    // as generated, stop token included
  std::vector<StepLogprobs> logprobs;
};

// One answer in the making: the model's own thread computes it, together with all others that are
// wanted at the time. It keeps its model, and a copy of prompt and options.
// Threads: one caller at a time; Cancel may be called from any.
class CULET_EXPORT Answer {
 public:
  Answer(Answer&&) noexcept;
  Answer& operator=(Answer&&) noexcept;
  ~Answer();  // cancels what has not ended, and waits until the model's thread has let go of it

  // Waits for the next event; empty at the end, also of an answer that failed: Wait says so.
  std::optional<GenerateEvent> Next();
  // The same, waiting so long at most: empty at the end and where nothing came (see ended). 0 and
  // less: does not wait.
  std::optional<GenerateEvent> NextWithin(double seconds);
  // for (const GenerateEvent& event : answer) …: Next until the end, where it throws what the
  // answer failed with.
  class Iterator;
  Iterator begin();
  std::default_sentinel_t end() const { return {}; }
  // Every event was taken and no more come.
  bool ended() const;
  // Ends the answer before the model's next step, with kCancelled. Does not wait; one that has
  // ended stays as it is.
  void Cancel();
  // Throws what an answer that has ended failed with; else does nothing.
  void ThrowIfFailed() const;
  // Waits for the end and gives the whole, whatever events were taken. Throws what the answer
  // failed with: Error(kInvalidArgument) for token ids outside the vocabulary, Error(kResource)
  // where the queue is full or memory ran out. Once.
  GenerateResult Wait();
  // `ready` is called on the model's thread whenever there is an event to take, and at the end. It
  // must be short and must not call back into culet or throw; it is for waking an event loop. Where
  // there is something to take already it is called at once, on this thread. An empty one ends it.
  void OnReady(std::function<void()> ready);

 private:
  friend class Session;
  friend CULET_EXPORT Answer Start(std::shared_ptr<Model>, const Prompt&, const GenerateOptions&);
  struct Impl;
  explicit Answer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Over the events that are still to come. Threads: as the answer.
class Answer::Iterator {
 public:
  // NOLINTBEGIN(readability-identifier-naming): the standard library's names
  using iterator_concept = std::input_iterator_tag;
  using value_type = GenerateEvent;
  using difference_type = std::ptrdiff_t;
  // NOLINTEND(readability-identifier-naming)

  explicit Iterator(Answer* answer) : answer_(answer) { ++*this; }
  const GenerateEvent& operator*() const { return *event_; }
  const GenerateEvent* operator->() const { return &*event_; }
  Iterator& operator++() {
    event_ = answer_->Next();
    if (!event_) answer_->ThrowIfFailed();
    return *this;
  }
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const { return !event_; }

 private:
  Answer* answer_;
  std::optional<GenerateEvent> event_;
};
inline Answer::Iterator Answer::begin() { return Iterator(this); }

// Answers a prompt, in company with all other answers of this model; the beginning that earlier
// prompts had in common with it is not computed again. Does not wait for the model, but for the
// prompt's media: those that were not seen lately go through their encoder first. Throws
// Error: kInvalidArgument (an empty prompt, options out of range), kResource with the numbers where
// the prompt does not fit the context, kNotFound where the model has no tokenizer, kUnsupported
// where it lacks the encoder of a medium. Any thread.
//
// Deterministic, always, without an option for it: at one kernel level the same prompt, options and
// seed give the same tokens, log-probabilities and logits bit for bit, whoever else is answered or
// embedded, in whatever chunks the prompt is read, on however many threads, and whether a beginning
// was computed or taken over (docs/precision.md). Only timeout_s and Cancel depend on the clock.
CULET_EXPORT Answer Start(std::shared_ptr<Model> model, const Prompt& prompt,
                          const GenerateOptions& options);
// The same, and waits for it. `on_event` may be empty and is called on the caller's thread.
// `should_stop` is asked there after every event and a hundred times a second; true ends the answer
// with kCancelled. Throws what Start and Answer::Wait throw. Any thread.
CULET_EXPORT GenerateResult Generate(std::shared_ptr<Model> model, const Prompt& prompt,
                                     const GenerateOptions& options,
                                     const std::function<void(const GenerateEvent&)>& on_event = {},
                                     const std::function<bool()>& should_stop = {});

// One sequence that keeps its KV from call to call; the Session keeps its model. Threads: one
// caller at a time; different sessions may be used at once.
//
// Append, Rewind, Pin, tokens and recomputed_tokens run on the caller's thread, between two steps
// of the model's own: they wait for the step that is being computed, and answers wait for them.
class CULET_EXPORT Session {
 public:
  // Takes one of the model's sequences (LoadOptions::sequences); throws Error(kResource) where all
  // are taken.
  explicit Session(std::shared_ptr<Model> model);
  ~Session();  // cancels its answer, gives sequence and KV back
  Session(Session&&) noexcept;

  // Computes what of `prompt` the session has not seen (the longest common beginning is kept), then
  // samples until a stop. Pins the end of the prompt (see Pin). While the answer is in the making
  // the session can do nothing else. Errors and callbacks as for the functions above; after
  // kCancelled the KV stays valid.
  Answer Start(const Prompt& prompt, const GenerateOptions& options);
  GenerateResult Generate(const Prompt& prompt, const GenerateOptions& options,
                          const std::function<void(const GenerateEvent&)>& on_event = {},
                          const std::function<bool()>& should_stop = {});

  // Step by step. Append computes the tokens behind what is there, a prompt's or one, and returns
  // the logits of the last one [vocab], which are the session's and valid until its next call. None
  // computes the last one again. Throws Error: kInvalidArgument (ids outside the vocabulary, an
  // answer is in the making, nothing to compute), kResource with the numbers where they do not fit
  // the context; nothing has changed then.
  std::span<const float> Append(std::span<const TokenId> tokens);
  // Forgets everything from `position` (in tokens, 0 to tokens().size()) on. Exact; positions whose
  // pages were given back behind the window are computed again at the next Append
  // (recomputed_tokens counts them). Throws Error(kInvalidArgument) as Append, and for a position
  // that is not there.
  void Rewind(std::int64_t position);
  void Reset() { Rewind(0); }
  // Keeps the pages that a later Rewind to the present position needs, within the memory of
  // LoadOptions::rewind_tokens. Throws as Append.
  void Pin();

  // What the KV stands for; the session's, valid until its next call. Not while it answers.
  std::span<const TokenId> tokens() const;
  // Positions computed again since the session was made.
  std::int64_t recomputed_tokens() const;
  Model& model() const;  // lives as long as the session

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culet
