// The text decoder of Gemma 4: the family's maths, written once.
// Source: transformers Gemma4TextModel, Gemma4UnifiedTextModel (models/gemma4,
// models/gemma4_unified).
#pragma once

#include <span>

#include "checkpoint/config.h"
#include "model/batch.h"
#include "model/buffers.h"
#include "model/step_model.h"
#include "model/weights.h"
#include "ops/context.h"

namespace culet {

// Threads: one Forward at a time.
class Decoder {
 public:
  // `rows`: of the largest batch. Keeps references to config and weights.
  Decoder(const ModelConfig& config, WeightSource& weights, std::int64_t rows);

  // Computes every row of `batch`: stores their K and V, and returns the hidden states after the
  // final norm of the rows that asked, in their order [wanted, hidden] (valid until the next call).
  // Rows that did not ask stop at the last layer that stores KV: what follows cannot reach any
  // other row. `kv`: by layer; a layer that shares another's has that layer's pages.
  View<const float, 2> Forward(Context& ctx, const Batch& batch, std::span<const KvLayer> kv,
                               const LayerTap& tap = {});

  // logits = head · hidden, then the soft cap.      hidden [rows, hidden], logits [rows, vocab]
  void Head(Context& ctx, View<const float, 2> hidden, View<float, 2> logits);

  std::size_t activation_bytes() const { return memory_.size(); }
  // What a Decoder of this config would allocate, and the scratch that its ops need of the Context.
  static std::size_t ActivationBytes(const ModelConfig& config, std::int64_t rows);
  static std::size_t ScratchBytes(const ModelConfig& config, std::int64_t rows,
                                  std::int64_t positions, int threads);

 private:
  // `soft`: as Batch::soft.
  void EmbedTokens(Context& ctx, std::span<const std::int32_t> tokens,
                   std::span<const float* const> soft, View<float, 2> out);
  // Per-layer embeddings of layers [first, last) for the rows of b.x (the scaled embedding), into
  // columns [0, (last − first)·ple_width) of b.ple.
  void PerLayerEmbeddings(Context& ctx, std::span<const std::int32_t> tokens, int first, int last,
                          View<const float, 2> embedded);
  void StoreKv(Context& ctx, int index, const LayerWeights& weights, const KvLayer& kv,
               const BatchPlan& plan);
  void Attend(Context& ctx, int index, const LayerWeights& weights, const KvLayer& kv,
              const BatchPlan& plan);
  void Mlp(Context& ctx, int index, const LayerWeights& weights, std::int64_t rows);
  void Experts(Context& ctx, const LayerWeights& weights, std::int64_t rows);
  void InjectPerLayerEmbedding(Context& ctx, const LayerWeights& weights, std::int64_t rows,
                               std::int64_t ple_column);

  const ModelConfig& config_;
  WeightSource& weights_;
  float eps_;
  Buffer memory_;
  DecoderBuffers buffers_;
  BatchPlanner planner_;
  std::int64_t ple_stride_ = 0;  // columns of a row of buffers_.ple in this step
};

}  // namespace culet
