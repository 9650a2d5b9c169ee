// Integer weights in a checkpoint: tensors of integers with their scales, in our own layout
// (decision 008) or as others store them.
//
//   quant_method          values            scales            lies as
//   culet                 NAME              NAME_scale        tiles or rows, as it is used
//   compressed-tensors    X.weight_packed   X.weight_scale    int4 plain rows, in words of 32 bits
//   gemma                 NAME              NAME_scale        plain rows of 2, 4 or 8 bits
//     … embeddings        X.embedding_quantized, X.embedding_scale
//   none                  NAME              NAME_scale        int8 plain rows
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/weight_format.h"
#include "checkpoint/config.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_table.h"

namespace culet {

inline constexpr const char* kScaleSuffix = "_scale";

// One weight: where its integers and scales are in the files, and how they are used.
struct QuantizedTensor {
  TensorView values;
  TensorView scales;                           // of all groups of all rows, or one for all
  std::vector<TensorView> notes;               // tensors beside that say how to read them
  WeightFormat stored = WeightFormat::kDense;  // in the file
  WeightLayout layout;                         // as it is computed with
  float input_scale = 0, output_scale = 0;     // gemma: as in ops/matmul.h
  // A table whose rows are multiplied with the root of their width as it is, not rounded to bf16.
  bool exact_scale = false;
  TensorUse use = TensorUse::kText;

  // What lies otherwise in the file than it is computed with is put in order when it is loaded
  // (checkpoint/repack.h), into memory of its own.
  bool repacks_values() const { return stored != layout.format; }
  bool repacks_scales() const;
  DType scale_dtype() const;  // as it is computed with: bf16, f32; f16 in a table of lookups
  WeightLayout stored_layout() const { return {stored, layout.n, layout.k, layout.group}; }

  // In the files; of it, what is computed with where it lies; and in memory.
  std::uint64_t bytes() const;
  std::uint64_t mapped_bytes() const;
  std::uint64_t repacked_bytes() const;
};

// True for the formats that integer weights have in a file: I8 and U8.
bool IsQuantized(const TensorView& values);

// The integer weight that the `expected` tensor, [n, k] or stacked [e, n, k], has in a file under
// `name` or what stands for it; nothing where it is no integer there or is not there. Throws
// Error(kCorrupt or kUnsupported) naming the tensor that is missing or whose shape or dtype does
// not fit, with what was expected.
std::optional<QuantizedTensor> FindQuantized(const ModelConfig& config,
                                             const ExpectedTensor& expected,
                                             const std::string& name,
                                             const std::map<std::string, TensorView>& present);

// The same of our own layout, whose integers are `values`.
QuantizedTensor MatchQuantized(const ModelConfig& config, const TensorView& values,
                               const ExpectedTensor& expected,
                               const std::map<std::string, TensorView>& present);
// Of what others write (others_tensors.cc).
std::optional<QuantizedTensor> FindPacked(const ModelConfig& config, const ExpectedTensor& expected,
                                          const std::string& name,
                                          const std::map<std::string, TensorView>& present);
std::optional<QuantizedTensor> FindGemma(const ModelConfig& config, const ExpectedTensor& expected,
                                         const std::string& name,
                                         const std::map<std::string, TensorView>& present);
std::optional<QuantizedTensor> FindPlainInt8(const ModelConfig& config,
                                             const ExpectedTensor& expected,
                                             const std::string& name,
                                             const std::map<std::string, TensorView>& present);

// Whether a weight can lie in tiles: where parts of it are taken by themselves (an expert's rows, a
// layer's rows of the per-layer projection), they must begin where a tile begins. Matrices only.
bool CanBeTiled(const ModelConfig& config, const ExpectedTensor& expected);

// Tables of which single rows are read lie in rows (WeightFormat::kInt8Rows), others in tiles.
bool IsLookupTable(const std::string& short_name);

}  // namespace culet
