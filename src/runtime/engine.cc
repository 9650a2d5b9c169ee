#include "runtime/engine.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "model/decoder.h"
#include "runtime/placement.h"

namespace culet {
namespace {

// The decoder over the weights of a checkpoint.
class CheckpointModel final : public StepModel {
 public:
  CheckpointModel(const Checkpoint& checkpoint, std::int64_t rows, ThreadPool& pool)
      : weights_(checkpoint, pool), decoder_(checkpoint.config(), weights_, rows) {}

  View<const float, 2> Forward(Context& ctx, const Batch& batch, std::span<const KvLayer> kv,
                               const LayerTap& tap) override {
    weights_.PrefetchRows(batch.tokens);
    return decoder_.Forward(ctx, batch, kv, tap);
  }
  void Head(Context& ctx, View<const float, 2> hidden, View<float, 2> logits) override {
    decoder_.Head(ctx, hidden, logits);
  }
  std::uint64_t allocated_bytes() const override {
    return weights_.bytes() + decoder_.activation_bytes();
  }

 private:
  MappedWeights weights_;
  Decoder decoder_;
};

std::size_t LogitsBytes(const ModelConfig& config) {
  return static_cast<std::size_t>(Engine::kHeadRows * config.vocab) * sizeof(float);
}

}  // namespace

MemoryPlan PlanMemory(const ModelConfig& config, const KvPlan& kv, int threads) {
  MemoryPlan plan;
  plan.kv_bytes = kv.Bytes(config);
  plan.activation_bytes = Decoder::ActivationBytes(config, kv.chunk) +
                          Decoder::ScratchBytes(config, kv.chunk, kv.context, threads) +
                          LogitsBytes(config);
  for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
    if (tensor.shape.size() == 1) {
      plan.activation_bytes += static_cast<std::uint64_t>(tensor.shape[0]) * sizeof(float);
    }
  }
  return plan;
}

Engine::Engine(const Checkpoint& checkpoint, const KvPlan& plan, std::unique_ptr<Context> context)
    : Engine(checkpoint.config(), plan, std::move(context), std::unique_ptr<StepModel>()) {
  model_ = std::make_unique<CheckpointModel>(checkpoint, plan.chunk, context_->pool());
  context_->Scratch(
      Decoder::ScratchBytes(config_, plan.chunk, plan.context, context_->pool().threads()));
}

Engine::Engine(const ModelConfig& config, const KvPlan& plan, std::unique_ptr<Context> context,
               std::unique_ptr<StepModel> model)
    : config_(config),
      context_(std::move(context)),
      kv_(config_, plan),
      model_(std::move(model)),
      logits_memory_(LogitsBytes(config_)),
      tokens_(static_cast<std::size_t>(plan.sequences)),
      soft_(static_cast<std::size_t>(plan.sequences)),
      recomputed_(static_cast<std::size_t>(plan.sequences), 0) {
  for (auto* rows :
       {&row_tokens_, &row_positions_, &row_sequences_, &wanted_rows_, &row_sliding_ends_}) {
    rows->reserve(static_cast<std::size_t>(plan.chunk));
  }
  row_soft_.reserve(static_cast<std::size_t>(plan.chunk));
}

std::uint64_t Engine::allocated_bytes() const {
  return kv_.bytes() + context_->scratch_bytes() + logits_memory_.size() +
         model_->allocated_bytes();
}

int Engine::AddSequence() {
  const int sequence = kv_.AddSequence();
  tokens_[sequence].clear();
  soft_[sequence] = {};
  recomputed_[sequence] = 0;
  return sequence;
}

void Engine::RemoveSequence(int sequence) {
  kv_.RemoveSequence(sequence);
  soft_[sequence] = {};
}

void Engine::CheckTokens(std::span<const std::int32_t> tokens, const SoftBlocks& soft) const {
  // Ids beyond the per-layer table have no row in it; the reference fails there too.
  const bool ple_is_smaller = config_.ple_width > 0 && config_.ple_vocab < config_.vocab;
  const std::int64_t limit = ple_is_smaller ? config_.ple_vocab : config_.vocab;
  for (const std::int32_t token : tokens) {
    if (token < limit && (token >= 0 || !soft.empty())) continue;
    throw Error(ErrorKind::kInvalidArgument,
                "token id " + std::to_string(token) + " is outside the model's " +
                    (ple_is_smaller ? "vocab_size_per_layer_input" : "vocab_size") + " of " +
                    std::to_string(limit));
  }
  for (const SoftPlaces::Place& place : SoftPlaces::Find(tokens, 0, soft)) {
    if (place.block->hidden() != config_.hidden) {
      throw Error(ErrorKind::kInvalidArgument,
                  "soft tokens of " + std::to_string(place.block->hidden()) +
                      " values were made for another model; this one has a hidden_size of " +
                      std::to_string(config_.hidden));
    }
    if (IsWhole(place) && place.block->count() > kv_.plan().MostTogether()) {
      throw Error(ErrorKind::kResource,
                  "a picture has " + std::to_string(place.block->count()) +
                      " tokens, which this model must compute in one step; a step has " +
                      std::to_string(kv_.plan().chunk) + " rows for " +
                      std::to_string(kv_.plan().sequences) +
                      " sequences. Load the model with LoadOptions::image_tokens " +
                      std::to_string(place.block->count()) + " or more, or give the picture fewer");
    }
  }
}

