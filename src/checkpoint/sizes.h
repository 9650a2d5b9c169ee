// How much a model weighs: parameters and bytes by part, KV bytes, bytes read for a decoded token.
// Pure arithmetic on the config and the table of tensors; nothing is allocated or read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config.h"

namespace culet {

struct PartWeight {
  std::string part;  // of ExpectedTensor
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
};

// Text parts in the order of the table (embedding first), empty ones left out.
std::vector<PartWeight> SizesByPart(const ModelConfig& config, DType dtype);
// The same with each tensor's own bytes, as it lies in the files.
std::vector<PartWeight> SizesByPart(const Checkpoint& checkpoint);

// Parts of the media encoders that can be computed with, with each tensor's own dtype.
std::vector<PartWeight> MediaSizesByPart(const Checkpoint& checkpoint);

// What decoding one token must read of the weights: every matrix once (the embedding table whole
// where it is the head), of the lookup tables one row, of the experts only the chosen ones.
struct DecodeReads {
  std::uint64_t parameters = 0;
  std::uint64_t weight_bytes = 0;
  std::uint64_t row_bytes = 0;  // rows of lookup tables, besides
};
DecodeReads ReadsPerToken(const ModelConfig& config, DType dtype);
DecodeReads ReadsPerToken(const Checkpoint& checkpoint);

// The KV of one sequence at `context` tokens, kept as `dtype` (base/kv_format.h).
struct KvSize {
  int layers[kLayerKinds] = {};                     // that own KV, by LayerKind
  std::uint64_t bytes_per_token[kLayerKinds] = {};  // of all those layers
  std::uint64_t bytes[kLayerKinds] = {};            // held; sliding layers hold at most the window
  std::uint64_t read_bytes = 0;  // read by one decoded token: a cache counts once for each reader
  std::uint64_t total() const { return bytes[0] + bytes[1]; }
};
KvSize KvSizeAt(const ModelConfig& config, std::int64_t context, DType dtype);

}  // namespace culet
