// If this fails, answers end in the wrong place or are sampled otherwise than the model asks.
#include "checkpoint/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/published.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::ErrorOf;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::WriteText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

GenerationConfig Parse(const std::string& json) {
  return ParseGenerationConfig(Json::parse(json), "generation_config.json");
}

TEST(GenerationConfig, PublishedValuesAreRead) {
  const GenerationConfig config =
      ParseGenerationConfig(Json(PublishedGenerationConfig("12b")), "published");
  EXPECT_THAT(config.stop_tokens, ElementsAre(1, 106, 50));
  EXPECT_THAT(config.suppress_tokens, ElementsAre(258883, 258882));
  EXPECT_TRUE(config.do_sample);
  EXPECT_EQ(config.temperature, 1.0);
  EXPECT_EQ(config.top_k, 64);
  EXPECT_EQ(config.top_p, 0.95);
}

TEST(GenerationConfig, AMissingFileMeansGreedyAndTheUsualStops) {
  TemporaryFolder folder;
  const GenerationConfig config =
      LoadGenerationConfig(FileSystem::Real(), folder.path() / "generation_config.json");
  EXPECT_THAT(config.stop_tokens, ElementsAre(1, 106, 50));
  EXPECT_THAT(config.suppress_tokens, IsEmpty());
  EXPECT_FALSE(config.do_sample);
  EXPECT_EQ(config.max_new_tokens, 0);
}

TEST(GenerationConfig, SilenceOnTopKMeansFiftyWhereItSamples) {
  EXPECT_EQ(Parse("{}").top_k, 0);
  EXPECT_EQ(Parse(R"({"do_sample": true})").top_k, 50);
  EXPECT_EQ(Parse(R"({"do_sample": true, "top_k": 0})").top_k, 0);
}

TEST(GenerationConfig, OneStopTokenOrSeveral) {
  EXPECT_THAT(Parse(R"({"eos_token_id": 7})").stop_tokens, ElementsAre(7));
  EXPECT_THAT(Parse(R"({"eos_token_id": [7, 8]})").stop_tokens, ElementsAre(7, 8));
  EXPECT_THAT(Parse(R"({"eos_token_id": null})").stop_tokens, ElementsAre(1, 106, 50));
  EXPECT_THAT(Parse(R"({"stop_strings": ["a", "b"]})").stop_strings, ElementsAre("a", "b"));
  EXPECT_THAT(Parse(R"({"stop_strings": "a"})").stop_strings, ElementsAre("a"));
}

TEST(GenerationConfig, ValuesThatTurnAFieldOffAreFine) {
  const GenerationConfig config = Parse(R"({"num_beams": 1, "typical_p": 1.0, "min_length": 0,
    "no_repeat_ngram_size": 0, "token_healing": false, "bad_words_ids": [], "use_cache": true,
    "cache_implementation": "hybrid", "transformers_version": "5.24.0", "some_later_field": null,
    "guidance_scale": null, "max_length": 20, "_from_model_config": true})");
  EXPECT_EQ(config.repetition_penalty, 1.0);
}

TEST(GenerationConfig, EachBadOrUnknownFieldIsRefusedByName) {
  struct Refusal {
    const char* field;
    const char* value;
    ErrorKind kind;
  };
  const Refusal refusals[] = {
      {"eos_token_id", "-1", ErrorKind::kCorrupt},
      {"eos_token_id", "\"</s>\"", ErrorKind::kCorrupt},
      {"suppress_tokens", "[1, 99999999]", ErrorKind::kCorrupt},
      {"stop_strings", "[\"\"]", ErrorKind::kCorrupt},
      {"do_sample", "\"yes\"", ErrorKind::kCorrupt},
      {"temperature", "-1", ErrorKind::kCorrupt},
      {"top_k", "-5", ErrorKind::kCorrupt},
      {"top_p", "1.5", ErrorKind::kCorrupt},
      {"min_p", "-0.1", ErrorKind::kCorrupt},
      {"repetition_penalty", "0", ErrorKind::kCorrupt},
      {"max_new_tokens", "0", ErrorKind::kCorrupt},
      {"num_beams", "4", ErrorKind::kUnsupported},
      {"typical_p", "0.9", ErrorKind::kUnsupported},
      {"no_repeat_ngram_size", "3", ErrorKind::kUnsupported},
      {"bad_words_ids", "[[3]]", ErrorKind::kUnsupported},
      {"forced_eos_token_id", "1", ErrorKind::kUnsupported},
      {"guidance_scale", "1.5", ErrorKind::kUnsupported},
      {"watermarking_config", "{\"bias\": 2}", ErrorKind::kUnsupported},
      {"token_healing", "true", ErrorKind::kUnsupported},
      {"new_sampler", "0.5", ErrorKind::kUnsupported},
  };
  for (const Refusal& refusal : refusals) {
    const std::string json = "{\"" + std::string(refusal.field) + "\": " + refusal.value + "}";
    SCOPED_TRACE(json);
    EXPECT_THAT(ErrorOf(refusal.kind, [&] { Parse(json); }),
                HasSubstr("generation_config.json: " + std::string(refusal.field) + " is "));
  }
}

TEST(GenerationConfig, TheLargestTokenIsOfWhatTheFileNamesAlone) {
  const auto largest = [](const char* json) {
    return ParseGenerationConfig(Json::parse(json), "generation_config.json").largest_token;
  };
  EXPECT_EQ(largest("{}"), -1);  // not of the defaults
  EXPECT_EQ(largest(R"({"eos_token_id": [1, 40, 3]})"), 40);
  EXPECT_EQ(largest(R"({"suppress_tokens": [7, 2]})"), 7);
}

TEST(GenerationConfig, AThousandStopStringsAreRefused) {
  Json json;
  for (int i = 0; i < 257; ++i) json["stop_strings"].push_back(std::to_string(i));
  EXPECT_THAT(
      ErrorOf(ErrorKind::kCorrupt, [&] { ParseGenerationConfig(json, "generation_config.json"); }),
      HasSubstr("at most 256 strings"));
}

}  // namespace
}  // namespace culet
