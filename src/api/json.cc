// Structs of the interface as JSON text, and options from it.
#include "culet/json.h"

#include <array>
#include <cstdio>
#include <functional>
#include <optional>

#include "api/boundary.h"
#include "base/error.h"
#include "base/json.h"
#include "checkpoint/config_fields.h"

namespace culet {
namespace {

// ---- structs to text ----

double PerSecond(std::int64_t count, double ms) {
  return ms > 0 ? static_cast<double>(count) * 1000.0 / ms : 0.0;
}

OrderedJson PartsJson(const std::vector<PartSize>& parts) {
  OrderedJson list = OrderedJson::array();
  for (const PartSize& part : parts) {
    list.push_back({{"part", part.part}, {"parameters", part.parameters}, {"bytes", part.bytes}});
  }
  return list;
}

OrderedJson UnusedJson(const std::vector<std::pair<std::string, std::string>>& unused) {
  OrderedJson list = OrderedJson::array();
  for (const auto& [tensor, reason] : unused) {
    list.push_back({{"tensor", tensor}, {"reason", reason}});
  }
  return list;
}

std::string CallsText(const std::vector<CalledTool>& calls) {
  std::string text = "[";
  for (const CalledTool& call : calls) {
    if (text.size() > 1) text += ",";
    text += ToJson(call);
  }
  return text + "]";
}

OrderedJson TokenLogprobJson(const TokenLogprob& token) {
  return {{"id", token.id}, {"text", token.text}, {"logprob", token.logprob}};
}

OrderedJson LogprobsJson(const std::vector<StepLogprobs>& steps) {
  OrderedJson list = OrderedJson::array();
  for (const StepLogprobs& step : steps) {
    OrderedJson item = TokenLogprobJson(step.chosen);
    OrderedJson top = OrderedJson::array();
    for (const TokenLogprob& token : step.top) top.push_back(TokenLogprobJson(token));
    item["top"] = top;
    list.push_back(item);
  }
  return list;
}

OrderedJson TimingsJson(const GenerateResult& result,
                        const std::vector<std::pair<std::string, double>>& more) {
  // The first token belongs to the prefill.
  const std::int64_t decoded = result.completion_tokens > 0 ? result.completion_tokens - 1 : 0;
  OrderedJson timings = OrderedJson::object();
  for (const auto& [name, value] : more) timings[name] = value;
  timings["prefill_ms"] = result.prefill_ms;
  timings["decode_ms"] = result.decode_ms;
  timings["prefill_tokens_per_s"] = PerSecond(result.computed_tokens, result.prefill_ms);
  timings["decode_tokens_per_s"] = PerSecond(decoded, result.decode_ms);
  return timings;
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
  fields.Refuse("kv", "\"auto\", \"f32\" or \"bf16\"");
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
  return JsonText(OrderedJson{
      {"path", info.path},
      {"variant", info.variant},
      {"model_type", info.model_type},
      {"dtype", info.dtype},
      {"layers", info.layers},
      {"sliding_layers", info.sliding_layers},
      {"full_layers", info.full_layers},
      {"shared_kv_layers", info.shared_kv_layers},
      {"hidden", info.hidden},
      {"vocab", info.vocab},
      {"heads", info.heads},
      {"window", info.window},
      {"max_positions", info.max_positions},
      {"ple_width", info.ple_width},
      {"sliding_head_dim", info.sliding_head_dim},
      {"sliding_kv_heads", info.sliding_kv_heads},
      {"full_head_dim", info.full_head_dim},
      {"full_kv_heads", info.full_kv_heads},
      {"intermediate", info.intermediate},
      {"widest_intermediate", info.widest_intermediate},
      {"experts", info.experts},
      {"experts_per_token", info.experts_per_token},
      {"expert_intermediate", info.expert_intermediate},
      {"k_eq_v", info.k_eq_v},
      {"tied_head", info.tied_head},
      {"vision_tower", info.vision_tower},
      {"audio_tower", info.audio_tower},
      {"parts", PartsJson(info.parts)},
      {"parameters", info.parameters},
      {"weight_bytes", info.weight_bytes},
      {"unused_bytes", info.unused_bytes},
      {"unused", UnusedJson(info.unused)},
      {"bytes_per_token", info.bytes_per_token},
      {"rows_read_bytes", info.rows_read_bytes},
      {"sliding_kv_bytes_per_token", info.sliding_kv_bytes_per_token},
      {"full_kv_bytes_per_token", info.full_kv_bytes_per_token},
      {"macs_per_prompt_token", info.macs_per_prompt_token},
      {"macs_per_decoded_token", info.macs_per_decoded_token},
      {"context", info.context},
      {"chunk", info.chunk},
      {"sequences", info.sequences},
      {"pool_tokens", info.pool_tokens},
      {"kv_dtype", info.kv_dtype},
      {"kv_bytes", info.kv_bytes},
      {"activation_bytes", info.activation_bytes},
      {"resident_bytes", info.resident_bytes},
      {"cpu_model", info.cpu_model},
      {"cpu_level", info.cpu_level},
      {"threads", info.threads},
      {"has_chat_template", info.has_chat_template},
      {"warnings", info.warnings},
  });
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const ModelDefaults& defaults) try {
  return JsonText(OrderedJson{
      {"stop_tokens", defaults.stop_tokens},
      {"stop_texts", defaults.stop_texts},
      {"suppress_tokens", defaults.suppress_tokens},
      {"do_sample", defaults.do_sample},
      {"temperature", defaults.temperature},
      {"top_k", defaults.top_k},
      {"top_p", defaults.top_p},
      {"min_p", defaults.min_p},
      {"repetition_penalty", defaults.repetition_penalty},
      {"max_new_tokens", defaults.max_new_tokens},
  });
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const ModelStatistics& statistics) try {
  return JsonText(OrderedJson{
      {"steps", statistics.steps},
      {"rows", statistics.rows},
      {"answers", statistics.answers},
      {"preemptions", statistics.preemptions},
      {"prompt_tokens", statistics.prompt_tokens},
      {"shared_tokens", statistics.shared_tokens},
  });
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const MachineInfo& machine) try {
  OrderedJson levels = OrderedJson::array();
  for (const KernelLevel& level : machine.levels) {
    levels.push_back({{"name", level.name}, {"available", level.available}});
  }
  return JsonText(OrderedJson{
      {"cpu_model", machine.cpu_model},
      {"threads", machine.threads},
      {"levels", levels},
      {"level", machine.level},
      {"level_forced", machine.level_forced},
      {"memory_bytes", machine.memory_bytes},
      {"free_bytes", machine.free_bytes},
  });
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
  object.AddText("tool_calls", CallsText(answer.tool_calls));
  return object.Text();
} catch (...) {
  RethrowAsError();
}

std::string ToJson(const GenerateResult& result,
                   const std::vector<std::pair<std::string, double>>& more_timings) try {
  JsonObject object;
  object.Add("text", result.text);
  object.Add("thinking", result.thinking);
  object.AddText("tool_calls", CallsText(result.tool_calls));
  object.Add("finish_reason", std::string(FinishReasonName(result.finish_reason)));
  object.Add("usage", {{"prompt_tokens", result.prompt_tokens},
                       {"cached_tokens", result.cached_tokens},
                       {"computed_tokens", result.computed_tokens},
                       {"completion_tokens", result.completion_tokens}});
  object.Add("timings", TimingsJson(result, more_timings));
  object.Add("tokens", result.tokens);
  if (!result.logprobs.empty()) object.Add("logprobs", LogprobsJson(result.logprobs));
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
