#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/config_fields.h"
#include "base/error.h"
#include "base/view.h"
#include "checkpoint/media_tensors.h"
#include "checkpoint/model_files.h"

namespace culet {
namespace {

constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEmbedding = "embed_tokens.weight";

// A head that stands beside an embedding table which the config ties it to.
ExpectedTensor HeadTensor(const ModelConfig& config) {
  ExpectedTensor tensor;
  tensor.name = kHead;
  tensor.part = "head";
  tensor.symbolic_shape = "[vocab_size, hidden_size]";
  tensor.shape = {config.vocab, config.hidden};
  return tensor;
}

bool IsComputable(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

// Same shape and checked dtypes. Reads both tensors where they are equal, and stops where they
// differ.
bool EqualTensors(const TensorView& a, const TensorView& b) {
  if (a.dtype == b.dtype) {
    return std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
  }
  const auto count = static_cast<std::size_t>(a.elements());
  for (std::size_t i = 0; i < count; ++i) {
    if (ElementAsF32(a.dtype, a.bytes.data(), i) != ElementAsF32(b.dtype, b.bytes.data(), i)) {
      return false;
    }
  }
  return true;
}

// "[num_key_value_heads·head_dim, hidden_size] = [512, 1536]"; the numbers alone where the config
// has no say.
std::string AskedShape(const ExpectedTensor& expected) {
  const std::string shape = ShapeText(expected.shape);
  return expected.symbolic_shape == shape ? shape : expected.symbolic_shape + " = " + shape;
}

// Why a tensor might be missing, where the file shows it.
std::string MissingHint(const ModelConfig& config, const ModelFiles& model,
                        const std::map<std::string, TensorView>& present,
                        const ExpectedTensor& expected) {
  for (const char* other : {"model.language_model.", "model.", "language_model.model.", ""}) {
    const std::string name = other + expected.name;
    if (other == TensorPrefix(config) || present.count(name) == 0) continue;
    return ". The file has " + name + " instead: its layout is that of another kind of checkpoint" +
           (std::string_view(other) == "language_model.model."
                ? " (MLX); use the Hugging Face one"
                : ", and config.json does not belong to it");
  }
  const std::string file = model.weights.filename().string();
  if (model.weight_map.empty() && file.find("-of-") != std::string::npos) {
    return ". " + file + " is one shard of several; name the folder with all of them";
  }
  return ". Weights and config are of different models, or the file is incomplete";
}

// Shape, dtype and alignment of a tensor that the decoder computes with.
void CheckTensor(const TensorView& tensor, const ExpectedTensor& expected) {
  const std::string place = tensor.file->path().string() + ": tensor " + DisplayName(tensor.name);
  if (!IsComputable(tensor.dtype)) {
    throw Error(ErrorKind::kUnsupported, place + " is " + std::string(DTypeName(tensor.dtype)) +
                                             "; culet computes with F32, BF16 and F16. Use the "
                                             "unquantised checkpoint");
  }
  if (tensor.shape != expected.shape) {
    throw Error(ErrorKind::kCorrupt, place + " is " + ShapeText(tensor.shape) +
                                         "; config.json asks " + AskedShape(expected) +
                                         ". Weights and config are of different models");
  }
  // Kernels load whole elements; files of writers that do not pad the header may lie oddly.
  if (tensor.file_offset % DTypeBytes(tensor.dtype) != 0) {
    throw Error(ErrorKind::kUnsupported,
                place + " begins at byte " + std::to_string(tensor.file_offset) +
                    " of the file; expected a multiple of " +
                    std::to_string(DTypeBytes(tensor.dtype)) +
                    ". Load and save the file with safetensors 0.3 or later, which aligns tensors");
  }
}

bool HasPrefix(std::string_view name, std::span<const std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

// Every tensor of every shard by its full name.
std::map<std::string, TensorView> Gather(const std::vector<SafetensorsFile>& shards) {
  std::map<std::string, TensorView> all;
  for (const SafetensorsFile& shard : shards) {
    for (const auto& [name, tensor] : shard.tensors()) all.emplace(name, tensor);
  }
  return all;
}

// Of weights that others quantised nobody says what they were; what is left of them tells.
DType MainDType(const ModelConfig& config, const std::map<std::string, TensorView>& tensors,
                const std::map<std::string, QuantizedTensor>& quantized) {
  if (config.quantization && config.quantization->method == QuantMethod::kCulet) {
    return config.quantization->source_dtype;
  }
  std::map<DType, std::uint64_t> bytes;
  for (const auto& [name, tensor] : tensors) {
    if (quantized.count(name) == 0) bytes[tensor.dtype] += tensor.bytes.size();
  }
  // Vectors are never quantised, so there is one.
  return std::max_element(bytes.begin(), bytes.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

// What a weight of integers has in the files beside the integers.
std::vector<const TensorView*> Beside(const QuantizedTensor& tensor) {
  std::vector<const TensorView*> tensors = {&tensor.scales};
  for (const TensorView& note : tensor.notes) tensors.push_back(&note);
  return tensors;
}

}  // namespace

Checkpoint Checkpoint::Open(FileSystem& files, const std::filesystem::path& path,
                            const std::vector<ConfigOverride>& overrides) {
  const ModelFiles model = FindModelFiles(files, path);
  Checkpoint result;
  result.folder_ = model.folder;
  result.config_ = LoadModelConfig(files, model.config, overrides);
  result.shards_ = OpenShards(files, model);
  result.warnings_ = model.warnings;
  result.warnings_.insert(result.warnings_.end(), result.config_.warnings.begin(),
                          result.config_.warnings.end());
  const std::map<std::string, TensorView> present = Gather(result.shards_);
  result.Match(present, model);
  return result;
}

// Finds each expected tensor, settles the head, and accounts for every tensor that is there.
void Checkpoint::Match(const std::map<std::string, TensorView>& present, const ModelFiles& model) {
  std::map<std::string, ExpectedTensor> expected;  // by full name, of what is there
  for (ExpectedTensor& tensor : ExpectedTensors(config_)) {
    std::string name = FullTensorName(config_, tensor.name);
    auto found = present.find(name);
    if (found == present.end() && tensor.name == kEmbedding && config_.tie_word_embeddings &&
        present.count(kHead) != 0) {
      // transformers ties the other way round then.
      name = kHead;
      found = present.find(name);
      warnings_.push_back(model.weights.string() + ": has " + name + " and no " +
                          FullTensorName(config_, tensor.name) +
                          "; it serves as embedding and as head (tie_word_embeddings is true)");
    }
    const std::optional<QuantizedTensor> integers = FindQuantized(config_, tensor, name, present);
    if (!integers && found == present.end()) {
      throw Error(ErrorKind::kCorrupt, model.weights.string() + ": tensor " + name +
                                           " is missing; config.json asks " + AskedShape(tensor) +
                                           MissingHint(config_, model, present, tensor));
    }
    if (integers) {
      for (const TensorView* beside : Beside(*integers)) expected.emplace(beside->name, tensor);
      tensors_.emplace(tensor.name, integers->values);
      expected.emplace(integers->values.name, tensor);
      quantized_.emplace(tensor.name, *integers);
      continue;
    }
    CheckTensor(found->second, tensor);
    tensors_.emplace(tensor.name, found->second);
    expected.emplace(name, std::move(tensor));
  }
  main_dtype_ = MainDType(config_, tensors_, quantized_);
  std::map<std::string, ExpectedTensor> media;
  MatchMedia(present, model, &media);
  const bool second_head =
      config_.tie_word_embeddings && present.count(kHead) != 0 && expected.count(kHead) == 0;
  if (second_head) {
    const ExpectedTensor tensor = HeadTensor(config_);
    if (const auto head = FindQuantized(config_, tensor, kHead, present); head) {
      for (const TensorView* beside : Beside(*head)) expected.emplace(beside->name, tensor);
      quantized_.emplace(kHead, *head);
    }
  }
  for (const auto& [name, tensor] : present) {
    if (expected.count(name) != 0 || media.count(name) != 0) continue;
    if (second_head && name == kHead) continue;
    if (!UnusedReason(config_, name).empty()) continue;
    throw Error(ErrorKind::kUnsupported,
                tensor.file->path().string() + ": tensor " + DisplayName(name) + " " +
                    ShapeText(tensor.shape) +
                    " is one that culet does not know for this config; expected no tensor that "
                    "would be left unused. Weights and config are of different models, or the "
                    "model has parts that culet lacks");
  }
  std::string head_reason;
  if (second_head) {
    // The first look at weights, once nothing else is wrong.
    head_reason = SettleTiedHead(present.at(kHead), &expected);
  } else {
    head_is_embedding_ = config_.tie_word_embeddings;
  }

  for (const auto& [name, tensor] : present) {
    Listing listing;
    listing.name = name;
    listing.bytes = tensor.bytes.size();
    listing.parameters = static_cast<std::uint64_t>(tensor.elements());
    const auto used = expected.find(name);
    const auto encoder = media.find(name);
    if (used != expected.end() || encoder != media.end()) {
      const ExpectedTensor& what = used != expected.end() ? used->second : encoder->second;
      if (used == expected.end()) listing.use = TensorUse::kMedia;
      listing.part = what.part;
      if (const QuantizedTensor* integers = quantized(what.name); integers != nullptr) {
        const WeightLayout& layout = integers->layout;
        const auto values = static_cast<std::uint64_t>(layout.n * layout.k);
        listing.parameters = integers->values.name == name ? values : 0;
      }
    } else {
      listing.use = TensorUse::kUnused;
      listing.part = "unused";
      listing.reason = name == kHead ? head_reason : UnusedReason(config_, name);
    }
    listings_.push_back(std::move(listing));
  }
}

// Finds each tensor of one encoder by any of its names into `found`. Returns why the encoder
// cannot be computed with, or nothing.
std::string Checkpoint::MatchEncoder(const std::map<std::string, TensorView>& present,
                                     const ModelFiles& model,
                                     const std::vector<ExpectedTensor>& tensors,
                                     std::span<const std::string_view> prefixes,
                                     EncoderTensors* found) const try {
  for (const ExpectedTensor& tensor : tensors) {
    const std::vector<std::string> names = MediaTensorNames(config_, tensor.name);
    std::optional<QuantizedTensor> integers;
    const auto name = std::find_if(names.begin(), names.end(), [&](const std::string& candidate) {
      integers = FindQuantized(config_, tensor, candidate, present);
      return integers || present.count(candidate) != 0;
    });
    if (name == names.end()) {
      if (tensor.optional) continue;
      return model.weights.string() + ": tensor " + names.front() +
             " is missing; config.json asks " + AskedShape(tensor) +
             ". Weights and config are of different models, or the file is incomplete";
    }
    if (integers) {
      integers->use = TensorUse::kMedia;
      found->expected.emplace(integers->values.name, tensor);
      for (const TensorView* beside : Beside(*integers)) {
        found->expected.emplace(beside->name, tensor);
      }
      found->tensors.emplace(tensor.name, integers->values);
      found->quantized.emplace(tensor.name, *integers);
      continue;
    }
    CheckTensor(present.at(*name), tensor);
    found->expected.emplace(*name, tensor);
    found->tensors.emplace(tensor.name, present.at(*name));
  }
  for (const auto& [name, tensor] : present) {
    if (!HasPrefix(name, prefixes) || found->expected.count(name) != 0) continue;
    return tensor.file->path().string() + ": tensor " + DisplayName(name) + " " +
           ShapeText(tensor.shape) + " is one that culet does not know for this config";
  }
  return "";
} catch (const Error& error) {
  return error.what();
}

// The encoders that are whole join the tensors that are computed with, and `media` by full name. Of
// one that is not, nothing does, and vision_error or audio_error says why.
void Checkpoint::MatchMedia(const std::map<std::string, TensorView>& present,
                            const ModelFiles& model, std::map<std::string, ExpectedTensor>* media) {
  const auto match = [&](const char* key, const std::string& refused, const char* given,
                         const std::vector<ExpectedTensor>& tensors,
                         std::span<const std::string_view> prefixes) -> std::string {
    if (!refused.empty()) return refused;
    if (tensors.empty()) {
      return model.config.string() + ": there is no " + key + ": the model takes no " + given;
    }
    const std::string file = model.weights.string() + ": ";
    const bool any = std::any_of(present.begin(), present.end(), [&](const auto& entry) {
      return HasPrefix(entry.first, prefixes);
    });
    // A checkpoint whose encoder was left out is a text model.
    if (!any) {
      return file + "has no tensor of the " + tensors.front().part + ": it takes no " + given;
    }
    EncoderTensors found;
    const std::string problem = MatchEncoder(present, model, tensors, prefixes, &found);
    if (!problem.empty()) {
      warnings_.push_back(std::string("the model cannot be given ") + given + ": " + problem);
      return problem;
    }
    tensors_.merge(found.tensors);
    quantized_.merge(found.quantized);
    media->merge(found.expected);
    return "";
  };
  vision_error_ = match("vision_config", config_.vision_error, "images or videos",
                        VisionTensors(config_), VisionPrefixes());
  audio_error_ =
      match("audio_config", config_.audio_error, "sounds", AudioTensors(config_), AudioPrefixes());
}

// lm_head.weight beside tied embeddings: unused where equal, used where it differs. Returns why it
// is unused.
std::string Checkpoint::SettleTiedHead(const TensorView& head,
                                       std::map<std::string, ExpectedTensor>* expected) {
  const TensorView& embedding = tensors_.at(kEmbedding);
  ExpectedTensor tensor = HeadTensor(config_);
  const bool integers = quantized(kHead) != nullptr;
  if (!integers) CheckTensor(head, tensor);
  if (!integers && quantized(kEmbedding) == nullptr && EqualTensors(head, embedding)) {
    head_is_embedding_ = true;
    return "equal to the embedding table, which serves as head";
  }
  head_is_embedding_ = false;
  warnings_.push_back(head.file->path().string() + ": " + kHead +
                      " differs from the embedding table although tie_word_embeddings is true; "
                      "lm_head.weight is used as head, as transformers does");
  tensors_.emplace(kHead, head);
  expected->emplace(kHead, std::move(tensor));
  return "";
}

const TensorView& Checkpoint::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw Error(ErrorKind::kInternal,
                folder_.string() + ": no tensor " + name + " was asked for by the tensor table");
  }
  return found->second;
}

bool Checkpoint::has_tensor(const std::string& name) const { return tensors_.count(name) != 0; }

const QuantizedTensor* Checkpoint::quantized(const std::string& name) const {
  const auto found = quantized_.find(name);
  return found == quantized_.end() ? nullptr : &found->second;
}

WeightFormat Checkpoint::main_format() const {
  std::map<WeightFormat, std::int64_t> values;
  for (const auto& [name, integers] : quantized_) {
    if (!IsLookupTable(name)) {
      values[integers.layout.format] += integers.layout.n * integers.layout.k;
    }
  }
  const auto most =
      std::max_element(values.begin(), values.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == values.end() ? WeightFormat::kDense : most->first;
}

std::uint64_t Checkpoint::stored_bytes(const std::string& name) const {
  const QuantizedTensor* integers = quantized(name);
  return integers != nullptr ? integers->bytes() : tensor(name).bytes.size();
}

std::uint64_t Checkpoint::used_bytes(const std::string& name) const {
  const QuantizedTensor* integers = quantized(name);
  if (integers == nullptr) return tensor(name).bytes.size();
  return integers->mapped_bytes() + integers->repacked_bytes();
}

std::uint64_t Checkpoint::repacked_bytes(TensorUse use) const {
  std::uint64_t bytes = 0;
  for (const auto& [name, integers] : quantized_) {
    if (integers.use == use) bytes += integers.repacked_bytes();
  }
  return bytes;
}

}  // namespace culet
