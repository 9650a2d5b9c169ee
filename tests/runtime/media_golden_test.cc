// Fails where a prompt with pictures, videos and sounds gives other logits than transformers: where
// soft tokens stand in wrong places, see too much or too little, or have the wrong per-layer part.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "model/golden.h"
#include "runtime/media_encoders.h"

namespace culet {
namespace {

using testing::Elements;
using testing::GoldenCase;

constexpr double kF32Limit = 1e-4;  // max |difference| ÷ max |logit|

std::vector<GoldenCase> CasesWithLogits() {
  std::vector<GoldenCase> cases;
  for (const GoldenCase& golden : testing::GoldenCases("media")) {
    const auto file =
        SafetensorsFile::Open(FileSystem::Real(), golden.folder / "golden.safetensors");
    if (golden.dtype == "f32" && file.tensors().count("logits") > 0) cases.push_back(golden);
  }
  return cases;
}

// The case's pictures, frames and sounds, as the engine is given them.
std::vector<SoftInput> InputsOf(const SafetensorsFile& golden, const ModelConfig& config) {
  std::vector<SoftInput> inputs;
  const auto& tensors = golden.tensors();
  if (tensors.count("vision.grids") > 0) {
    const auto units = Elements<float>(tensors.at("vision.units"));
    const auto grids = Elements<std::int64_t>(tensors.at("vision.grids"));
    const auto images = Elements<std::int64_t>(tensors.at("vision.images")).front();
    auto begin = units.begin();
    for (std::size_t index = 0; index < grids.size() / 2; ++index) {
      SoftInput input;
      input.key = input.name = "picture " + std::to_string(index);
      input.visual = true;
      input.placeholder = static_cast<std::int32_t>(static_cast<std::int64_t>(index) < images
                                                        ? config.media_tokens.image
                                                        : config.media_tokens.video);
      input.grid = {grids[2 * index], grids[2 * index + 1]};
      const auto end = begin + input.grid.units() * config.vision->unit_width();
      input.rows = [rows = std::vector<float>(begin, end)] { return rows; };
      inputs.push_back(input);
      begin = end;
    }
  }
  if (tensors.count("audio.lengths") > 0) {
    const TensorView& tensor = tensors.at("audio.input");
    const auto rows = Elements<float>(tensor);
    auto begin = rows.begin();
    for (const std::int64_t length : Elements<std::int64_t>(tensors.at("audio.lengths"))) {
      SoftInput input;
      input.key = input.name = "sound at " + std::to_string(begin - rows.begin());
      input.placeholder = static_cast<std::int32_t>(config.media_tokens.audio);
      input.sound_width = tensor.shape[1];
      input.sound_rows = length;
      const auto end = begin + length * input.sound_width;
      input.rows = [own = std::vector<float>(begin, end)] { return own; };
      inputs.push_back(input);
      begin = end;
    }
  }
  return inputs;
}

// The first of each kind, as many as the prompt has placeholders for: a case may have more.
SoftBlocks InPrompt(const SoftBlocks& blocks, const std::vector<std::int32_t>& tokens) {
  SoftBlocks used;
  std::map<std::int32_t, std::int64_t> left;
  for (const std::int32_t token : tokens) ++left[token];
  for (const auto& block : blocks) {
    if (left[block->placeholder()] < block->count()) continue;
    left[block->placeholder()] -= block->count();
    used.push_back(block);
  }
  return used;
}

class MediaGolden : public ::testing::TestWithParam<GoldenCase> {};

// Of all rows, in steps of at most `chunk` but where a picture must be whole.
std::vector<float> LogitsOf(Engine& engine, const std::vector<std::int32_t>& tokens,
                            const SoftBlocks& blocks, std::int64_t chunk) {
  const int sequence = engine.AddSequence();
  engine.Append(sequence, tokens, blocks);
  std::vector<float> all;
  const auto total = static_cast<std::int64_t>(tokens.size());
  while (engine.computed(sequence) < total) {
    const std::int64_t left = total - engine.computed(sequence);
    const StepPart part = {sequence, engine.WholeRows(sequence, std::min(chunk, left), total),
                           Wanted::kAll};
    const View<const float, 2> hidden = engine.Step(std::span(&part, 1));
    for (std::int64_t row = 0; row < hidden.extent(0); ++row) {
      const View<const float, 2> logits =
          engine.Logits(View<const float, 2>(hidden.row(row), {1, hidden.extent(1)}));
      all.insert(all.end(), logits.data(), logits.data() + logits.extent(1));
    }
  }
  engine.RemoveSequence(sequence);
  return all;
}

TEST_P(MediaGolden, LogitsOfMixedMediaAreThoseOfTheReference) {
  const auto golden =
      SafetensorsFile::Open(FileSystem::Real(), GetParam().folder / "golden.safetensors");
  testing::LoadedModel model = testing::LoadModel(GetParam().folder, {});
  Engine& engine = *model.engine;
  const ModelConfig& config = engine.config();
  MediaEncoders encoders(*model.checkpoint, 1, AvailableLevels().back());
  const SoftBlocks blocks =
      InPrompt(encoders.Encode(InputsOf(golden, config)), testing::InputIds(golden));
  const std::int32_t placeholders[] = {static_cast<std::int32_t>(config.media_tokens.image),
                                       static_cast<std::int32_t>(config.media_tokens.audio),
                                       static_cast<std::int32_t>(config.media_tokens.video)};
  const std::vector<std::int32_t> tokens =
      PlaceSoftTokens(testing::InputIds(golden), placeholders, blocks);
  const auto reference = Elements<float>(golden.tensors().at("logits"));
  const std::vector<float> all = LogitsOf(engine, tokens, blocks, 512);
  ASSERT_EQ(all.size(), reference.size());
  double largest = 0;
  for (const float value : reference) largest = std::max(largest, std::abs(double{value}));
  for (std::size_t index = 0; index < all.size(); ++index) {
    ASSERT_LE(std::abs(double{all[index]} - reference[index]), kF32Limit * largest)
        << "row " << index / static_cast<std::size_t>(config.vocab);
  }
  for (const std::int64_t chunk : {1, 5, 16}) {
    EXPECT_EQ(LogitsOf(engine, tokens, blocks, chunk), all) << "in chunks of " << chunk;
  }
}

TEST_P(MediaGolden, WhatWasEncodedLatelyIsNotEncodedAgain) {
  const auto golden =
      SafetensorsFile::Open(FileSystem::Real(), GetParam().folder / "golden.safetensors");
  testing::LoadedModel model = testing::LoadModel(GetParam().folder, {});
  MediaEncoders encoders(*model.checkpoint, 1, AvailableLevels().back());
  std::vector<SoftInput> inputs = InputsOf(golden, model.engine->config());
  const SoftBlocks first = encoders.Encode(inputs);
  for (SoftInput& input : inputs) {
    input.rows = []() -> std::vector<float> {
      ADD_FAILURE() << "encoded again";
      return {};
    };
  }
  EXPECT_EQ(encoders.Encode(inputs), first);
}

INSTANTIATE_TEST_SUITE_P(Cases, MediaGolden, ::testing::ValuesIn(CasesWithLogits()),
                         [](const auto& golden) { return golden.param.name; });

}  // namespace
}  // namespace culet
