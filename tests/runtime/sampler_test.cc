// Fails where a token is drawn that the parameters forbid, or with the wrong frequency.
#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"

namespace culet {
namespace {

std::map<std::int32_t, int> Draws(const SamplingParameters& parameters,
                                  const std::vector<float>& logits, int count) {
  Sampler sampler(parameters, static_cast<std::int64_t>(logits.size()));
  std::map<std::int32_t, int> counts;
  for (int index = 0; index < count; ++index) ++counts[sampler.Sample(logits)];
  return counts;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestOfEquals) {
  EXPECT_EQ(Draws({}, {1, 3, 2}, 3), (std::map<std::int32_t, int>{{1, 3}}));
  EXPECT_EQ(Draws({}, {3, 1, 3}, 3), (std::map<std::int32_t, int>{{0, 3}}));
}

TEST(Sampler, FrequenciesAreThoseOfTheSoftmax) {
  SamplingParameters parameters;
  parameters.temperature = 2.0;
  parameters.seed = 5;
  const std::vector<float> logits = {2, 0, -2, 4};
  constexpr int kDraws = 40000;
  const auto counts = Draws(parameters, logits, kDraws);
  double total = 0;
  for (const float logit : logits) total += std::exp(logit / 2.0);
  for (std::int32_t token = 0; token < 4; ++token) {
    const double p = std::exp(logits[static_cast<std::size_t>(token)] / 2.0) / total;
    // Five standard deviations of a binomial count.
    EXPECT_NEAR(counts.at(token), kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p))) << token;
  }
}

TEST(Sampler, TopKTopPAndMinPCutTheTail) {
  SamplingParameters parameters;
  parameters.temperature = 1.0;
  parameters.seed = 1;
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f),
                                     std::log(0.05f)};
  parameters.top_k = 2;
  EXPECT_EQ(Draws(parameters, logits, 500).size(), 2u);
  parameters.top_k = 0;
  parameters.top_p = 0.79;  // 0.5 + 0.3 reach it
  EXPECT_EQ(Draws(parameters, logits, 500).size(), 2u);
  parameters.top_p = 0.81;  // the third is needed
  EXPECT_EQ(Draws(parameters, logits, 2000).size(), 3u);
  parameters.top_p = 0.01;  // the first always stays
  EXPECT_EQ(Draws(parameters, logits, 100).size(), 1u);
  parameters.top_p = 1.0;
  parameters.min_p = 0.2;  // a fifth of 0.5 is 0.1: the last falls
  EXPECT_EQ(Draws(parameters, logits, 2000).size(), 3u);
}

TEST(Sampler, TheSameSeedGivesTheSameTokensAndAnotherSeedOthers) {
  SamplingParameters parameters;
  parameters.temperature = 1.0;
  const std::vector<float> logits(100, 0.0f);
  const auto sequence = [&](std::uint64_t seed) {
    parameters.seed = seed;
    Sampler sampler(parameters, 100);
    std::vector<std::int32_t> tokens;
    for (int index = 0; index < 20; ++index) tokens.push_back(sampler.Sample(logits));
    return tokens;
  };
  EXPECT_EQ(sequence(3), sequence(3));
  EXPECT_NE(sequence(3), sequence(4));
}

TEST(Sampler, SuppressedTokensNeverCome) {
  SamplingParameters parameters;
  parameters.suppress = {1};
  EXPECT_EQ(Draws(parameters, {1, 9, 2}, 2), (std::map<std::int32_t, int>{{2, 2}}));
  parameters.temperature = 1.0;
  EXPECT_EQ(Draws(parameters, {1, 9, 2}, 300).count(1), 0u);
  parameters.suppress = {3};
  EXPECT_THROW(Sampler(parameters, 3), Error);
}

TEST(Sampler, ThePenaltyWeakensTokensThatWereSeen) {
  SamplingParameters parameters;
  parameters.repetition_penalty = 2.0;
  Sampler sampler(parameters, 2);
  const std::vector<float> positive = {3, 2};
  EXPECT_EQ(sampler.Sample(positive), 0);
  const std::int32_t seen = 0;
  sampler.Observe(std::span(&seen, 1));
  EXPECT_EQ(sampler.Sample(positive), 1);  // 3/2 < 2
  const std::vector<float> negative = {-1, -1.5};
  EXPECT_EQ(sampler.Sample(negative), 1);  // −1·2 < −1.5
}

TEST(Sampler, RefusesParametersOutOfRangeAndLogitsThatAreNoNumbers) {
  const auto refused = [](double SamplingParameters::*field, double value) {
    SamplingParameters parameters;
    parameters.*field = value;
    EXPECT_THROW(Sampler(parameters, 4), Error) << value;
  };
  refused(&SamplingParameters::temperature, -1);
  refused(&SamplingParameters::temperature, NAN);
  refused(&SamplingParameters::top_p, 0);
  refused(&SamplingParameters::top_p, 1.5);
  refused(&SamplingParameters::min_p, 1);
  refused(&SamplingParameters::repetition_penalty, 0);
  SamplingParameters parameters;
  parameters.top_k = -1;
  EXPECT_THROW(Sampler(parameters, 4), Error);
  Sampler sampler({}, 3);
  EXPECT_THROW(sampler.Sample(std::vector<float>{1, NAN, 2}), Error);
}

TEST(LogProbabilities, SumToOneAndFall) {
  const std::vector<float> logits = {1, 2, 3, 4};
  const LogProbabilities result = TopLogProbabilities(logits, 0, 4);
  double sum = 0;
  for (std::size_t index = 0; index < 4; ++index) {
    sum += std::exp(result.top[index].logit);
    EXPECT_EQ(result.top[index].token, static_cast<std::int32_t>(3 - index));
  }
  EXPECT_NEAR(sum, 1.0, 1e-6);
  EXPECT_FLOAT_EQ(result.chosen, result.top[3].logit);
}

}  // namespace
}  // namespace culet
