// The tensors of the media encoders, beside the table of text tensors (tensor_table.h).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"
#include "checkpoint/tensor_table.h"

namespace culet {

// Every tensor that config.vision (config.audio) needs, in file order; none where it is absent. The
// bounds of clipped linears are optional: one that is not in the file bounds nothing.
// `part` is "vision tower", "vision embedder", "audio tower" or "audio embedder".
std::vector<ExpectedTensor> VisionTensors(const ModelConfig& config);
std::vector<ExpectedTensor> AudioTensors(const ModelConfig& config);

// What names of an encoder's tensors in a file begin with.
std::span<const std::string_view> VisionPrefixes();
std::span<const std::string_view> AudioPrefixes();

// The names that a tensor of an encoder may have in a file: the published one, and for models
// without towers the one that transformers has in memory and other tools save.
std::vector<std::string> MediaTensorNames(const ModelConfig& config, const std::string& short_name);

}  // namespace culet
