// Fails where options from JSON set another field than they name or let a mistake pass, or where a
// struct as JSON says something else than the struct.
#include "culet/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "culet/error.h"

namespace culet {
namespace {

using ::testing::HasSubstr;

template <typename Parse>
std::string MessageOf(const Parse& parse) {
  try {
    parse();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

std::string LoadError(const std::string& json) {
  return MessageOf([&] { ParseLoadOptions(json, "the options"); });
}
std::string GenerateError(const std::string& json) {
  return MessageOf([&] { ParseGenerateOptions(json, "the options"); });
}

TEST(OptionsFromJson, NothingLeavesTheDefaults) {
  for (const char* json : {"", " \n", "{}", R"({"context": null, "kv": null})"}) {
    const LoadOptions options = ParseLoadOptions(json, "the options");
    EXPECT_EQ(options.context, LoadOptions().context);
    EXPECT_EQ(options.chunk, LoadOptions().chunk);
    EXPECT_EQ(options.queue, LoadOptions().queue);
    EXPECT_EQ(options.prefix_tokens, std::nullopt);
    EXPECT_EQ(options.kv, KvType::kAuto);
  }
  const GenerateOptions options = ParseGenerateOptions("{}", "the options");
  EXPECT_EQ(options.temperature, std::nullopt);
  EXPECT_EQ(options.seed, std::nullopt);
  EXPECT_TRUE(options.stop.empty());
}

// Every field gets a value of its own. A field that is new in the struct fails to compile here: the
// reader must know it, and so must the list in culet.h.
TEST(OptionsFromJson, EveryLoadOptionHasItsKey) {
  const LoadOptions options = ParseLoadOptions(
      R"({"threads": 1, "context": 2, "chunk": 3, "image_tokens": 10, "sequences": 4, "pool_tokens": 5,
          "prefix_tokens": 6, "prompt_rows_beside_decoding": 7, "queue": 8, "kv": "bf16",
          "rewind_tokens": 9, "tokenizer": "there", "allow_control_tokens": true,
          "overrides": {"text_config.sliding_window": 256, "activation": "gelu"},
          "cpu": "plain", "quant": "int4"})",
      "the options");
  const auto& [threads, context, chunk, image_tokens, sequences, pool_tokens, prefix_tokens, rows,
               queue, kv, rewind_tokens, tokenizer, allow_control_tokens, overrides, cpu, quant] =
      options;
  EXPECT_EQ(threads, 1);
  EXPECT_EQ(context, 2);
  EXPECT_EQ(chunk, 3);
  EXPECT_EQ(image_tokens, 10);
  EXPECT_EQ(sequences, 4);
  EXPECT_EQ(pool_tokens, 5);
  EXPECT_EQ(prefix_tokens, 6);
  EXPECT_EQ(rows, 7);
  EXPECT_EQ(queue, 8);
  EXPECT_EQ(kv, KvType::kBf16);
  EXPECT_EQ(rewind_tokens, 9);
  EXPECT_EQ(tokenizer, "there");
  EXPECT_TRUE(allow_control_tokens);
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"activation", "\"gelu\""}, {"text_config.sliding_window", "256"}};
  EXPECT_EQ(overrides, expected);
  EXPECT_EQ(cpu, "plain");
  EXPECT_EQ(quant, "int4");
}

TEST(OptionsFromJson, EveryGenerateOptionHasItsKey) {
  const GenerateOptions options = ParseGenerateOptions(
      R"({"max_tokens": 1, "temperature": 0.5, "top_k": 2, "top_p": 0.25, "min_p": 0.125,
          "repetition_penalty": 1.5, "seed": 18446744073709551615, "stop": ["a", "b"],
          "logprobs": 3, "ignore_stop_tokens": true, "timeout_s": 4})",
      "the options");
  const auto& [max_tokens, temperature, top_k, top_p, min_p, penalty, seed, stop, logprobs, ignore,
               timeout_s, on_prefill, on_media] = options;
  EXPECT_EQ(max_tokens, 1);
  EXPECT_EQ(temperature, 0.5);
  EXPECT_EQ(top_k, 2);
  EXPECT_EQ(top_p, 0.25);
  EXPECT_EQ(min_p, 0.125);
  EXPECT_EQ(penalty, 1.5);
  EXPECT_EQ(seed, UINT64_MAX);
  EXPECT_EQ(stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(logprobs, 3);
  EXPECT_TRUE(ignore);
  EXPECT_EQ(timeout_s, 4);
  EXPECT_FALSE(on_prefill);
  EXPECT_FALSE(on_media);
  EXPECT_EQ(ParseGenerateOptions(R"({"stop": "a"})", "").stop, std::vector<std::string>{"a"});
}

