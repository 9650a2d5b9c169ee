// Where weights are. On the CPU: matrices where they lie in the mapped files, vectors widened to
// f32; integers that others packed are put into the order of our kernels once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/weights.h"
#include "runtime/integer_weights.h"

namespace culet {

// Keeps a reference to the checkpoint, whose files it points into. Threads: read-only once made.
class MappedWeights : public WeightSource {
 public:
  // `pool`: for what is repacked, until this returns. Throws Error(kResource) where memory for that
  // is lacking.
  MappedWeights(const Checkpoint& checkpoint, ThreadPool& pool);

  const GlobalWeights& global() override { return global_; }
  const LayerWeights& layer(int index) override { return layers_[static_cast<std::size_t>(index)]; }

  // Bytes held here, beside the mapped files.
  std::uint64_t bytes() const { return vectors_.size() * sizeof(float) + integers_.bytes(); }

  // Asks the system to read the per-layer rows of these tokens before they are needed: they are
  // scattered over gigabytes, and each would be a page fault of its own.
  void PrefetchRows(std::span<const std::int32_t> tokens);
  // Now and then lets go of them, so that the table never becomes resident as a whole.
  void PleRowsWereRead(std::int64_t count) override;

 private:
  Matrix AsMatrix(const std::string& name) const;
  Vector AsVector(const std::string& name);
  // The per-layer table, and its scales where it is quantised; rows are the first dimension.
  std::vector<const TensorView*> PleTables() const;

  const Checkpoint& checkpoint_;
  IntegerWeights integers_;
  std::vector<float> vectors_;  // storage of every Vector; reserved once, never moved
  GlobalWeights global_;
  std::vector<LayerWeights> layers_;
  std::int64_t touched_rows_ = 0;  // of the per-layer table, since it was last let go
};

}  // namespace culet
