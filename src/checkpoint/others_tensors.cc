// Integer weights as others write them: plain rows with the lowest bits first.
#include <algorithm>

#include "base/config_fields.h"
#include "base/error.h"
#include "base/view.h"
#include "checkpoint/quantized_tensors.h"

namespace culet {
namespace {

using Present = std::map<std::string, TensorView>;

std::string Place(const TensorView& tensor) {
  return tensor.file->path().string() + ": tensor " + DisplayName(tensor.name);
}

std::string Found(const TensorView& tensor) {
  return " is " + std::string(DTypeName(tensor.dtype)) + " " + ShapeText(tensor.shape);
}

[[noreturn]] void Refuse(const TensorView& tensor, const std::string& expected,
                         ErrorKind kind = ErrorKind::kCorrupt) {
  throw Error(kind, Place(tensor) + Found(tensor) + "; expected " + expected);
}

const TensorView* Find(const Present& present, const std::string& name) {
  const auto found = present.find(name);
  return found == present.end() ? nullptr : &found->second;
}

// The tensor `name`, which belongs to `values`.
const TensorView& Beside(const Present& present, const std::string& name,
                         const TensorView& values) {
  if (const TensorView* tensor = Find(present, name); tensor != nullptr) return *tensor;
  throw Error(ErrorKind::kCorrupt, Place(values) + Found(values) + ", and " + DisplayName(name) +
                                       " beside it is missing; the file is incomplete");
}

// Where only single rows of a weight are read it stays where it is; else it goes into tiles.
WeightLayout LayoutOf(const ModelConfig& config, const ExpectedTensor& expected,
                      WeightFormat stored) {
  WeightLayout layout;
  layout.n = 1;
  for (std::size_t i = 0; i + 1 < expected.shape.size(); ++i) layout.n *= expected.shape[i];
  layout.k = expected.shape.back();
  const bool lookup = IsLookupTable(expected.name) ||
                      (expected.name == "embed_tokens.weight" && !config.tie_word_embeddings);
  layout.format = lookup ? stored
                         : (stored == WeightFormat::kInt8Plain ? WeightFormat::kInt8Tiles
                                                               : WeightFormat::kInt4Tiles);
  return layout;
}

// Refuses a weight whose parts would begin inside of a tile.
void CheckTiles(const ModelConfig& config, const ExpectedTensor& expected,
                const QuantizedTensor& tensor) {
  if (!IsTiled(tensor.layout.format) || CanBeTiled(config, expected)) return;
  Refuse(tensor.values,
         "F32, BF16 or F16, as its parts, " + expected.symbolic_shape + " = " +
             ShapeText(expected.shape) + ", are no multiple of " + std::to_string(kTileOutputs) +
             " rows. Use the unquantised checkpoint",
         ErrorKind::kUnsupported);
}

// Scales that are elements of their own dtype and lie so that they can be read in place.
void CheckScales(const QuantizedTensor& tensor, const std::string& expected) {
  const TensorView& scales = tensor.scales;
  const bool number =
      scales.dtype == DType::kF32 || scales.dtype == DType::kBF16 || scales.dtype == DType::kF16;
  if (!number) Refuse(scales, "F32, BF16 or F16, " + expected);
  if (!tensor.repacks_scales() && scales.file_offset % DTypeBytes(scales.dtype) != 0) {
    throw Error(ErrorKind::kUnsupported,
                Place(scales) + " begins at byte " + std::to_string(scales.file_offset) +
                    " of the file; expected a multiple of " +
                    std::to_string(DTypeBytes(scales.dtype)) +
                    ". Load and save the file with safetensors 0.3 or later, which aligns tensors");
  }
}

// "in/32 or in/64"
std::string GroupNames(const std::vector<std::int64_t>& groups) {
  std::string names;
  for (const std::int64_t group : groups) {
    if (!names.empty()) names += " or ";
    names += group == 0 ? "1" : "in/";
    if (group != 0) names += std::to_string(group);
  }
  return names;
}

}  // namespace

// compressed-tensors, "pack-quantized": X.weight_packed int32 [n, k/8], of each word the lowest
// four bits first; X.weight_scale [n, k/group]; X.weight_shape [2], n and k.
std::optional<QuantizedTensor> FindPacked(const ModelConfig& config, const ExpectedTensor& expected,
                                          const std::string& name, const Present& present) {
  const TensorView* packed = Find(present, name + "_packed");
  if (packed == nullptr || expected.shape.size() != 2) return std::nullopt;
  QuantizedTensor result;
  result.values = *packed;
  result.stored = WeightFormat::kInt4Plain;
  WeightLayout& layout = result.layout;
  layout = LayoutOf(config, expected, result.stored);
  const std::string asked =
      "int4 of " + expected.symbolic_shape + " = " + ShapeText(expected.shape) + ": ";
  constexpr std::int64_t kWord = 8;  // values
  if (layout.k % kWord != 0) {
    Refuse(*packed, asked + "a multiple of 8 columns. Use the unquantised checkpoint",
           ErrorKind::kUnsupported);
  }
  const std::vector<std::int64_t> shape = {layout.n, layout.k / kWord};
  if (packed->dtype != DType::kI32 || packed->shape != shape) {
    Refuse(*packed,
           asked + "I32 " + ShapeText(shape) + ". Weights and config are of different models");
  }
  CheckTiles(config, expected, result);

  const TensorView& sizes = Beside(present, name + "_shape", *packed);
  std::vector<std::int64_t> said(2);
  if (sizes.dtype != DType::kI64 || sizes.shape != std::vector<std::int64_t>{2}) {
    Refuse(sizes, "I64 [2]");
  }
  std::copy_n(sizes.bytes.data(), sizes.bytes.size(), reinterpret_cast<std::byte*>(said.data()));
  if (said != expected.shape) {
    throw Error(ErrorKind::kCorrupt, Place(sizes) + " says " + ShapeText(said) + "; expected " +
                                         expected.symbolic_shape + " = " +
                                         ShapeText(expected.shape));
  }
  result.notes = {sizes};

  result.scales = Beside(present, name + kScaleSuffix, *packed);
  const std::vector<std::int64_t>& groups = config.quantization->groups;
  const std::string scales_asked = "[out, " + GroupNames(groups) + "] for " +
                                   expected.symbolic_shape + " = " + ShapeText(expected.shape);
  bool fits = false;
  for (const std::int64_t group : groups) {
    const std::int64_t width = group == 0 ? layout.k : group;
    if (layout.k % width != 0) continue;
    if (result.scales.shape != std::vector<std::int64_t>{layout.n, layout.k / width}) continue;
    fits = true;
    layout.group = group == 0 ? layout.padded_k() : group;
  }
  if (!fits) Refuse(result.scales, scales_asked + ", as config_groups of config.json says");
  CheckScales(result, scales_asked);
  return result;
}

// gemma: X.weight I8 [n, k] of 8 bits, or U8 [n, k/2] of 4 and [n, k/4] of 2; X.weight_scale [n,
// 1]; X.input_activation_scale and X.output_activation_scale, numbers, 0 or absent where
// activations are not rounded. Embeddings: X.embedding_quantized, X.embedding_scale [n, blocks of a
// row]. Source: transformers, integrations/gemma_quant.py (QuantizedLinear, QuantizedEmbedding).
std::optional<QuantizedTensor> FindGemma(const ModelConfig& config, const ExpectedTensor& expected,
                                         const std::string& name, const Present& present) {
  if (expected.shape.size() != 2 || !name.ends_with(".weight")) return std::nullopt;
  const std::string stem = name.substr(0, name.size() - std::string_view("weight").size());
  const bool embedding = IsLookupTable(expected.name) || expected.name == "embed_tokens.weight";
  const TensorView* values = Find(present, embedding ? stem + "embedding_quantized" : name);
  if (values == nullptr || !(embedding || IsQuantized(*values))) return std::nullopt;
  if (embedding && !config.quantization->quantize_embeddings) {
    Refuse(*values, "no such tensor, as config.json says quantize_embeddings false");
  }

  QuantizedTensor result;
  result.values = *values;
  result.exact_scale = true;
  const std::int64_t n = expected.shape[0], k = expected.shape[1];
  bool fits = false;
  std::string shapes;
  for (const WeightFormat stored :
       {WeightFormat::kInt8Plain, WeightFormat::kInt4Plain, WeightFormat::kInt2Plain}) {
    const DType dtype = stored == WeightFormat::kInt8Plain ? DType::kI8 : DType::kU8;
    const WeightLayout layout{stored, n, k, k};
    shapes += (shapes.empty() ? "" : ", ") + std::string(DTypeName(dtype)) + " " +
              ShapeText(layout.data_shape());
    if (fits || values->dtype != dtype || values->shape != layout.data_shape()) continue;
    fits = true;
    result.stored = stored;
  }
  if (!fits) {
    Refuse(*values, "8, 4 or 2 bits of " + expected.symbolic_shape + " = " +
                        ShapeText(expected.shape) + ": " + shapes +
                        ". Weights and config are of different models");
  }
  result.layout = LayoutOf(config, expected, result.stored);
  CheckTiles(config, expected, result);

  result.scales =
      Beside(present, embedding ? stem + "embedding_scale" : name + kScaleSuffix, *values);
  const std::vector<std::int64_t>& shape = result.scales.shape;
  const std::int64_t blocks = shape.size() == 2 && shape[0] == n ? shape[1] : 0;
  std::string asked = ShapeText(std::vector<std::int64_t>{n, 1});
  if (embedding) asked += ", or a number of blocks in place of 1 that divides the columns";
  if (blocks < 1 || k % blocks != 0 || (!embedding && blocks != 1)) Refuse(result.scales, asked);
  result.layout.group = blocks == 1 ? result.layout.padded_k() : k / blocks;
  if (IsTiled(result.layout.format) && result.layout.group % kQuantBlock != 0) {
    Refuse(result.scales,
           "blocks of a multiple of 32 columns where the table is the head too. Use the "
           "unquantised checkpoint",
           ErrorKind::kUnsupported);
  }
  CheckScales(result, asked);
  if (embedding) return result;

  const auto activations = [&](const char* which) -> float {
    const TensorView* scale = Find(present, stem + which);
    if (scale == nullptr) return 0;
    result.notes.push_back(*scale);
    const bool number =
        scale->dtype == DType::kF32 || scale->dtype == DType::kBF16 || scale->dtype == DType::kF16;
    if (!number || scale->elements() != 1) Refuse(*scale, "one number, F32");
    const float value = ElementAsF32(scale->dtype, scale->bytes.data(), 0);
    // A subnormal step would make quotients of ordinary values infinite.
    if (!(value == 0 || (value >= 0x1p-100f && value <= 0x1p100f))) {
      throw Error(ErrorKind::kCorrupt,
                  Place(*scale) + " is " + std::to_string(value) +
                      "; expected 0 or a positive number. The file is damaged");
    }
    return value;
  };
  result.input_scale = activations("input_activation_scale");
  result.output_scale = activations("output_activation_scale");
  return result;
}

// Without a word in config.json: NAME int8 [n, k] and NAME_scale with one number for all, or one
// for each row: [1] or [], [n] or [n, 1].
std::optional<QuantizedTensor> FindPlainInt8(const ModelConfig& config,
                                             const ExpectedTensor& expected,
                                             const std::string& name, const Present& present) {
  const TensorView* values = Find(present, name);
  const TensorView* scales = Find(present, name + kScaleSuffix);
  const bool stacked = expected.shape.size() == 3 && expected.part == "experts";
  if (values == nullptr || values->dtype != DType::kI8 || scales == nullptr ||
      (expected.shape.size() != 2 && !stacked)) {
    return std::nullopt;
  }
  QuantizedTensor result;
  result.values = *values;
  result.scales = *scales;
  result.stored = WeightFormat::kInt8Plain;
  result.layout = LayoutOf(config, expected, result.stored);
  result.layout.group = result.layout.padded_k();
  if (values->shape != expected.shape) {
    Refuse(*values, "I8 " + expected.symbolic_shape + " = " + ShapeText(expected.shape) +
                        ". Weights and config are of different models");
  }
  CheckTiles(config, expected, result);
  std::vector<std::int64_t> rows(expected.shape.begin(), expected.shape.end() - 1);
  std::vector<std::int64_t> columns = rows;
  columns.push_back(1);
  const std::string asked = "one number, or one a row: " + ShapeText(rows);
  if (scales->elements() != 1 && scales->shape != rows && scales->shape != columns) {
    Refuse(*scales, asked);
  }
  CheckScales(result, asked);
  return result;
}

}  // namespace culet