TEST(OptionsFromJson, EveryEmbedOptionHasItsKey) {
  const EmbedOptions options = ParseEmbedOptions(
      R"({"pooling": "last", "dimensions": 2, "normalize": true, "bos": false, "first_text": 3})",
      "the options");
  const auto& [pooling, dimensions, normalize, bos, first_text] = options;
  EXPECT_EQ(pooling, Pooling::kLast);
  EXPECT_EQ(dimensions, 2);
  EXPECT_TRUE(normalize);
  EXPECT_EQ(bos, false);
  EXPECT_EQ(first_text, 3);
  EXPECT_EQ(ParseEmbedOptions("{}", "").bos, std::nullopt);
  EXPECT_EQ(ParseEmbedOptions("{}", "").pooling, Pooling::kMean);
}

TEST(OptionsFromJson, MistakesAreNamed) {
  EXPECT_THAT(LoadError(R"({"contxt": 1})"), HasSubstr("the options: contxt is 1"));
  EXPECT_THAT(LoadError(R"({"context": 1.5})"), HasSubstr("context is 1.5; expected an integer"));
  EXPECT_THAT(LoadError(R"({"context": -1})"), HasSubstr("context is -1"));
  EXPECT_THAT(LoadError(R"({"threads": 4294967297})"), HasSubstr("threads is 4294967297"));
  EXPECT_THAT(LoadError(R"({"kv": "f16"})"), HasSubstr("kv is \"f16\"; expected \"auto\""));
  EXPECT_THAT(LoadError(R"({"overrides": []})"), HasSubstr("overrides is []"));
  EXPECT_THAT(LoadError("[1]"), HasSubstr("an array; expected an object of load options"));
  EXPECT_THAT(LoadError("{"), HasSubstr("the options: not valid JSON"));
  EXPECT_THAT(LoadError(R"({"chunk": 1, "chunk": 2})"), HasSubstr("stands twice"));
  EXPECT_THAT(GenerateError(R"({"temperature": "hot"})"), HasSubstr("temperature is \"hot\""));
  EXPECT_THAT(GenerateError(R"({"seed": -1})"), HasSubstr("seed is -1"));
  EXPECT_THAT(GenerateError(R"({"stop": [1]})"), HasSubstr("stop is [1]"));
  EXPECT_THAT(MessageOf([] { ParseTextOptions(R"({"context": 1})", "x"); }), HasSubstr("context"));
  EXPECT_THAT(MessageOf([] { ParseEmbedOptions(R"({"pooling": "max"})", "x"); }),
              HasSubstr("pooling is \"max\"; expected \"mean\""));
  EXPECT_THAT(MessageOf([] { ParsePullSettings(R"({"ofline": true})", "x"); }),
              HasSubstr("ofline"));
}

TEST(ResultAsJson, ArgumentsStayAsTheModelWroteThem) {
  const CalledTool call = {"add", R"({"a":1.50,"b":12345678901234567890123})"};
  EXPECT_EQ(ToJson(call), R"({"name":"add","arguments":{"a":1.50,"b":12345678901234567890123}})");
  EXPECT_EQ(ToJson(ParsedAnswer{"hm", "a\"b\n", {call, call}}),
            R"({"thinking":"hm","content":"a\"b\n","tool_calls":[)" + ToJson(call) + "," +
                ToJson(call) + "]}");
}

TEST(ResultAsJson, SaysWhatTheResultSays) {
  GenerateResult result;
  result.text = "72\xff";
  result.finish_reason = FinishReason::kLength;
  result.prompt_tokens = 5;
  result.computed_tokens = 4;
  result.cached_tokens = 1;
  result.completion_tokens = 3;
  result.prefill_ms = 2;
  result.decode_ms = 4;
  result.tokens = {7, 8, 9};
  result.seed = UINT64_MAX;
  result.logits_hash = 0xabc;
  EXPECT_EQ(ToJson(result, {{"load_ms", 1.5}}),
            R"({"text":"72)"
            "\xef\xbf\xbd"
            R"(","thinking":"","tool_calls":[],"finish_reason":"length","usage":{)"
            R"("prompt_tokens":5,"cached_tokens":1,"computed_tokens":4,"completion_tokens":3},)"
            R"("timings":{"load_ms":1.5,"prefill_ms":2.0,"decode_ms":4.0,)"
            R"("prefill_tokens_per_s":2000.0,"decode_tokens_per_s":500.0},"tokens":[7,8,9],)"
            R"("seed":18446744073709551615,"logits_hash":"0000000000000abc"})");
}

}  // namespace
}  // namespace culet
