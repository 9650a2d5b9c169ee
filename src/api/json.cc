// Structs of the interface as JSON text, and options from it.
#include "culet/json.h"

#include <array>
#include <cstdio>
#include <functional>
#include <optional>

#include "api/boundary.h"
#include "base/config_fields.h"
#include "base/error.h"
#include "base/json.h"

namespace culet {
namespace {

// ---- structs to text ----
//
// Member by member: a value that the library builds of a whole list of them is lost where memory
// runs out half way.

double PerSecond(std::int64_t count, double ms) {
  return ms > 0 ? static_cast<double>(count) * 1000.0 / ms : 0.0;
}

// A list of what `write` makes of each item.
template <typename Items, typename Write>
std::string ListText(const Items& items, const Write& write) {
  std::string text = "[";
  for (const auto& item : items) {
    if (text.size() > 1) text += ",";
    text += write(item);
  }
  return text + "]";
}

std::string PartText(const PartSize& part) {
  JsonObject object;
  object.Add("part", part.part);
  object.Add("parameters", part.parameters);
  object.Add("bytes", part.bytes);
  return object.Text();
}

std::string UnusedText(const std::pair<std::string, std::string>& unused) {
  JsonObject object;
  object.Add("tensor", unused.first);
  object.Add("reason", unused.second);
  return object.Text();
}

std::string LevelText(const KernelLevel& level) {
  JsonObject object;
  object.Add("name", level.name);
  object.Add("available", level.available);
  object.Add("proven", level.proven);
  return object.Text();
}

std::string CallText(const CalledTool& call) { return ToJson(call); }

JsonObject TokenObject(const TokenLogprob& token) {
  JsonObject object;
  object.Add("id", token.id);
  object.Add("text", token.text);
  object.Add("logprob", token.logprob);
  return object;
}

std::string StepText(const StepLogprobs& step) {
  JsonObject object = TokenObject(step.chosen);
  object.AddText("top", ListText(step.top, [](const TokenLogprob& token) {
                   return TokenObject(token).Text();
                 }));
  return object.Text();
}

std::string UsageText(const GenerateResult& result) {
  JsonObject object;
  object.Add("prompt_tokens", result.prompt_tokens);
  object.Add("cached_tokens", result.cached_tokens);
  object.Add("computed_tokens", result.computed_tokens);
  object.Add("completion_tokens", result.completion_tokens);
  return object.Text();
}

std::string TimingsText(const GenerateResult& result,
                        const std::vector<std::pair<std::string, double>>& more) {
  // The first token belongs to the prefill.
  const std::int64_t decoded = result.completion_tokens > 0 ? result.completion_tokens - 1 : 0;
  JsonObject object;
  for (const auto& [name, value] : more) object.Add(name, value);
  object.Add("prefill_ms", result.prefill_ms);
  object.Add("decode_ms", result.decode_ms);
  object.Add("prefill_tokens_per_s", PerSecond(result.computed_tokens, result.prefill_ms));
  object.Add("decode_tokens_per_s", PerSecond(decoded, result.decode_ms));
  return object.Text();
}

// 64 bits are more than most readers' numbers have.
std::string HashText(std::uint64_t hash) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

// ---- text to options ----

// JSON's numbers are exact up to here in every language.
constexpr std::int64_t kMost = std::int64_t{1} << 53;

// Reads an object's fields by `read`; what is wrong with them is the caller's fault, not a file's.
void ReadOptions(std::string_view json, const std::string& place, const std::string& what,
                 const std::function<void(ConfigFields&)>& read) {
  if (json.find_first_not_of(" \t\r\n") == std::string_view::npos) return;
  try {
    const Json object = ParseJson(json, place);
    if (!object.is_object()) {
      throw Error(ErrorKind::kInvalidArgument,
                  place + ": is " + JsonTypeName(object) + "; expected an object of " + what);
    }
    ConfigFields fields(object, place, "");
    read(fields);
    fields.RefuseUnknown(what);
  } catch (const Error& error) {
    throw Error(ErrorKind::kInvalidArgument, error.what());
  }
}

std::int64_t ReadInt(ConfigFields& fields, const std::string& key, std::int64_t fallback) {
  return fields.Int(key, fallback, 0, kMost);
}

int ReadSmallInt(ConfigFields& fields, const std::string& key, int fallback) {
  return static_cast<int>(fields.Int(key, fallback, 0, 1 << 30));
}

std::optional<double> ReadNumber(ConfigFields& fields, const std::string& key) {
  return fields.OptionalNumber(key, 0, 1e9);
}

std::optional<std::uint64_t> ReadSeed(ConfigFields& fields) {
  const Json* value = fields.Find("seed");
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_unsigned()) {
    fields.Refuse("seed", "an integer from 0 to 18446744073709551615");
  }
  return value->get<std::uint64_t>();
}

std::vector<std::string> ReadTexts(ConfigFields& fields, const std::string& key) {
  const Json* value = fields.Find(key);
  if (value == nullptr) return {};
  const Json list = value->is_array() ? *value : Json::array({*value});
  std::vector<std::string> texts;
  for (const Json& item : list) {
    if (!item.is_string()) fields.Refuse(key, "a text or a list of texts");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

KvType ReadKv(ConfigFields& fields) {
  const std::string name = fields.OptionalString("kv").value_or("auto");
  if (name == "auto") return KvType::kAuto;
  if (name == "f32") return KvType::kF32;
  if (name == "bf16") return KvType::kBf16;
  if (name == "int8") return KvType::kInt8;
  fields.Refuse("kv", "\"auto\", \"f32\", \"bf16\" or \"int8\"");
}

std::vector<std::pair<std::string, std::string>> ReadOverrides(ConfigFields& fields) {
  const Json* value = fields.Find("overrides");
  if (value == nullptr) return {};
  if (!value->is_object()) fields.Refuse("overrides", "an object of config.json's keys and values");
  std::vector<std::pair<std::string, std::string>> overrides;
  for (const auto& [key, item] : value->items()) overrides.emplace_back(key, item.dump());
  return overrides;
}

}  // namespace

std::string ToJson(const ModelInfo& info) try {
  JsonObject object;
  object.Add("path", info.path);
  object.Add("variant", info.variant);
  object.Add("model_type", info.model_type);
  object.Add("dtype", info.dtype);
  object.Add("layers", info.layers);
  object.Add("sliding_layers", info.sliding_layers);
  object.Add("full_layers", info.full_layers);
  object.Add("shared_kv_layers", info.shared_kv_layers);
  object.Add("hidden", info.hidden);
  object.Add("vocab", info.vocab);
  object.Add("heads", info.heads);
  object.Add("window", info.window);
  object.Add("max_positions", info.max_positions);
  object.Add("ple_width", info.ple_width);
  object.Add("sliding_head_dim", info.sliding_head_dim);
  object.Add("sliding_kv_heads", info.sliding_kv_heads);
  object.Add("full_head_dim", info.full_head_dim);
  object.Add("full_kv_heads", info.full_kv_heads);
  object.Add("intermediate", info.intermediate);
  object.Add("widest_intermediate", info.widest_intermediate);
  object.Add("experts", info.experts);
  object.Add("experts_per_token", info.experts_per_token);
  object.Add("expert_intermediate", info.expert_intermediate);
  object.Add("k_eq_v", info.k_eq_v);
  object.Add("tied_head", info.tied_head);
  object.Add("vision_tower", info.vision_tower);
  object.Add("audio_tower", info.audio_tower);
  object.Add("inputs", info.inputs);
  object.AddText("parts", ListText(info.parts, PartText));
  object.Add("parameters", info.parameters);
  object.Add("weight_bytes", info.weight_bytes);
  object.Add("unused_bytes", info.unused_bytes);
  object.AddText("unused", ListText(info.unused, UnusedText));
  object.Add("bytes_per_token", info.bytes_per_token);
  object.Add("rows_read_bytes", info.rows_read_bytes);
  object.Add("sliding_kv_bytes_per_token", info.sliding_kv_bytes_per_token);
  object.Add("full_kv_bytes_per_token", info.full_kv_bytes_per_token);
  object.Add("macs_per_prompt_token", info.macs_per_prompt_token);
  object.Add("macs_per_decoded_token", info.macs_per_decoded_token);
  object.Add("context", info.context);
  object.Add("chunk", info.chunk);
  object.Add("sequences", info.sequences);
  object.Add("pool_tokens", info.pool_tokens);
  object.Add("kv_dtype", info.kv_dtype);
  object.Add("kv_bytes", info.kv_bytes);
  object.Add("activation_bytes", info.activation_bytes);
  object.Add("resident_bytes", info.resident_bytes);
  object.Add("media_bytes", info.media_bytes);
  object.Add("cpu_model", info.cpu_model);
  object.Add("cpu_level", info.cpu_level);
  object.Add("threads", info.threads);
  object.Add("has_chat_template", info.has_chat_template);
  object.Add("warnings", info.warnings);
  return object.Text();
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const ModelDefaults& defaults) try {
  JsonObject object;
  object.Add("stop_tokens", defaults.stop_tokens);
  object.Add("stop_texts", defaults.stop_texts);
  object.Add("suppress_tokens", defaults.suppress_tokens);
  object.Add("do_sample", defaults.do_sample);
  object.Add("temperature", defaults.temperature);
  object.Add("top_k", defaults.top_k);
  object.Add("top_p", defaults.top_p);
  object.Add("min_p", defaults.min_p);
  object.Add("repetition_penalty", defaults.repetition_penalty);
  object.Add("max_new_tokens", defaults.max_new_tokens);
  return object.Text();
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const ModelStatistics& statistics) try {
  JsonObject object;
  object.Add("steps", statistics.steps);
  object.Add("rows", statistics.rows);
  object.Add("answers", statistics.answers);
  object.Add("texts", statistics.texts);
  object.Add("preemptions", statistics.preemptions);
  object.Add("prompt_tokens", statistics.prompt_tokens);
  object.Add("shared_tokens", statistics.shared_tokens);
  return object.Text();
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const MachineInfo& machine) try {
  JsonObject object;
  object.Add("cpu_model", machine.cpu_model);
  object.Add("threads", machine.threads);
  object.AddText("levels", ListText(machine.levels, LevelText));
  object.Add("level", machine.level);
  object.Add("level_forced", machine.level_forced);
  object.Add("memory_bytes", machine.memory_bytes);
  object.Add("free_bytes", machine.free_bytes);
  return object.Text();
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const CalledTool& call) try {
  JsonObject object;
  object.Add("name", call.name);
  object.AddText("arguments", call.arguments_json);
  return object.Text();
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const ParsedAnswer& answer) try {
  JsonObject object;
  object.Add("thinking", answer.thinking);
  object.Add("content", answer.content);
  object.AddText("tool_calls", ListText(answer.tool_calls, CallText));
  return object.Text();
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const GenerateResult& result,
                   const std::vector<std::pair<std::string, double>>& more_timings) try {
  JsonObject object;
  object.Add("text", result.text);
  object.Add("thinking", result.thinking);
  object.AddText("tool_calls", ListText(result.tool_calls, CallText));
  object.Add("finish_reason", std::string(FinishReasonName(result.finish_reason)));
  object.AddText("usage", UsageText(result));
  object.AddText("timings", TimingsText(result, more_timings));
  object.Add("tokens", result.tokens);
  if (!result.logprobs.empty()) object.AddText("logprobs", ListText(result.logprobs, StepText));
  object.Add("seed", result.seed);
  object.Add("logits_hash", HashText(result.logits_hash));
  return object.Text();
} catch (...) {
  RethrowAsError();
}

LoadOptions ParseLoadOptions(std::string_view json, const std::string& place) try {
  LoadOptions options;
  ReadOptions(json, place, "load options", [&](ConfigFields& fields) {
    options.threads = ReadSmallInt(fields, "threads", options.threads);
    options.context = ReadInt(fields, "context", options.context);
    options.chunk = ReadInt(fields, "chunk", options.chunk);
    options.image_tokens = fields.OptionalInt("image_tokens", 1, kMost);
    options.sequences = ReadSmallInt(fields, "sequences", options.sequences);
    options.pool_tokens = ReadInt(fields, "pool_tokens", options.pool_tokens);
    options.prefix_tokens = fields.OptionalInt("prefix_tokens", 0, kMost);
    options.prompt_rows_beside_decoding =
        ReadInt(fields, "prompt_rows_beside_decoding", options.prompt_rows_beside_decoding);
    options.queue = ReadInt(fields, "queue", options.queue);
    options.kv = ReadKv(fields);
    options.rewind_tokens = ReadInt(fields, "rewind_tokens", options.rewind_tokens);
    options.tokenizer = fields.OptionalString("tokenizer").value_or("");
    options.allow_control_tokens = fields.Bool("allow_control_tokens", false);
    options.overrides = ReadOverrides(fields);
    options.cpu = fields.OptionalString("cpu").value_or("");
    options.quant = fields.OptionalString("quant").value_or("");
  });
  return options;
} catch (...) {
  RethrowAsError();
}

GenerateOptions ParseGenerateOptions(std::string_view json, const std::string& place) try {
  GenerateOptions options;
  ReadOptions(json, place, "generate options", [&](ConfigFields& fields) {
    options.max_tokens = fields.OptionalInt("max_tokens", 0, kMost);
    options.temperature = ReadNumber(fields, "temperature");
    options.top_k = fields.OptionalInt("top_k", 0, kMost);
    options.top_p = ReadNumber(fields, "top_p");
    options.min_p = ReadNumber(fields, "min_p");
    options.repetition_penalty = ReadNumber(fields, "repetition_penalty");
    options.seed = ReadSeed(fields);
    options.stop = ReadTexts(fields, "stop");
    options.logprobs = ReadSmallInt(fields, "logprobs", options.logprobs);
    options.ignore_stop_tokens = fields.Bool("ignore_stop_tokens", options.ignore_stop_tokens);
    options.timeout_s = ReadNumber(fields, "timeout_s");
  });
  return options;
} catch (...) {
  RethrowAsError();
}

TextProcessor::Options ParseTextOptions(std::string_view json, const std::string& place) try {
  TextProcessor::Options options;
  ReadOptions(json, place, "text options", [&](ConfigFields& fields) {
    options.tokenizer = fields.OptionalString("tokenizer").value_or("");
    options.allow_control_tokens =
        fields.Bool("allow_control_tokens", options.allow_control_tokens);
  });
  return options;
} catch (...) {
  RethrowAsError();
}

EmbedOptions ParseEmbedOptions(std::string_view json, const std::string& place) try {
  EmbedOptions options;
  ReadOptions(json, place, "embed options", [&](ConfigFields& fields) {
    const std::string pooling = fields.OptionalString("pooling").value_or("mean");
    if (pooling != "mean" && pooling != "last") fields.Refuse("pooling", "\"mean\" or \"last\"");
    options.pooling = pooling == "mean" ? Pooling::kMean : Pooling::kLast;
    options.dimensions = ReadInt(fields, "dimensions", options.dimensions);
    options.normalize = fields.Bool("normalize", options.normalize);
    if (fields.Find("bos") != nullptr) options.bos = fields.Bool("bos", false);
    options.first_text = ReadInt(fields, "first_text", options.first_text);
  });
  return options;
} catch (...) {
  RethrowAsError();
}

PullSettings ParsePullSettings(std::string_view json, const std::string& place) try {
  PullSettings settings;
  ReadOptions(json, place, "pull settings", [&](ConfigFields& fields) {
    settings.offline = fields.Bool("offline", settings.offline);
    settings.connections = ReadSmallInt(fields, "connections", settings.connections);
  });
  return settings;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
