#include "checkpoint/sizes.h"

#include <algorithm>
#include <functional>

#include "base/kv_format.h"
#include "checkpoint/media_tensors.h"

namespace culet {
namespace {

// Bytes of a whole tensor.
using TensorBytes = std::function<std::uint64_t(const ExpectedTensor& tensor)>;

// config.cc caps sizes so that neither this nor the sum over all tensors times 4 overflows.
std::uint64_t Elements(const ExpectedTensor& tensor) {
  std::uint64_t count = 1;
  for (const std::int64_t size : tensor.shape) count *= static_cast<std::uint64_t>(size);
  return count;
}

std::vector<PartWeight> Sum(const std::vector<ExpectedTensor>& tensors, const TensorBytes& bytes) {
  std::vector<PartWeight> parts;
  for (const ExpectedTensor& tensor : tensors) {
    auto part = std::find_if(parts.begin(), parts.end(),
                             [&](const PartWeight& known) { return known.part == tensor.part; });
    if (part == parts.end()) part = parts.insert(parts.end(), PartWeight{tensor.part, 0, 0});
    part->parameters += Elements(tensor);
    part->bytes += bytes(tensor);
  }
  return parts;
}

DecodeReads Reads(const ModelConfig& config, const std::vector<ExpectedTensor>& tensors,
                  bool head_is_embedding, const TensorBytes& bytes) {
  DecodeReads reads;
  for (const ExpectedTensor& tensor : tensors) {
    std::uint64_t count = Elements(tensor);
    std::uint64_t stored = bytes(tensor);
    const bool table = tensor.part == "per-layer embedding";
    if (table || tensor.part == "embedding") {
      reads.row_bytes += stored / static_cast<std::uint64_t>(tensor.shape[0]);
      if (table || !head_is_embedding) continue;
    }
    if (tensor.part == "experts") {
      const auto experts = static_cast<std::uint64_t>(config.experts);
      const auto chosen = static_cast<std::uint64_t>(config.experts_per_token);
      count = count / experts * chosen;
      stored = stored / experts * chosen;
    }
    reads.parameters += count;
    reads.weight_bytes += stored;
  }
  return reads;
}

// What the checkpoint's decoder computes with: an lm_head beside tying that differs counts too.
std::vector<ExpectedTensor> UsedTensors(const Checkpoint& checkpoint) {
  std::vector<ExpectedTensor> tensors = ExpectedTensors(checkpoint.config());
  const bool own_head = checkpoint.config().tie_word_embeddings && !checkpoint.head_is_embedding();
  if (own_head) {
    ExpectedTensor head;
    head.name = "lm_head.weight";
    head.shape = {checkpoint.config().vocab, checkpoint.config().hidden};
    head.part = "head";
    tensors.push_back(head);
  }
  return tensors;
}

TensorBytes Stored(const Checkpoint& checkpoint) {
  return
      [&checkpoint](const ExpectedTensor& tensor) { return checkpoint.stored_bytes(tensor.name); };
}

TensorBytes Used(const Checkpoint& checkpoint) {
  return [&checkpoint](const ExpectedTensor& tensor) { return checkpoint.used_bytes(tensor.name); };
}

TensorBytes Uniform(DType dtype) {
  return [element = std::uint64_t{DTypeBytes(dtype)}](const ExpectedTensor& tensor) {
    return Elements(tensor) * element;
  };
}

}  // namespace

std::vector<PartWeight> SizesByPart(const ModelConfig& config, DType dtype) {
  return Sum(ExpectedTensors(config), Uniform(dtype));
}

std::vector<PartWeight> SizesByPart(const Checkpoint& checkpoint) {
  return Sum(UsedTensors(checkpoint), Stored(checkpoint));
}

std::vector<PartWeight> MediaSizesByPart(const Checkpoint& checkpoint) {
  std::vector<ExpectedTensor> used;
  for (const auto& tensors :
       {VisionTensors(checkpoint.config()), AudioTensors(checkpoint.config())}) {
    for (const ExpectedTensor& tensor : tensors) {
      if (checkpoint.has_tensor(tensor.name)) used.push_back(tensor);
    }
  }
  return Sum(used, Stored(checkpoint));
}

DecodeReads ReadsPerToken(const ModelConfig& config, DType dtype) {
  return Reads(config, ExpectedTensors(config), config.tie_word_embeddings, Uniform(dtype));
}

DecodeReads ReadsPerToken(const Checkpoint& checkpoint) {
  return Reads(checkpoint.config(), UsedTensors(checkpoint), checkpoint.head_is_embedding(),
               Used(checkpoint));
}

KvSize KvSizeAt(const ModelConfig& config, std::int64_t context, DType dtype) {
  KvSize size;
  for (const LayerConfig& layer : config.layers) {
    const int kind = static_cast<int>(layer.kind);
    const std::int64_t held =
        layer.kind == LayerKind::kSliding ? std::min(context, config.window) : context;
    const std::int64_t turning = config.kv_turning(layer, dtype);
    const std::int64_t rows = turning > 0 ? 1 : 2;  // K and V in one, or each its own
    const auto per_token = static_cast<std::uint64_t>(rows * layer.kv_heads *
                                                      KvRowBytes(dtype, layer.head_dim + turning));
    size.read_bytes += per_token * static_cast<std::uint64_t>(held);
    if (!layer.owns_kv) continue;
    ++size.layers[kind];
    size.bytes_per_token[kind] += per_token;
    size.bytes[kind] += per_token * static_cast<std::uint64_t>(held);
  }
  return size;
}

}  // namespace culet
