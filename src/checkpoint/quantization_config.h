// The member quantization_config of config.json: whose integers a checkpoint has. How each tensor
// is stored follows from the tensors; this says what they mean.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/config_fields.h"
#include "base/dtype.h"

namespace culet {

// Of the member quantization_config of culet's own format (decision 008).
inline constexpr std::int64_t kQuantizationVersion = 1;

enum class QuantMethod {
  kCulet,              // `culet quantize` made them (decision 008)
  kCompressedTensors,  // "compressed-tensors" in the format "pack-quantized"
  kGemma,              // "gemma", of models that were trained for phones
};

struct QuantizationConfig {
  QuantMethod method = QuantMethod::kCulet;
  // kCulet: of the weights that were quantised.
  DType source_dtype = DType::kBF16;
  // kCompressedTensors: columns that share a scale, of each group of modules; 0: a whole row.
  std::vector<std::int64_t> groups;
  // kGemma: whether embeddings are quantised too.
  bool quantize_embeddings = false;
};

// Reads quantization_config of `outer`, the top of config.json; nothing where there is none. Throws
// Error(kUnsupported) for a method or a scheme that culet does not compute, by its field.
std::optional<QuantizationConfig> ReadQuantization(ConfigFields& outer);

}  // namespace culet
