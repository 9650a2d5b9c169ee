// The one place that computes: sequences with their tokens and KV, and steps over rows of any of
// them.
//
// There is no prefill and no decode: each sequence has tokens, a beginning of which is computed,
// and rows catch up with the tokens, at most `chunk` rows a step.
//
// Threads: one caller at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/step_model.h"
#include "ops/context.h"
#include "runtime/kv_cache.h"
#include "runtime/soft_tokens.h"

namespace culet {

// Memory that an engine allocates beside the mapped weights.
struct MemoryPlan {
  std::uint64_t kv_bytes = 0;
  std::uint64_t activation_bytes = 0;  // buffers, scratch of the ops, logits, widened vectors
  std::uint64_t total() const { return kv_bytes + activation_bytes; }
};
MemoryPlan PlanMemory(const ModelConfig& config, const KvPlan& kv, int threads);

// Which rows of a part give a result.
enum class Wanted { kNone, kLast, kAll };

// `count` uncomputed tokens of one sequence.
struct StepPart {
  int sequence = 0;
  std::int64_t count = 0;
  Wanted wanted = Wanted::kLast;
  bool publish = true;  // complete pages are offered to other sequences
};

class Engine {
 public:
  // Keeps a reference to the checkpoint. plan.chunk is the most rows of a step.
  Engine(const Checkpoint& checkpoint, const KvPlan& plan, std::unique_ptr<Context> context);
  // With a model of the caller's (tests of what schedules). Keeps a reference to the config.
  Engine(const ModelConfig& config, const KvPlan& plan, std::unique_ptr<Context> context,
         std::unique_ptr<StepModel> model);

  bool HasFreeSequence() const { return kv_.FreeSequences() > 0; }
  std::int64_t FreeSequences() const { return kv_.FreeSequences(); }
  int AddSequence();
  void RemoveSequence(int sequence);

  // Tokens of the sequence, computed or not, and how many are.
  std::span<const std::int32_t> tokens(int sequence) const { return tokens_[sequence]; }
  bool has_soft_tokens(int sequence) const { return !soft_[sequence].empty(); }
  // tokens() with the placeholders in place of soft tokens.
  std::vector<std::int32_t> TokensWithPlaceholders(int sequence) const;
  std::int64_t computed(int sequence) const { return kv_.length(sequence); }

  // Throws Error: kInvalidArgument for an id outside the vocabulary that is no soft token of
  // `soft`, kResource for a picture that does not fit a step.
  void CheckTokens(std::span<const std::int32_t> tokens, const SoftBlocks& soft = {}) const;
  // Adds tokens to be computed; `soft`: the blocks of the soft tokens among them, which stand
  // whole. Throws Error: kInvalidArgument, kResource as CheckTokens, kResource where they do not
  // fit the context; then nothing has changed.
  void Append(int sequence, std::span<const std::int32_t> tokens, const SoftBlocks& soft = {});
  // Forgets the tokens from `position` on. What must be computed again for it catches up at the
  // next step; recomputed_tokens counts it. Throws Error(kInvalidArgument) where nothing is, and
  // inside of a picture or sound.
  void Rewind(int sequence, std::int64_t position);
  // `position`, or where the picture or sound around it begins.
  std::int64_t BeginOfBlockAt(int sequence, std::int64_t position) const;
  // How many rows of the sequence a step may compute that has room for `most` and wants to compute
  // `count` of them. Rows of a picture that see each other are never parted: `count` falls to where
  // the picture begins, or rises to its end where it begins now; 0: that is more than `most`.
  std::int64_t WholeRows(int sequence, std::int64_t count, std::int64_t most) const;
  void Pin(int sequence) { kv_.Pin(sequence); }
  // Gives all pages of the sequence back and keeps its tokens: they are computed again when it goes
  // on (recomputed_tokens counts them).
  void GiveBack(int sequence);
  // GiveBack of a sequence that has pages and is not busy(sequence); false: there is none.
  template <typename Busy>
  bool GiveBackIdle(const Busy& busy) {
    for (int sequence = 0; sequence < static_cast<int>(tokens_.size()); ++sequence) {
      if (kv_.length(sequence) == 0 || busy(sequence)) continue;
      GiveBack(sequence);
      return true;
    }
    return false;
  }
  // Takes pages that other sequences computed of the same beginning, where that is more than what
  // this one has; all but the last token at most. Returns computed().
  std::int64_t AdoptPrefix(int sequence);
  // A later sequence may go on from here: what it needs of this prefix is kept longest.
  void MarkPrefixEnd(int sequence) { kv_.MarkEnd(sequence); }
  // Whether the KV pool has room for a step of these parts.
  bool Fits(std::span<const StepPart> parts) const;
  std::int64_t recomputed_tokens(int sequence) const { return recomputed_[sequence]; }

  // One forward pass. Returns the hidden states (after the final norm) of the wanted rows, part
  // after part [wanted, hidden], valid until the next step. A sequence stands in at most one part.
  View<const float, 2> Step(std::span<const StepPart> parts, const LayerTap& tap = {});

  // Logits of at most kHeadRows hidden states [rows, vocab], valid until the next call.
  static constexpr std::int64_t kHeadRows = 16;
  View<const float, 2> Logits(View<const float, 2> hidden);

  // Computes what is left of the sequence, `chunk` rows a step (0: the plan's), and returns the
  // logits of its last token [vocab]. `should_stop` is asked before each step; true returns an
  // empty span with everything still valid. `tap` sees every layer of every step.
  template <typename ShouldStop>
  std::span<const float> CatchUp(int sequence, std::int64_t chunk, const ShouldStop& should_stop,
                                 const LayerTap& tap = {}) {
    for (;;) {
      if (should_stop()) return {};
      const std::span<const float> logits = CatchUpStep(sequence, chunk, tap);
      if (!logits.empty()) return logits;
    }
  }

  const ModelConfig& config() const { return config_; }
  const KvCache& kv() const { return kv_; }
  Context& context() { return *context_; }
  std::uint64_t allocated_bytes() const;

 private:
  // One step of CatchUp; the logits where it was the last one, else an empty span.
  std::span<const float> CatchUpStep(int sequence, std::int64_t chunk, const LayerTap& tap);
  void Undo(std::span<const StepPart> parts);
  void GatherRows(std::span<const StepPart> parts);
  // Whether the place's rows see each other: a picture's, in models that read it both ways.
  bool IsWhole(const SoftPlaces::Place& place) const {
    return config_.bidirectional_vision && place.block->visual();
  }

  const ModelConfig& config_;
  std::unique_ptr<Context> context_;
  KvCache kv_;
  std::unique_ptr<StepModel> model_;
  Buffer logits_memory_;
  std::vector<std::vector<std::int32_t>> tokens_;  // by sequence
  std::vector<SoftPlaces> soft_;                   // by sequence
  std::vector<std::int64_t> recomputed_;           // by sequence
  // Rows of the step, in memory that is kept.
  std::vector<std::int32_t> row_tokens_, row_positions_, row_sequences_, wanted_rows_;
  std::vector<const float*> row_soft_;          // empty where no row is soft
  std::vector<std::int32_t> row_sliding_ends_;  // likewise
  mutable std::vector<Growth> growth_;
};

}  // namespace culet
