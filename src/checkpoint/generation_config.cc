#include "checkpoint/generation_config.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/config_fields.h"
#include "base/error.h"

namespace culet {
namespace {

constexpr std::uint64_t kMaxFileBytes = 1 << 20;
constexpr std::int64_t kMaxToken = (1 << 22) - 1;
constexpr std::size_t kMaxTokens = 65536;
// Each is looked for in every piece of an answer.
constexpr std::size_t kMaxStopStrings = 256;
// transformers' own default where do_sample is on and the file is silent.
constexpr std::int64_t kDefaultTopK = 50;

// What does not change the tokens that culet generates: how the reference caches, compiles, drafts
// (its drafts change speed alone) and reports; limits on prompt plus answer, which --context
// replaces.
constexpr std::string_view kHarmless[] = {"_from_model_config",
                                          "assistant_confidence_threshold",
                                          "assistant_early_exit",
                                          "assistant_lookbehind",
                                          "bos_token_id",
                                          "cache_config",
                                          "cache_implementation",
                                          "compile_config",
                                          "continuous_batching_config",
                                          "decoder_start_token_id",
                                          "disable_compile",
                                          "early_stopping",
                                          "is_assistant",
                                          "length_penalty",
                                          "low_memory",
                                          "max_cache_len",
                                          "max_length",
                                          "max_matching_ngram_size",
                                          "num_assistant_tokens",
                                          "num_assistant_tokens_schedule",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "output_logits",
                                          "output_scores",
                                          "pad_token_id",
                                          "prefill_chunk_size",
                                          "prompt_lookup_num_tokens",
                                          "remove_invalid_values",
                                          "renormalize_logits",
                                          "return_dict_in_generate",
                                          "speculation_type",
                                          "target_lookbehind",
                                          "transformers_version",
                                          "use_cache",
                                          "use_mtp"};

// A field that culet does not do, and the values that turn it off.
struct Off {
  const char* key;
  double number;  // or an empty array, false, null
};
constexpr Off kNotDone[] = {
    {"num_beams", 1},
    {"num_beam_groups", 1},
    {"num_return_sequences", 1},
    {"diversity_penalty", 0},
    {"typical_p", 1},
    {"top_h", 1},
    {"epsilon_cutoff", 0},
    {"eta_cutoff", 0},
    {"penalty_alpha", 0},
    {"encoder_repetition_penalty", 1},
    {"no_repeat_ngram_size", 0},
    {"encoder_no_repeat_ngram_size", 0},
    {"min_length", 0},
    {"min_new_tokens", 0},
    {"guidance_scale", 1},
    {"max_time", 0},
    {"token_healing", 0},
    {"bad_words_ids", 0},
    {"force_words_ids", 0},
    {"constraints", 0},
    {"forced_bos_token_id", -1},
    {"forced_eos_token_id", -1},
    {"begin_suppress_tokens", 0},
    {"sequence_bias", 0},
    {"exponential_decay_length_penalty", 0},
    {"watermarking_config", 0},
    {"dola_layers", 0},
    {"assistant_ensemble_weight", 0},
};

bool IsOff(const Json& value, double off) {
  if (value.is_number()) return value.get<double>() == off;
  if (value.is_boolean()) return !value.get<bool>();
  return (value.is_array() || value.is_object()) && value.empty();
}

// One id or a list of ids.
std::optional<std::vector<std::int32_t>> ReadTokens(ConfigFields& fields, const std::string& key) {
  const Json* value = fields.Find(key);
  if (value == nullptr) return std::nullopt;
  const Json list = value->is_array() ? *value : Json::array({*value});
  std::vector<std::int32_t> tokens;
  for (const Json& item : list) {
    const std::optional<std::int64_t> token = JsonInt(item, 0, kMaxToken);
    if (!token || list.size() > kMaxTokens) {
      fields.Refuse(key, "at most " + std::to_string(kMaxTokens) + " token ids from 0 to " +
                             std::to_string(kMaxToken));
    }
    tokens.push_back(static_cast<std::int32_t>(*token));
  }
  return tokens;
}

std::vector<std::string> ReadStrings(ConfigFields& fields, const std::string& key) {
  const Json* value = fields.Find(key);
  if (value == nullptr) return {};
  const Json list = value->is_array() ? *value : Json::array({*value});
  std::vector<std::string> strings;
  if (list.size() > kMaxStopStrings) {
    fields.Refuse(key, "at most " + std::to_string(kMaxStopStrings) + " strings");
  }
  for (const Json& item : list) {
    if (!item.is_string() || item.get_ref<const std::string&>().empty()) {
      fields.Refuse(key, "a string or a list of strings, none of them empty");
    }
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

}  // namespace

GenerationConfig ParseGenerationConfig(const Json& json, const std::string& place) {
  ConfigFields fields(json, place, "");
  GenerationConfig config;
  if (const auto stop = ReadTokens(fields, "eos_token_id")) config.stop_tokens = *stop;
  if (const auto suppress = ReadTokens(fields, "suppress_tokens")) {
    config.suppress_tokens = *suppress;
  }
  if (fields.Find("eos_token_id") != nullptr) {
    for (const std::int32_t token : config.stop_tokens) {
      config.largest_token = std::max(config.largest_token, token);
    }
  }
  for (const std::int32_t token : config.suppress_tokens) {
    config.largest_token = std::max(config.largest_token, token);
  }
  config.stop_strings = ReadStrings(fields, "stop_strings");
  config.do_sample = fields.Bool("do_sample", false);
  config.temperature = fields.Number("temperature", 1.0, 0.0, 100.0);
  config.top_k = fields.Int("top_k", config.do_sample ? kDefaultTopK : 0, 0, kMaxToken + 1);
  config.top_p = fields.Number("top_p", 1.0, 0.0, 1.0);
  config.min_p = fields.Number("min_p", 0.0, 0.0, 1.0);
  config.repetition_penalty = fields.Number("repetition_penalty", 1.0, 0.01, 100.0);
  config.max_new_tokens = fields.Int("max_new_tokens", 0, 1, 1 << 24);
  for (const Off& field : kNotDone) {
    const Json* value = fields.Find(field.key);
    if (value == nullptr || IsOff(*value, field.number)) continue;
    fields.Refuse(
        field.key,
        "null or the value that turns it off: culet does not do it, and the answers would "
        "differ. Remove the field to do without",
        ErrorKind::kUnsupported);
  }
  fields.Ignore(kHarmless);
  fields.RefuseUnknown("a generation config");
  return config;
}

GenerationConfig LoadGenerationConfig(FileSystem& files, const std::filesystem::path& path) {
  if (!files.Exists(path)) return {};
  const std::string place = path.string();
  return ParseGenerationConfig(ParseJson(files.ReadFile(path, kMaxFileBytes), place), place);
}

}  // namespace culet
