// What the engine asks of a model: hidden states of a batch's rows, and logits of hidden states.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "model/batch.h"
#include "ops/context.h"
#include "ops/types.h"

namespace culet {

// Sees the residual stream: index 0 is the scaled embedding, index i the output of layer i − 1,
// before the final norm. For tests and debugging.       x [rows, hidden]
using LayerTap = std::function<void(int index, View<const float, 2> x)>;

// Threads: one call at a time.
class StepModel {
 public:
  virtual ~StepModel() = default;

  // Stores K and V of every row of `batch` in `kv` (by layer), and returns the hidden states of the
  // rows that asked, in their order [wanted, hidden], valid until the next call.
  virtual View<const float, 2> Forward(Context& ctx, const Batch& batch,
                                       std::span<const KvLayer> kv, const LayerTap& tap) = 0;
  // hidden [rows, hidden] -> logits [rows, vocab]
  virtual void Head(Context& ctx, View<const float, 2> hidden, View<float, 2> logits) = 0;
  // Held beside the mapped weights.
  virtual std::uint64_t allocated_bytes() const = 0;
};

}  // namespace culet
