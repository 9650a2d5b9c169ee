// Fails where the decoder does not compute what transformers computes from the same weights.
#include "model/golden.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "bounds.h"

namespace culet {
namespace {

using testing::Elements;
using testing::GoldenCase;

// What the issue of exactness asks: 1e-4 of the largest value, at every position.
constexpr double kF32Limit = 1e-4;

struct LevelCase {
  GoldenCase golden;
  CpuLevel level;

  friend std::ostream& operator<<(std::ostream& out, const LevelCase& param) {
    return out << param.golden.name << " at " << CpuLevelName(param.level);
  }
};

std::vector<LevelCase> CasesAtEveryLevel() {
  std::vector<LevelCase> cases;
  for (const GoldenCase& golden : testing::GoldenCases()) {
    for (const CpuLevel level : AvailableLevels()) cases.push_back({golden, level});
  }
  return cases;
}

class GoldenTest : public ::testing::TestWithParam<LevelCase> {};

// The first layer whose residual stream departs from the reference, or −1.
int FirstLayerApart(const std::vector<std::vector<float>>& taps, const SafetensorsFile& golden,
                    double limit, std::string* report) {
  for (std::size_t layer = 0; layer < taps.size(); ++layer) {
    const auto whole = golden.tensors().find("hidden." + std::to_string(layer));
    const auto tail = golden.tensors().find("hidden_tail." + std::to_string(layer));
    const bool is_tail = whole == golden.tensors().end();
    if (is_tail && tail == golden.tensors().end()) continue;
    const std::vector<float> reference = Elements<float>(is_tail ? tail->second : whole->second);
    const std::span<const float> got = std::span(taps[layer]).last(reference.size());
    const double error = RelativeError(got, reference);
    if (error > limit) {
      *report = "hidden." + std::to_string(layer) +
                " (0: the embedding, i: after layer i-1) is off by " + std::to_string(error);
      return static_cast<int>(layer);
    }
  }
  return -1;
}

TEST_P(GoldenTest, LogitsAndEveryLayerAreThoseOfTheReference) {
  const LevelCase& param = GetParam();
  testing::LoadSettings settings;
  settings.level = param.level;
  settings.bf16_kv = param.golden.dtype == "bf16";  // as large models have it
  testing::LoadedModel model = testing::LoadModel(param.golden.folder, settings);
  const SafetensorsFile golden =
      SafetensorsFile::Open(FileSystem::Real(), param.golden.folder / "golden.safetensors");
  const std::vector<std::int32_t> tokens = testing::InputIds(golden);

  std::vector<std::vector<float>> taps;
  const std::vector<float> logits =
      testing::AllLogits(*model.engine, tokens, [&](int, View<const float, 2> x) {
        taps.emplace_back(x.data(), x.data() + x.extent(0) * x.extent(1));
      });
  const std::vector<float> reference = Elements<float>(golden.tensors().at("logits"));
  ASSERT_EQ(logits.size(), reference.size());
  ASSERT_EQ(taps.size(), model.engine->config().layers.size() + 1);

  if (param.golden.dtype != "bf16") {
    std::string report;
    EXPECT_EQ(FirstLayerApart(taps, golden, kF32Limit, &report), -1) << report;
    EXPECT_LE(RelativeError(logits, reference), kF32Limit);
    return;
  }
  // Of bf16 cases only the embedding is stored: a root of the hidden size that is not rounded to
  // bf16 moves it by 0.1%, which the bar below is too coarse to see.
  std::string report;
  EXPECT_EQ(FirstLayerApart(taps, golden, kF32Limit, &report), -1) << report;
  // Exact maths on the same bf16 weights is the measure; the reference's own bf16 run is the bar.
  const std::vector<float> own = Elements<float>(golden.tensors().at("logits_bf16"));
  EXPECT_LE(RootMeanSquareError(logits, reference), 1.2 * RootMeanSquareError(own, reference));
  EXPECT_LE(RelativeError(logits, reference), 1.2 * RelativeError(own, reference));
}

std::string CaseName(const ::testing::TestParamInfo<LevelCase>& info) {
  std::string name = info.param.golden.name + "_" + std::string(CpuLevelName(info.param.level));
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, ::testing::ValuesIn(CasesAtEveryLevel()), CaseName);

std::vector<GoldenCase> Bf16Cases() {
  std::vector<GoldenCase> cases;
  for (const GoldenCase& golden : testing::GoldenCases()) {
    if (golden.dtype == "bf16") cases.push_back(golden);
  }
  return cases;
}

// tools/reference/make_goldens.py records as many.
constexpr std::size_t kGreedySteps = 64;

class GreedyTest : public ::testing::TestWithParam<GoldenCase> {};

TEST_P(GreedyTest, TokensAreTheReferencesWhereItsLeadIsLargerThanRounding) {
  const GoldenCase& param = GetParam();
  testing::LoadedModel model = testing::LoadModel(param.folder, {});
  const SafetensorsFile golden =
      SafetensorsFile::Open(FileSystem::Real(), param.folder / "golden.safetensors");
  const std::vector<std::int64_t> greedy =
      Elements<std::int64_t>(golden.tensors().at("greedy_ids"));
  const std::vector<float> gap = Elements<float>(golden.tensors().at("greedy_gap"));
  const std::vector<float> reference = Elements<float>(golden.tensors().at("logits"));
  const std::vector<float> own = Elements<float>(golden.tensors().at("logits_bf16"));
  // The error of the reference's own bf16 run, as a difference of logits: a lead below it may flip.
  double error = 0;
  for (std::size_t index = 0; index < own.size(); ++index) {
    error = std::max(error, std::abs(static_cast<double>(own[index]) - reference[index]));
  }

  // What the golden holds decides how much is compared: steps with a lead must be most, or a wrong
  // decoder could pass by luck (the committed ones have 41 to 62 of 64).
  ASSERT_EQ(greedy.size(), kGreedySteps);
  ASSERT_EQ(gap.size(), kGreedySteps);
  const auto leads =
      std::count_if(gap.begin(), gap.end(), [&](float lead) { return lead > error; });
  EXPECT_GE(leads, static_cast<std::ptrdiff_t>(kGreedySteps * 3 / 5))
      << "few steps have a lead above " << error;

  Engine& engine = *model.engine;
  const int sequence = engine.AddSequence();
  engine.Append(sequence, testing::InputIds(golden));
  std::ptrdiff_t compared = 0;
  for (std::size_t step = 0; step < greedy.size(); ++step) {
    const std::span<const float> logits = engine.CatchUp(sequence, 0, [] { return false; });
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    if (gap[step] > error) {
      EXPECT_EQ(best, greedy[step]) << "step " << step << ", lead " << gap[step];
      ++compared;
    }
    // Lead or not, each of the two logits may be off by 1.2 times that error (the bar of
    // GoldenTest), and no more.
    const double behind = static_cast<double>(logits[static_cast<std::size_t>(best)]) -
                          logits[static_cast<std::size_t>(greedy[step])];
    EXPECT_LE(behind, 2 * 1.2 * error) << "step " << step;
    const std::int32_t next = static_cast<std::int32_t>(greedy[step]);
    engine.Append(sequence, std::span(&next, 1));
  }
  EXPECT_EQ(compared, leads);
}

INSTANTIATE_TEST_SUITE_P(Bf16, GreedyTest, ::testing::ValuesIn(Bf16Cases()),
                         [](const auto& golden) { return golden.param.name; });

}  // namespace
}  // namespace culet
