// From logits to a token: penalties, filters, one draw.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace culet {

// Everything resolved: no "unset". Order of the steps as in transformers: repetition penalty,
// suppressed tokens, temperature, top-k, top-p, min-p.
struct SamplingParameters {
  double temperature = 0.0;         // 0: greedy (the filters do not matter then)
  std::int64_t top_k = 0;           // 0: off
  double top_p = 1.0;               // 1: off
  double min_p = 0.0;               // 0: off
  double repetition_penalty = 1.0;  // 1: off
  std::uint64_t seed = 0;
  std::vector<std::int32_t> suppress;

  // Throws Error(kInvalidArgument) naming the field, its value and the range.
  void Check() const;
};

struct Candidate {
  std::int32_t token = 0;
  float logit = 0;
};

// Threads: one caller. The draws depend on the seed and on how many came before, on nothing else.
class Sampler {
 public:
  Sampler(const SamplingParameters& parameters, std::int64_t vocab);

  // Tokens that the repetition penalty knows: prompt and answer.
  void Observe(std::span<const std::int32_t> tokens);

  // Throws Error(kInternal) where the logits are not finite numbers. Ties: the lowest token.
  std::int32_t Sample(std::span<const float> logits);

 private:
  // The logit after penalty and suppression.
  float Adjusted(std::int32_t token, float logit) const;
  std::int32_t Draw();

  SamplingParameters parameters_;
  std::vector<bool> seen_;
  std::vector<bool> suppressed_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
  std::uint64_t random_state_;
};

// The `count` largest log-probabilities of softmax(logits), falling, and the one of `chosen`.
struct LogProbabilities {
  float chosen = 0;
  std::vector<Candidate> top;  // logit holds the log-probability
};
LogProbabilities TopLogProbabilities(std::span<const float> logits, std::int32_t chosen, int count);

}  // namespace culet
