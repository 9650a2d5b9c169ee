#include "base/config_fields.h"

#include <cmath>
#include <utility>

namespace culet {
namespace {

// What transformers writes into every config, and what says nothing about a model's shape.
// `dtype` among them: each tensor's own dtype counts.
constexpr std::string_view kHarmless[] = {"_name_or_path",
                                          "architectures",
                                          "attention_dropout",
                                          "chunk_size_feed_forward",
                                          "dtype",
                                          "finetuning_task",
                                          "id2label",
                                          "initializer_range",
                                          "label2id",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "problem_type",
                                          "return_dict",
                                          "sep_token_id",
                                          "tokenizer_class",
                                          "torch_dtype",
                                          "torchscript",
                                          "transformers_version",
                                          "unsloth_fixed",
                                          "unsloth_version",
                                          "use_cache",
                                          "_attn_implementation",
                                          "_attn_implementation_autoset",
                                          "tf_legacy_loss"};

std::string Range(std::int64_t min, std::int64_t max) {
  return "an integer from " + std::to_string(min) + " to " + std::to_string(max);
}

// As JSON writes numbers: 1e-06, 0.25.
std::string NumberText(double value) { return JsonExcerpt(Json(value)); }

}  // namespace

std::optional<std::int64_t> JsonInt(const Json& value, std::int64_t min, std::int64_t max) {
  if (!value.is_number_integer()) return std::nullopt;
  // Values of 2^63 and more are unsigned in the parser; a plain get would wrap them.
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
    return std::nullopt;
  }
  const std::int64_t number = value.get<std::int64_t>();
  if (number < min || number > max) return std::nullopt;
  return number;
}

std::string DisplayName(std::string_view name) {
  bool plain = !name.empty() && name.size() <= 200;
  for (const char c : name) plain = plain && static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  return plain ? std::string(name) : JsonExcerpt(Json(std::string(name)), 200);
}

ConfigFields::ConfigFields(const Json& object, std::string place, std::string prefix)
    : object_(object), place_(std::move(place)), prefix_(std::move(prefix)) {
  if (object_.is_object()) return;
  const std::string name =
      prefix_.empty() ? "the whole file" : prefix_.substr(0, prefix_.size() - 1);
  throw Error(ErrorKind::kCorrupt,
              place_ + ": " + name + " is " + JsonTypeName(object_) + "; expected an object");
}

std::string ConfigFields::Name(const std::string& key) const {
  return place_ + ": " + prefix_ + DisplayName(key);
}

const Json* ConfigFields::FindOrNull(const std::string& key) {
  read_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

const Json* ConfigFields::Find(const std::string& key) {
  const Json* value = FindOrNull(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void ConfigFields::Refuse(const std::string& key, const std::string& expected,
                          ErrorKind kind) const {
  const auto found = object_.find(key);
  const std::string what = found == object_.end() ? "missing" : JsonExcerpt(*found);
  throw Error(kind, Name(key) + " is " + what + "; expected " + expected);
}

std::optional<std::int64_t> ConfigFields::OptionalInt(const std::string& key, std::int64_t min,
                                                      std::int64_t max) {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<std::int64_t> number = JsonInt(*value, min, max);
  if (!number) Refuse(key, Range(min, max));
  return number;
}

std::int64_t ConfigFields::RequiredInt(const std::string& key, std::int64_t min, std::int64_t max) {
  const std::optional<std::int64_t> number = OptionalInt(key, min, max);
  if (!number) Refuse(key, Range(min, max));
  return *number;
}

std::int64_t ConfigFields::Int(const std::string& key, std::int64_t fallback, std::int64_t min,
                               std::int64_t max) {
  return OptionalInt(key, min, max).value_or(fallback);
}

bool ConfigFields::Bool(const std::string& key, bool fallback) {
  const Json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) Refuse(key, "true or false");
  return value->get<bool>();
}

std::optional<std::string> ConfigFields::OptionalString(const std::string& key) {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) Refuse(key, "a string");
  return value->get<std::string>();
}

std::optional<double> ConfigFields::OptionalNumber(const std::string& key, double min, double max) {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : NAN;
  // Written so that NaN is refused too.
  if (!(number >= min && number <= max)) {
    Refuse(key, "a number from " + NumberText(min) + " to " + NumberText(max));
  }
  return number;
}

double ConfigFields::Number(const std::string& key, double fallback, double min, double max) {
  return OptionalNumber(key, min, max).value_or(fallback);
}

void ConfigFields::Ignore(std::span<const std::string_view> keys) {
  for (const std::string_view key : keys) read_.emplace(key);
}

void ConfigFields::RefuseUnknown(const std::string& what) const {
  for (const auto& [key, value] : object_.items()) {
    // Older copies of configs carry keys that nobody uses, with null values.
    if (value.is_null() || read_.count(key) != 0) continue;
    throw Error(ErrorKind::kUnsupported,
                Name(key) + " is " + JsonExcerpt(value) + "; culet knows no such field of " + what +
                    " and does not guess what it would change. If it has no effect, remove it or "
                    "set it to null");
  }
}

void RefuseSwitches(ConfigFields& fields) {
  for (const char* key : {"is_encoder_decoder", "is_decoder", "add_cross_attention",
                          "tie_encoder_decoder", "use_bfloat16"}) {
    if (fields.Bool(key, false)) fields.Refuse(key, "false", ErrorKind::kUnsupported);
  }
}

std::span<const std::string_view> HarmlessFields() { return kHarmless; }

}  // namespace culet
