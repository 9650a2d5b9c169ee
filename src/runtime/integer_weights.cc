#include "runtime/integer_weights.h"

#include "base/error.h"
#include "checkpoint/repack.h"

namespace culet {

IntegerWeights::IntegerWeights(const Checkpoint& checkpoint, TensorUse use, ThreadPool& pool)
    : checkpoint_(checkpoint) {
  if (checkpoint.repacked_bytes(use) == 0) return;
  memory_ = Buffer(checkpoint.repacked_bytes(use));
  Arena arena(memory_.data());
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const QuantizedTensor* integers = checkpoint.quantized(name);
    if (integers == nullptr || integers->use != use) continue;
    Parts& parts = parts_[name];
    if (integers->repacks_values()) {
      const std::int64_t bytes = integers->layout.data_bytes();
      auto* values = arena.Take<std::uint8_t>(bytes);
      RepackValues(*integers, pool, {values, static_cast<std::size_t>(bytes)});
      parts.values = values;
      // Read once; the copy is what stays.
      tensor.file->DontNeed(tensor.file_offset, tensor.bytes.size());
    }
    if (integers->repacks_scales()) {
      const std::int64_t bytes = integers->layout.scales() *
                                 static_cast<std::int64_t>(DTypeBytes(integers->scale_dtype()));
      auto* scales = arena.Take<std::byte>(bytes);
      RepackScales(*integers, pool, {scales, static_cast<std::size_t>(bytes)});
      parts.scales = scales;
    }
  }
  CULET_DCHECK(arena.used() == memory_.size());
}

Matrix IntegerWeights::matrix(const std::string& name) const {
  const QuantizedTensor& integers = *checkpoint_.quantized(name);
  const auto found = parts_.find(name);
  const Parts parts = found == parts_.end() ? Parts{} : found->second;
  Matrix matrix;
  matrix.dtype = integers.exact_scale ? DType::kF32 : checkpoint_.main_dtype();
  matrix.data = integers.values.bytes.data();
  if (parts.values != nullptr) matrix.data = parts.values;
  matrix.rows = integers.layout.n;
  matrix.cols = integers.layout.k;
  matrix.format = integers.layout.format;
  matrix.scales = parts.scales != nullptr ? parts.scales : integers.scales.bytes.data();
  matrix.group = integers.layout.group;
  matrix.scale_dtype = integers.scale_dtype();
  matrix.input_scale = integers.input_scale;
  matrix.output_scale = integers.output_scale;
  return matrix;
}

}  // namespace culet
