#include "checkpoint/quantization_config.h"

#include <string>
#include <string_view>

#include "base/error.h"

namespace culet {
namespace {

constexpr const char* kPrefix = "quantization_config.";
constexpr const char* kWayOut = ". Use the unquantised checkpoint";

DType SourceDType(const ConfigFields& fields, const std::string& name) {
  if (name == "float32") return DType::kF32;
  if (name == "bfloat16") return DType::kBF16;
  if (name == "float16") return DType::kF16;
  fields.Refuse("source_dtype", "\"float32\", \"bfloat16\" or \"float16\"");
}

QuantizationConfig ReadCulet(ConfigFields& fields) {
  // How the weights were made: for readers, nothing follows from it.
  static constexpr std::string_view kNotes[] = {"quant_method", "recipe", "note"};
  fields.Ignore(kNotes);
  const std::int64_t version = fields.RequiredInt("version", 1, INT32_MAX);
  if (version != kQuantizationVersion) {
    fields.Refuse("version",
                  std::to_string(kQuantizationVersion) +
                      ", as a newer culet made the file: update this one, or quantise again",
                  ErrorKind::kUnsupported);
  }
  QuantizationConfig config;
  config.source_dtype =
      SourceDType(fields, fields.OptionalString("source_dtype").value_or("bfloat16"));
  fields.RefuseUnknown("a quantization_config of culet");
  return config;
}

[[noreturn]] void RefuseScheme(const ConfigFields& fields, const std::string& key,
                               const std::string& expected) {
  fields.Refuse(key, expected + kWayOut, ErrorKind::kUnsupported);
}

// Fields that must say that nothing of the kind is done: null, absent, false, or empty.
void RefuseUnlessOff(ConfigFields& fields, std::string_view key, const std::string& expected) {
  const Json* value = fields.Find(std::string(key));
  if (value == nullptr) return;
  const bool off =
      value->is_boolean() ? !value->get<bool>() : value->is_structured() && value->empty();
  if (off) return;
  RefuseScheme(fields, std::string(key), expected);
}

// One entry of config_groups: what is done to the weights of some modules. Which modules these are
// follows from the tensors.
std::int64_t ReadGroup(const Json& group, const std::string& place, const std::string& name) {
  ConfigFields fields(group, place, name + ".");
  static constexpr std::string_view kModules[] = {"targets"};
  fields.Ignore(kModules);
  if (const auto format = fields.OptionalString("format"); format && *format != "pack-quantized") {
    RefuseScheme(fields, "format", "\"pack-quantized\"");
  }
  for (const char* activations : {"input_activations", "output_activations"}) {
    RefuseUnlessOff(fields, activations, "null: activations that are not quantised");
  }
  const Json* scheme = fields.Find("weights");
  if (scheme == nullptr) RefuseScheme(fields, "weights", "an object with num_bits");
  fields.RefuseUnknown("config_groups of compressed-tensors that culet reads");

  ConfigFields weights(*scheme, place, name + ".weights.");
  // How the scales were found.
  static constexpr std::string_view kNotes[] = {"observer", "observer_kwargs", "scale_dtype",
                                                "zp_dtype"};
  weights.Ignore(kNotes);
  const std::string type = weights.OptionalString("type").value_or("int");
  if (type != "int") RefuseScheme(weights, "type", "\"int\"");
  if (weights.RequiredInt("num_bits", 1, 64) != 4) RefuseScheme(weights, "num_bits", "4");
  if (!weights.Bool("symmetric", true)) {
    RefuseScheme(weights, "symmetric", "true: weights without zero points");
  }
  RefuseUnlessOff(weights, "actorder", "null: columns in their own order");
  RefuseUnlessOff(weights, "dynamic", "false");
  RefuseUnlessOff(weights, "block_structure", "null");
  const std::optional<std::int64_t> size = weights.OptionalInt("group_size", -1, 1 << 20);
  const std::string strategy =
      weights.OptionalString("strategy").value_or(size.value_or(-1) > 0 ? "group" : "channel");
  weights.RefuseUnknown("weights of compressed-tensors that culet reads");
  if (strategy == "channel") return 0;
  if (strategy != "group") RefuseScheme(weights, "strategy", "\"group\" or \"channel\"");
  if (size != 32 && size != 64 && size != 128) {
    RefuseScheme(weights, "group_size", "32, 64 or 128");
  }
  return *size;
}

QuantizationConfig ReadCompressedTensors(ConfigFields& fields) {
  // Which modules are as they were follows from the tensors, and the rest says who wrote the file.
  static constexpr std::string_view kNotes[] = {"quant_method", "ignore", "version",
                                                "quantization_status", "global_compression_ratio"};
  fields.Ignore(kNotes);
  if (fields.OptionalString("format").value_or("") != "pack-quantized") {
    RefuseScheme(fields, "format", "\"pack-quantized\"");
  }
  RefuseUnlessOff(fields, "kv_cache_scheme", "null: culet keeps K and V in a format of its own");
  RefuseUnlessOff(fields, "transform_config", "null or empty: weights that are not transformed");
  if (const Json* sparsity = fields.Find("sparsity_config"); sparsity != nullptr) {
    ConfigFields inner(*sparsity, fields.place(), std::string(kPrefix) + "sparsity_config.");
    static constexpr std::string_view kSparsityNotes[] = {
        "ignore", "targets", "sparsity_structure", "global_sparsity", "registry_requires_subclass"};
    inner.Ignore(kSparsityNotes);
    if (inner.OptionalString("format").value_or("dense") != "dense") {
      RefuseScheme(inner, "format", "\"dense\"");
    }
    inner.RefuseUnknown("sparsity_config of compressed-tensors that culet reads");
  }
  const Json* groups = fields.Find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty()) {
    RefuseScheme(fields, "config_groups", "an object with an entry for each group of modules");
  }
  fields.RefuseUnknown("compressed-tensors in pack-quantized format that culet reads");
  QuantizationConfig config;
  config.method = QuantMethod::kCompressedTensors;
  for (const auto& [name, group] : groups->items()) {
    config.groups.push_back(ReadGroup(group, fields.place(),
                                      std::string(kPrefix) + "config_groups." + DisplayName(name)));
  }
  return config;
}

bool IsBits(const std::optional<std::int64_t>& bits) { return bits == 2 || bits == 4 || bits == 8; }

QuantizationConfig ReadGemma(ConfigFields& fields) {
  // How many bits a module has, and which have none, follows from its tensors.
  static constexpr std::string_view kNotes[] = {"quant_method", "modules_to_not_convert"};
  fields.Ignore(kNotes);
  if (!IsBits(fields.Int("num_bits", 4, 1, 64))) RefuseScheme(fields, "num_bits", "2, 4 or 8");
  QuantizationConfig config;
  config.method = QuantMethod::kGemma;
  config.quantize_embeddings = fields.Bool("quantize_embeddings", false);
  if (const Json* modules = fields.Find("module_quant_configs"); modules != nullptr) {
    if (!modules->is_object()) fields.Refuse("module_quant_configs", "an object");
    for (const auto& [pattern, options] : modules->items()) {
      ConfigFields inner(
          options, fields.place(),
          std::string(kPrefix) + "module_quant_configs." + DisplayName(pattern) + ".");
      if (!IsBits(inner.Int("num_bits", 4, 1, 64))) RefuseScheme(inner, "num_bits", "2, 4 or 8");
      inner.RefuseUnknown("module_quant_configs, which knows num_bits");
    }
  }
  fields.RefuseUnknown("the \"gemma\" method that culet reads");
  return config;
}

}  // namespace

std::optional<QuantizationConfig> ReadQuantization(ConfigFields& outer) {
  const Json* quantization = outer.Find("quantization_config");
  if (quantization == nullptr) return std::nullopt;
  const bool named = quantization->is_object() && quantization->contains("quant_method");
  if (named && (*quantization)["quant_method"].is_string()) {
    ConfigFields fields(*quantization, outer.place(), kPrefix);
    const auto method = (*quantization)["quant_method"].get<std::string>();
    if (method == "culet") return ReadCulet(fields);
    if (method == "compressed-tensors") return ReadCompressedTensors(fields);
    if (method == "gemma") return ReadGemma(fields);
  }
  throw Error(ErrorKind::kUnsupported,
              outer.Name("quantization_config") + " has " +
                  (named ? "quant_method " + JsonExcerpt((*quantization)["quant_method"])
                         : std::string("no quant_method")) +
                  "; culet reads f32, bf16 and f16 weights, integers that `culet quantize` made of "
                  "them, \"compressed-tensors\" and \"gemma\"" +
                  kWayOut);
}

}  // namespace culet
