#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "base/hash.h"

namespace culet {
namespace {

[[noreturn]] void BadParameter(const char* name, double value, const char* rule) {
  std::string text = std::to_string(value);
  throw Error(ErrorKind::kInvalidArgument,
              std::string(name) + " is " + text + "; it must be " + rule);
}

// Higher logit first; among equals the lower token, as the reference's arg-max takes the first.
bool Better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

void SamplingParameters::Check() const {
  if (!(temperature >= 0 && temperature <= 100))
    BadParameter("temperature", temperature, "0 (greedy) to 100");
  if (top_k < 0) BadParameter("top_k", static_cast<double>(top_k), "0 (off) or more");
  if (!(top_p > 0 && top_p <= 1)) BadParameter("top_p", top_p, "above 0 and at most 1 (off)");
  if (!(min_p >= 0 && min_p < 1)) BadParameter("min_p", min_p, "0 (off) or more, below 1");
  if (!(repetition_penalty > 0 && repetition_penalty <= 100)) {
    BadParameter("repetition_penalty", repetition_penalty, "above 0 and at most 100; 1 is off");
  }
}

Sampler::Sampler(const SamplingParameters& parameters, std::int64_t vocab)
    : parameters_(parameters),
      seen_(static_cast<std::size_t>(vocab), false),
      suppressed_(static_cast<std::size_t>(vocab), false),
      random_state_(parameters.seed) {
  parameters_.Check();
  for (const std::int32_t token : parameters_.suppress) {
    if (token < 0 || token >= vocab) {
      throw Error(ErrorKind::kInvalidArgument, "suppress_tokens has " + std::to_string(token) +
                                                   "; the vocabulary has " + std::to_string(vocab) +
                                                   " entries");
    }
    suppressed_[static_cast<std::size_t>(token)] = true;
  }
  if (std::find(suppressed_.begin(), suppressed_.end(), false) == suppressed_.end()) {
    throw Error(ErrorKind::kInvalidArgument, "suppress_tokens has all " + std::to_string(vocab) +
                                                 " entries of the vocabulary; nothing is left to "
                                                 "generate");
  }
}

void Sampler::Observe(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) {
    if (token >= 0) seen_[static_cast<std::size_t>(token)] = true;  // soft tokens are not drawn
  }
}

float Sampler::Adjusted(std::int32_t token, float logit) const {
  if (!std::isfinite(logit)) {
    throw Error(
        ErrorKind::kInternal,
        "the logit of token " + std::to_string(token) +
            " is not a finite number: the weights hold NaN or infinity, or overflow in this "
            "number format");
  }
  if (suppressed_[static_cast<std::size_t>(token)]) return -std::numeric_limits<float>::infinity();
  const float penalty = static_cast<float>(parameters_.repetition_penalty);
  if (penalty == 1.0f || !seen_[static_cast<std::size_t>(token)]) return logit;
  return logit > 0 ? logit / penalty : logit * penalty;
}

std::int32_t Sampler::Sample(std::span<const float> logits) {
  const std::int32_t vocab = static_cast<std::int32_t>(logits.size());
  if (parameters_.temperature == 0) {
    Candidate best = {0, Adjusted(0, logits[0])};
    for (std::int32_t token = 1; token < vocab; ++token) {
      const Candidate candidate = {token, Adjusted(token, logits[static_cast<std::size_t>(token)])};
      if (Better(candidate, best)) best = candidate;
    }
    return best.token;
  }
  candidates_.resize(logits.size());
  for (std::int32_t token = 0; token < vocab; ++token) {
    const std::size_t index = static_cast<std::size_t>(token);
    candidates_[index] = {token, Adjusted(token, logits[index])};
  }
  return Draw();
}

std::int32_t Sampler::Draw() {
  std::size_t kept = candidates_.size();
  if (parameters_.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(parameters_.top_k));
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(kept),
                    candidates_.end(), Better);
  candidates_.resize(kept);

  const double best = candidates_[0].logit;
  weights_.resize(kept);
  double total = 0;
  for (std::size_t index = 0; index < kept; ++index) {
    weights_[index] = std::exp((candidates_[index].logit - best) / parameters_.temperature);
    total += weights_[index];
  }
  // top-p: the shortest beginning whose probability reaches it; the first always stays.
  if (parameters_.top_p < 1) {
    double sum = 0;
    std::size_t count = 0;
    while (count < kept && sum < parameters_.top_p * total) sum += weights_[count++];
    kept = std::max<std::size_t>(1, count);
    total = sum;
  }
  // min-p: at least that share of the best token's probability, whose weight is 1.
  if (parameters_.min_p > 0) {
    while (kept > 1 && weights_[kept - 1] < parameters_.min_p) --kept;
    total = 0;
    for (std::size_t index = 0; index < kept; ++index) total += weights_[index];
  }
  double rest = UnitInterval(NextRandom(&random_state_)) * total;
  for (std::size_t index = 0; index < kept; ++index) {
    rest -= weights_[index];
    if (rest < 0) return candidates_[index].token;
  }
  return candidates_[kept - 1].token;  // rounding left a crumb
}

LogProbabilities TopLogProbabilities(std::span<const float> logits, std::int32_t chosen,
                                     int count) {
  const float best = *std::max_element(logits.begin(), logits.end());
  double sum = 0;  // 262144 addends: f32 would lose the small ones
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - best);
  const double log_sum = std::log(sum) + best;

  LogProbabilities result;
  result.chosen = static_cast<float>(logits[static_cast<std::size_t>(chosen)] - log_sum);
  result.top.resize(logits.size());
  for (std::size_t token = 0; token < logits.size(); ++token) {
    result.top[token] = {static_cast<std::int32_t>(token),
                         static_cast<float>(logits[token] - log_sum)};
  }
  const std::size_t kept = std::min(static_cast<std::size_t>(std::max(0, count)), logits.size());
  std::partial_sort(result.top.begin(), result.top.begin() + static_cast<std::ptrdiff_t>(kept),
                    result.top.end(), Better);
  result.top.resize(kept);
  return result;
}

}  // namespace culet