void Engine::Append(int sequence, std::span<const std::int32_t> tokens, const SoftBlocks& soft) {
  CheckTokens(tokens, soft);
  std::vector<std::int32_t>& all = tokens_[sequence];
  const std::int64_t total = static_cast<std::int64_t>(all.size() + tokens.size());
  if (total > kv_.plan().context) {
    throw Error(ErrorKind::kResource,
                std::to_string(total) + " tokens (" + std::to_string(all.size()) + " kept and " +
                    std::to_string(tokens.size()) + " new) do not fit the context of " +
                    std::to_string(kv_.plan().context) +
                    "; a larger context makes room, or shorten the prompt");
  }
  if (!soft.empty()) {
    soft_[sequence].Append(SoftPlaces::Find(tokens, static_cast<std::int64_t>(all.size()), soft));
  }
  all.insert(all.end(), tokens.begin(), tokens.end());
}

std::vector<std::int32_t> Engine::TokensWithPlaceholders(int sequence) const {
  std::vector<std::int32_t> tokens = tokens_[sequence];
  for (std::size_t position = 0; position < tokens.size(); ++position) {
    if (tokens[position] >= 0) continue;
    const auto* place = soft_[sequence].At(static_cast<std::int64_t>(position));
    tokens[position] = place->block->placeholder();
  }
  return tokens;
}

std::int64_t Engine::BeginOfBlockAt(int sequence, std::int64_t position) const {
  const SoftPlaces::Place* place = soft_[sequence].At(position);
  return place == nullptr ? position : place->begin;
}

void Engine::Rewind(int sequence, std::int64_t position) {
  std::vector<std::int32_t>& all = tokens_[sequence];
  if (position < 0 || position > static_cast<std::int64_t>(all.size())) {
    throw Error(ErrorKind::kInvalidArgument, "cannot go back to position " +
                                                 std::to_string(position) + " of " +
                                                 std::to_string(all.size()));
  }
  const SoftPlaces::Place* place = soft_[sequence].At(position);
  if (place != nullptr && place->begin != position) {
    throw Error(ErrorKind::kInvalidArgument,
                "position " + std::to_string(position) + " is inside of a picture or sound, from " +
                    std::to_string(place->begin) + " to " + std::to_string(place->end()) +
                    "; go back to where it begins or ends");
  }
  soft_[sequence].Rewind(position);
  all.resize(static_cast<std::size_t>(position));
  const std::int64_t wanted = std::min(position, kv_.length(sequence));
  recomputed_[sequence] += wanted - kv_.Rewind(sequence, wanted);
}

std::int64_t Engine::WholeRows(int sequence, std::int64_t count, std::int64_t most) const {
  const std::int64_t begin = kv_.length(sequence);
  const SoftPlaces::Place* place = soft_[sequence].At(begin + count);
  if (place == nullptr || !IsWhole(*place) || place->begin == begin + count) {
    return std::min(count, most);
  }
  if (place->begin > begin) return place->begin - begin;
  return place->end() - begin <= most ? place->end() - begin : 0;
}

// The rows of a step, into the vectors that are kept for it.
void Engine::GatherRows(std::span<const StepPart> parts) {
  for (auto* rows :
       {&row_tokens_, &row_positions_, &row_sequences_, &wanted_rows_, &row_sliding_ends_}) {
    rows->clear();
  }
  row_soft_.clear();
  bool any_soft = false;
  for (const StepPart& part : parts) {
    const std::vector<std::int32_t>& tokens = tokens_[part.sequence];
    const std::int64_t begin = kv_.length(part.sequence);
    CULET_DCHECK(begin + part.count <= static_cast<std::int64_t>(tokens.size()));
    const SoftPlaces::Place* place = nullptr;
    for (std::int64_t position = begin; position < begin + part.count; ++position) {
      const bool last = position + 1 == begin + part.count;
      if (part.wanted == Wanted::kAll || (part.wanted == Wanted::kLast && last)) {
        wanted_rows_.push_back(static_cast<std::int32_t>(row_tokens_.size()));
      }
      const std::int32_t token = tokens[static_cast<std::size_t>(position)];
      if (token >= 0) {
        place = nullptr;
      } else if (place == nullptr || position >= place->end()) {
        place = soft_[part.sequence].At(position);
      }
      any_soft |= place != nullptr;
      row_soft_.push_back(place == nullptr ? nullptr : place->block->row(position - place->begin));
      // Spec: the token's own per-layer embedding is the pad token's (Gemma4Model.forward).
      row_tokens_.push_back(place == nullptr ? token
                                             : static_cast<std::int32_t>(config_.pad_token));
      row_positions_.push_back(static_cast<std::int32_t>(position));
      row_sliding_ends_.push_back(static_cast<std::int32_t>(
          place != nullptr && IsWhole(*place) ? place->end() : position + 1));
      row_sequences_.push_back(part.sequence);
    }
  }
  if (!any_soft) {
    row_soft_.clear();
    row_sliding_ends_.clear();
  }
}

