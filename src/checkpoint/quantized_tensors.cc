#include "checkpoint/quantized_tensors.h"

#include "base/config_fields.h"
#include "base/error.h"
#include "base/view.h"

namespace culet {
namespace {

[[noreturn]] void Refuse(const TensorView& tensor, const std::string& found) {
  throw Error(ErrorKind::kCorrupt,
              tensor.file->path().string() + ": tensor " + DisplayName(tensor.name) + " " + found);
}

}  // namespace

bool IsQuantized(const TensorView& values) {
  return values.dtype == DType::kI8 || values.dtype == DType::kU8;
}

bool IsLookupTable(const std::string& short_name) {
  return short_name == "embed_tokens_per_layer.weight";
}

bool CanBeTiled(const ModelConfig& config, const ExpectedTensor& expected) {
  if (expected.shape.size() < 2) return false;
  if (expected.name == "per_layer_model_projection.weight") {
    return config.ple_width % kTileOutputs == 0;
  }
  return expected.shape.size() == 2 || expected.shape[1] % kTileOutputs == 0;
}

bool QuantizedTensor::repacks_scales() const {
  return repacks_values() || scales.elements() != layout.scales();
}

DType QuantizedTensor::scale_dtype() const {
  return repacks_scales() && scales.dtype != DType::kBF16 ? DType::kF32 : scales.dtype;
}

std::uint64_t QuantizedTensor::bytes() const {
  std::uint64_t sum = values.bytes.size() + scales.bytes.size();
  for (const TensorView& note : notes) sum += note.bytes.size();
  return sum;
}

std::uint64_t QuantizedTensor::mapped_bytes() const {
  return (repacks_values() ? 0 : values.bytes.size()) +
         (repacks_scales() ? 0 : scales.bytes.size());
}

std::uint64_t QuantizedTensor::repacked_bytes() const {
  const auto of = [](std::int64_t count, std::size_t element) {
    return (static_cast<std::uint64_t>(count) * element + 63) / 64 * 64;
  };
  return (repacks_values() ? of(layout.data_bytes(), 1) : 0) +
         (repacks_scales() ? of(layout.scales(), DTypeBytes(scale_dtype())) : 0);
}

std::optional<QuantizedTensor> FindQuantized(const ModelConfig& config,
                                             const ExpectedTensor& expected,
                                             const std::string& name,
                                             const std::map<std::string, TensorView>& present) {
  if (!config.quantization) return FindPlainInt8(config, expected, name, present);
  switch (config.quantization->method) {
    case QuantMethod::kCompressedTensors: return FindPacked(config, expected, name, present);
    case QuantMethod::kGemma: return FindGemma(config, expected, name, present);
    case QuantMethod::kCulet: break;
  }
  const auto found = present.find(name);
  if (found == present.end() || !IsQuantized(found->second)) return std::nullopt;
  return MatchQuantized(config, found->second, expected, present);
}

QuantizedTensor MatchQuantized(const ModelConfig& config, const TensorView& values,
                               const ExpectedTensor& expected,
                               const std::map<std::string, TensorView>& present) {
  const bool int4 = values.dtype == DType::kU8;
  QuantizedTensor result;
  WeightLayout& layout = result.layout;
  if (IsLookupTable(expected.name)) {
    layout.format = int4 ? WeightFormat::kInt4Rows : WeightFormat::kInt8Rows;
  } else {
    layout.format = int4 ? WeightFormat::kInt4Tiles : WeightFormat::kInt8Tiles;
  }
  if (expected.shape.size() < 2) {
    Refuse(values, "is " + std::string(DTypeName(values.dtype)) +
                       "; vectors are F32, BF16 or F16 in a quantised checkpoint too");
  }
  layout.n = 1;
  for (std::size_t i = 0; i + 1 < expected.shape.size(); ++i) layout.n *= expected.shape[i];
  layout.k = expected.shape.back();
  if (IsTiled(layout.format) && !CanBeTiled(config, expected)) {
    Refuse(values, "is " + std::string(DTypeName(values.dtype)) + "; expected F32, BF16 or F16, " +
                       "as its parts, " + expected.symbolic_shape + " = " +
                       ShapeText(expected.shape) + ", are no multiple of " +
                       std::to_string(kTileOutputs) + " rows");
  }
  const std::string shape_of = std::string(WeightFormatName(layout.format)) + " of " +
                               expected.symbolic_shape + " = " + ShapeText(expected.shape);
  if (values.shape != layout.data_shape()) {
    Refuse(values, "is " + ShapeText(values.shape) + "; " + shape_of + " are " +
                       ShapeText(layout.data_shape()) +
                       ". Weights and config are of different models");
  }
  const std::string name = values.name + kScaleSuffix;
  const auto scales = present.find(name);
  if (scales == present.end()) {
    Refuse(values, "is " + std::string(DTypeName(values.dtype)) + ", and its scales " +
                       DisplayName(name) + " are missing; the file is incomplete");
  }
  result.values = values;
  result.stored = layout.format;
  result.scales = scales->second;
  const std::vector<std::int64_t>& shape = result.scales.shape;
  // From the count of groups in a row to their width, which divides the row.
  layout.group = layout.padded_k();
  const std::vector<std::int64_t> one_group = layout.scale_shape();
  const std::int64_t groups = shape.size() == one_group.size() ? shape[1] : 0;
  if (groups > 0 && layout.padded_k() % (groups * kQuantBlock) == 0) {
    layout.group = layout.padded_k() / groups;
  }
  if (shape != layout.scale_shape() || result.scales.dtype != DType::kBF16) {
    Refuse(result.scales, "is " + std::string(DTypeName(result.scales.dtype)) + " " +
                              ShapeText(shape) + "; scales of " + shape_of + " are BF16 " +
                              ShapeText(one_group) + ", or with a number of groups in place of " +
                              "1 of which each has a multiple of 32 columns");
  }
  if (result.scales.file_offset % DTypeBytes(DType::kBF16) != 0) {
    Refuse(result.scales, "begins at an odd byte of the file; expected a multiple of 2");
  }
  return result;
}

}  // namespace culet
