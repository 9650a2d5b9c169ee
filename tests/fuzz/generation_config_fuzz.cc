// generation_config.json: what is accepted is what a sampler takes.
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/generation_config.h"
#include "fuzz/fuzz.h"
#include "runtime/sampler.h"

namespace culet::fuzz {

void FuzzOne(std::string_view input) {
  try {
    const GenerationConfig config =
        ParseGenerationConfig(ParseJson(input, "generation_config.json"), "generation_config.json");
    Require(std::isfinite(config.temperature) && config.temperature >= 0, "a temperature");
    Require(config.top_k >= 0 && config.max_new_tokens >= 0, "counts");
    for (const std::int32_t token : config.stop_tokens) Require(token >= 0, "a token id");
    for (const std::string& text : config.stop_strings) Require(!text.empty(), "a stop text");
    SamplingParameters parameters;
    parameters.temperature = config.temperature;
    parameters.top_k = config.top_k;
    parameters.top_p = config.top_p;
    parameters.min_p = config.min_p;
    parameters.repetition_penalty = config.repetition_penalty;
    parameters.suppress = config.suppress_tokens;
    constexpr std::int32_t kVocab = 8;
    Sampler sampler(parameters, kVocab);
    const float logits[kVocab] = {0, -1, 2, 3e38f, -3e38f, 1, 1, 0};
    for (int i = 0; i < 3; ++i) {
      const std::int32_t token = sampler.Sample(logits);
      Require(token >= 0 && token < kVocab, "a token of the vocabulary");
      bool suppressed = false;
      for (const std::int32_t no : config.suppress_tokens) suppressed |= no == token;
      Require(!suppressed, "no suppressed token");
      sampler.Observe(std::span(&token, 1));
    }
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
