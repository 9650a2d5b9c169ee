// The integer weights of a checkpoint as matrices: where they lie in the mapped files, or, of what
// others packed in another order than our kernels read, put in order once.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "model/buffers.h"
#include "ops/types.h"

namespace culet {

// Keeps a reference to the checkpoint, whose files it points into. Threads: read-only once made.
class IntegerWeights {
 public:
  // Those of text or of media. `pool` is used until this returns. Throws Error(kResource) where
  // memory for what is repacked is lacking: Checkpoint::repacked_bytes(use).
  IntegerWeights(const Checkpoint& checkpoint, TensorUse use, ThreadPool& pool);

  // Of a tensor that Checkpoint::quantized knows.
  Matrix matrix(const std::string& name) const;

  // Bytes held here, beside the mapped files.
  std::uint64_t bytes() const { return memory_.size(); }

 private:
  // Where a tensor's parts are that do not stay where they lie.
  struct Parts {
    const std::uint8_t* values = nullptr;
    const std::byte* scales = nullptr;
  };

  const Checkpoint& checkpoint_;
  Buffer memory_;
  std::map<std::string, Parts> parts_;  // by short name
};

}  // namespace culet