View<const float, 2> Engine::Step(std::span<const StepPart> parts, const LayerTap& tap) {
  GatherRows(parts);
  if (static_cast<std::int64_t>(row_tokens_.size()) > kv_.plan().chunk) {
    throw Error(ErrorKind::kInternal, "a step of " + std::to_string(row_tokens_.size()) +
                                          " rows; at most " + std::to_string(kv_.plan().chunk));
  }
  std::size_t extended = 0;
  try {
    for (; extended < parts.size(); ++extended) {
      kv_.Extend(parts[extended].sequence, parts[extended].count);
    }
  } catch (...) {
    Undo(parts.first(extended));
    throw;
  }

  Batch batch;
  batch.tokens = row_tokens_;
  batch.positions = row_positions_;
  batch.sequences = row_sequences_;
  batch.wanted = wanted_rows_;
  batch.soft = row_soft_;
  batch.sliding_ends = row_sliding_ends_;
  for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull}) {
    batch.page_tables[static_cast<int>(kind)] = kv_.page_table(kind);
  }
  batch.table_stride = kv_.table_stride();
  View<const float, 2> hidden;
  try {
    hidden = model_->Forward(*context_, batch, kv_.layers(), tap);
  } catch (...) {
    Undo(parts);
    throw;
  }
  for (const StepPart& part : parts) {
    if (part.publish) kv_.Publish(part.sequence, tokens_[part.sequence]);
  }
  return hidden;
}

// What was not computed must not count as stored: the next step starts where this one did.
void Engine::Undo(std::span<const StepPart> parts) {
  for (const StepPart& part : parts) {
    kv_.Rewind(part.sequence, kv_.length(part.sequence) - part.count);
  }
}

void Engine::GiveBack(int sequence) {
  recomputed_[sequence] += kv_.length(sequence);
  kv_.Rewind(sequence, 0);
}

std::int64_t Engine::AdoptPrefix(int sequence) { return kv_.Adopt(sequence, tokens_[sequence]); }

bool Engine::Fits(std::span<const StepPart> parts) const {
  growth_.clear();
  for (const StepPart& part : parts) growth_.push_back({part.sequence, part.count});
  return kv_.Fits(growth_);
}

View<const float, 2> Engine::Logits(View<const float, 2> hidden) {
  CULET_DCHECK(hidden.extent(0) <= kHeadRows);
  const View<float, 2> logits(reinterpret_cast<float*>(logits_memory_.data()),
                              {hidden.extent(0), config_.vocab});
  model_->Head(*context_, hidden, logits);
  return logits;
}

std::span<const float> Engine::CatchUpStep(int sequence, std::int64_t chunk, const LayerTap& tap) {
  if (chunk <= 0 || chunk > kv_.plan().chunk) chunk = kv_.plan().chunk;
  std::int64_t left = static_cast<std::int64_t>(tokens_[sequence].size()) - computed(sequence);
  if (left == 0) {
    // Everything is computed, but nobody kept the last row's logits: compute that row again.
    const std::int64_t last = computed(sequence) - 1;
    if (last < 0) throw Error(ErrorKind::kInvalidArgument, "an empty sequence has no next token");
    kv_.Rewind(sequence, last);
    left = static_cast<std::int64_t>(tokens_[sequence].size()) - computed(sequence);
  }
  const std::int64_t rows = WholeRows(sequence, std::min(left, chunk), kv_.plan().chunk);
  const bool last_step = left == rows;
  const StepPart part = {sequence, rows, last_step ? Wanted::kLast : Wanted::kNone};
  const View<const float, 2> hidden = Step(std::span(&part, 1), tap);
  if (!last_step) return {};
  const View<const float, 2> logits = Logits(hidden);
  return {logits.data(), static_cast<std::size_t>(config_.vocab)};
}

}  // namespace culet
