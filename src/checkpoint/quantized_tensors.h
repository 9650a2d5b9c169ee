// Integer weights in a checkpoint of our own format (decision 008): a tensor NAME of integers with
// its scales NAME_scale beside it.
#pragma once

#include <map>
#include <string>

#include "base/weight_format.h"
#include "checkpoint/config.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_table.h"

namespace culet {

inline constexpr const char* kScaleSuffix = "_scale";

// How the weight of a QuantizedTensor lies; the values are the tensor of its name.
struct QuantizedTensor {
  WeightLayout layout;
  TensorView scales;

  std::uint64_t bytes() const {
    return static_cast<std::uint64_t>(layout.data_bytes()) + scales.bytes.size();
  }
};

// True for the formats that integer weights have in a file: I8 and U8.
bool IsQuantized(const TensorView& values);

// Layout of the integer weight `values` for the `expected` tensor, [n, k] or stacked [e, n, k],
// whose scales are looked for in `present`. Throws Error(kCorrupt) naming the tensor that is
// missing or whose shape or dtype is not that of a layout, with what was expected.
QuantizedTensor MatchQuantized(const ModelConfig& config, const TensorView& values,
                               const ExpectedTensor& expected,
                               const std::map<std::string, TensorView>& present);

// Whether a weight can lie in tiles: where parts of it are taken by themselves (an expert's rows, a
// layer's rows of the per-layer projection), they must begin where a tile begins. Matrices only.
bool CanBeTiled(const ModelConfig& config, const ExpectedTensor& expected);

// Tables of which single rows are read lie in rows (WeightFormat::kInt8Rows), others in tiles.
bool IsLookupTable(const std::string& short_name);

}  // namespace culet
