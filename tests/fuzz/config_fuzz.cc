// config.json: the sizes of what is accepted fit into 63 bits, and memory is planned exactly or
// refused.
#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/config.h"
#include "checkpoint/media_tensors.h"
#include "checkpoint/sizes.h"
#include "checkpoint/tensor_table.h"
#include "fuzz/fuzz.h"
#include "model/media_encoder.h"
#include "runtime/engine.h"

namespace culet::fuzz {
namespace {

__extension__ using Wide = unsigned __int128;  // -Wpedantic knows no such type
constexpr Wide kMost = Wide{1} << 63;

Wide KvBytes(const ModelConfig& config, const KvPlan& plan) {
  Wide bytes = 0;
  for (const LayerConfig& layer : config.layers) {
    if (!layer.owns_kv) continue;
    const Wide pages = static_cast<Wide>(plan.PoolPages(config, layer.kind));
    // K and V in one row, or each in its own.
    const std::int64_t turning = config.kv_turning(layer, plan.dtype);
    const Wide page = static_cast<Wide>(layer.kv_heads) *
                      (static_cast<Wide>(layer.head_dim) + static_cast<Wide>(turning)) *
                      kPageTokens * DTypeBytes(plan.dtype);
    bytes += (turning > 0 ? 1 : 2) * ((pages * page + 63) / 64 * 64);
  }
  return bytes;
}

void CheckLayers(const ModelConfig& config) {
  Require(!config.layers.empty(), "a model has layers");
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    Require(layer.head_dim > 0 && layer.head_dim % 2 == 0, "rope turns pairs");
    Require(layer.kv_heads > 0 && config.heads % layer.kv_heads == 0, "heads divide");
    const LayerConfig& source = config.layers.at(static_cast<std::size_t>(layer.kv_source));
    Require(source.owns_kv && source.kind == layer.kind && source.head_dim == layer.head_dim &&
                source.kv_heads == layer.kv_heads,
            "shared KV has the same shape");
    Require(layer.owns_kv == (static_cast<std::size_t>(layer.kv_source) == i), "one's own KV");
  }
  Require(config.experts_per_token <= config.experts, "no more experts than there are");
}

void CheckPlan(const ModelConfig& config, std::int64_t context, std::int64_t sequences) {
  KvPlan plan;
  plan.dtype = DType::kF32;
  plan.context = context;
  plan.chunk = std::min<std::int64_t>(context, 65536);
  plan.sequences = sequences;
  const Wide kv = KvBytes(config, plan);
  try {
    const MemoryPlan memory = PlanMemory(config, plan, 1024);
    Require(memory.kv_bytes == kv && kv < kMost, "the plan of the KV does not wrap around");
    Require(memory.total() < kMost && memory.total() >= memory.kv_bytes, "nor does the sum");
  } catch (const Error& error) {
    Require(error.kind() == ErrorKind::kResource, "what is too large is a lack of memory");
  }
}

void CheckEncoders(const ModelConfig& config) {
  Wide bytes = 0;
  for (const auto& tensors : {VisionTensors(config), AudioTensors(config)}) {
    for (const ExpectedTensor& tensor : tensors) {
      Wide elements = 1;
      for (const std::int64_t size : tensor.shape) {
        Require(size > 0, "no tensor of an encoder is empty");
        elements *= static_cast<Wide>(size);
      }
      bytes += 4 * elements;
    }
  }
  constexpr std::size_t kMostBytes = std::size_t{1} << 62;
  Require(bytes < kMost, "the encoders' weights fit into 63 bits");
  Require(!config.vision || config.vision_error.empty(), "an encoder is there or refused");
  Require(!config.audio || config.audio_error.empty(), "an encoder is there or refused");
  if (config.vision) {
    const std::int64_t units = config.vision->units_per_token() * 1120;
    Require(VisionEncoder::ActivationBytes(config, units) < kMostBytes &&
                VisionEncoder::ScratchBytes(config, units, 64) < kMostBytes,
            "the plan of an image does not wrap around");
  }
  if (config.audio) {
    Require(AudioEncoder::Tokens(config, 3000) > 0, "a sound has tokens");
    Require(AudioEncoder::ActivationBytes(config, 3000) < kMostBytes &&
                AudioEncoder::ScratchBytes(config, 3000, 64) < kMostBytes,
            "the plan of a sound does not wrap around");
  }
}

}  // namespace

void FuzzOne(std::string_view input) {
  try {
    const ModelConfig config = ParseModelConfig(ParseJson(input, "config.json"), "config.json");
    CheckLayers(config);
    Wide bytes = 0;
    for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
      Wide elements = 1;
      for (const std::int64_t size : tensor.shape) {
        Require(size > 0, "no tensor is empty");
        elements *= static_cast<Wide>(size);
      }
      bytes += 4 * elements;
    }
    Require(bytes < kMost, "all weights together fit into 63 bits");
    CheckEncoders(config);
    Wide sum = 0;
    for (const PartWeight& part : SizesByPart(config, DType::kF32)) sum += part.bytes;
    Require(sum == bytes, "the parts add up");
    (void)config.variant();
    (void)ReadsPerToken(config, DType::kF32);
    CheckPlan(config, 1, 1);
    CheckPlan(config, 8192, 1);
    CheckPlan(config, std::int64_t{1} << 24, 4096);
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
