// Fails where a token's result depends on what it must not depend on: how its prompt was cut into
// chunks, who else is in the batch, where the sequence has been before, or how many threads
// compute. Every kernel promises rows that are equal bit for bit, so these equalities are exact.
#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

#include "model/golden.h"

namespace culet {
namespace {

using testing::GoldenCase;
using testing::LoadedModel;
using testing::LoadModel;
using testing::LoadSettings;

std::vector<std::int32_t> RandomTokens(std::int64_t count, const ModelConfig& config,
                                       std::uint32_t seed) {
  std::int64_t vocab = config.vocab;
  if (config.ple_width > 0) vocab = std::min(vocab, config.ple_vocab);
  std::mt19937 random(seed);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % vocab);
  return tokens;
}

std::int64_t MaxContext() { return 400; }

// Logits of the last token after computing `tokens` in chunks of `chunk`.
std::vector<float> LastLogits(Engine& engine, int sequence, std::int64_t chunk) {
  const std::span<const float> logits = engine.CatchUp(sequence, chunk, [] { return false; });
  return {logits.begin(), logits.end()};
}

std::vector<float> Alone(Engine& engine, const std::vector<std::int32_t>& tokens,
                         std::int64_t chunk) {
  const int sequence = engine.AddSequence();
  engine.Append(sequence, tokens);
  std::vector<float> logits = LastLogits(engine, sequence, chunk);
  engine.RemoveSequence(sequence);
  return logits;
}

// Lengths where windows and pages end.
std::vector<std::int64_t> Lengths(std::int64_t window) {
  std::vector<std::int64_t> lengths = {
      1, 2, kPageTokens - 1, kPageTokens, kPageTokens + 1, 2 * kPageTokens + 3};
  for (const std::int64_t length : {window - 1, window, window + 1, 3 * window}) {
    if (length >= 1 && length <= MaxContext()) lengths.push_back(length);
  }
  return lengths;
}

// One case a family, f32 and bf16, and the odd ones where windows and pages disagree most.
std::vector<GoldenCase> FamilyCases() {
  std::vector<GoldenCase> cases;
  for (const char* name :
       {"e2b_like", "e4b_like", "unified_12b_like", "moe_26b_like", "dense_31b_like",
        "e_long_prompt", "long_prompt", "window_1", "moe_128_top_8", "odd_sizes", "e_k_eq_v",
        "e2b_like_bf16", "e4b_like_bf16", "unified_12b_like_bf16", "moe_26b_like_bf16",
        "dense_31b_like_bf16"}) {
    cases.push_back(testing::GoldenCaseNamed(name));
  }
  return cases;
}

class EqualityTest : public ::testing::TestWithParam<GoldenCase> {
 protected:
  LoadedModel Load(std::int64_t sequences = 1, int threads = 1, std::int64_t rewind_tokens = 0,
                   std::int64_t chunk = 400) {
    LoadSettings settings;
    settings.context = MaxContext();
    settings.chunk = chunk;
    settings.sequences = sequences;
    settings.threads = threads;
    settings.rewind_tokens = rewind_tokens;
    settings.bf16_kv = GetParam().dtype == "bf16";
    return LoadModel(GetParam().folder, settings);
  }
};

TEST_P(EqualityTest, AnyChunkingEqualsOneTokenAtATime) {
  LoadedModel model = Load();
  Engine& engine = *model.engine;
  const std::int64_t window = engine.config().window;
  for (const std::int64_t length : Lengths(window)) {
    const std::vector<std::int32_t> tokens =
        RandomTokens(length, engine.config(), static_cast<std::uint32_t>(length));
    const std::vector<float> one_by_one = Alone(engine, tokens, 1);
    for (const std::int64_t chunk :
         {std::int64_t{2}, std::int64_t{7}, std::max<std::int64_t>(1, window - 1), window,
          window + 1, 2 * window, kPageTokens, std::int64_t{400}}) {
      EXPECT_EQ(Alone(engine, tokens, chunk), one_by_one)
          << "length " << length << " chunk " << chunk;
    }
  }
}

TEST_P(EqualityTest, ASmallPoolOfPagesEqualsALargeOne) {
  // Chunk 8: the sliding pool is as small as the plan allows, so pages are taken back all the time.
  LoadedModel small = Load(1, 1, 0, 8);
  LoadedModel large = Load();
  const std::vector<std::int32_t> tokens = RandomTokens(390, large.engine->config(), 5);
  EXPECT_EQ(Alone(*small.engine, tokens, 8), Alone(*large.engine, tokens, 400));
}

TEST_P(EqualityTest, AMixedBatchEqualsEachSequenceAlone) {
  constexpr int kSequences = 4;
  LoadedModel alone = Load();
  LoadedModel model = Load(kSequences, 1, 0, 64);
  Engine& engine = *model.engine;
  std::vector<std::vector<std::int32_t>> tokens;
  for (int index = 0; index < kSequences; ++index) {
    tokens.push_back(
        RandomTokens(40 + 75 * index, engine.config(), 100 + static_cast<std::uint32_t>(index)));
    ASSERT_EQ(engine.AddSequence(), index);
    engine.Append(index, tokens[index]);
  }
  // Sequences take turns in uneven pieces: some bring many rows, some one.
  std::mt19937 random(7);
  std::vector<std::vector<float>> last(kSequences);
  for (int done = 0; done < kSequences;) {
    std::vector<StepPart> parts;
    std::int64_t budget = 64;
    for (int index = 0; index < kSequences; ++index) {
      const std::int64_t left =
          static_cast<std::int64_t>(tokens[index].size()) - engine.computed(index);
      const std::int64_t most = random() % 3 == 0 ? 1 : 24;
      const std::int64_t count = std::min({left, most, budget});
      if (count == 0) continue;
      budget -= count;
      parts.push_back({index, count, count == left ? Wanted::kLast : Wanted::kNone});
    }
    std::shuffle(parts.begin(), parts.end(), random);
    const View<const float, 2> hidden = engine.Step(parts);
    std::int64_t row = 0;
    for (const StepPart& part : parts) {
      if (part.wanted == Wanted::kNone) continue;
      const View<const float, 2> one(hidden.row(row++), {1, hidden.extent(1)});
      const View<const float, 2> logits = engine.Logits(one);
      last[part.sequence].assign(logits.data(), logits.data() + logits.extent(1));
      ++done;
    }
  }
  for (int index = 0; index < kSequences; ++index) {
    EXPECT_EQ(last[index], Alone(*alone.engine, tokens[index], 400)) << "sequence " << index;
  }
}

TEST_P(EqualityTest, GoingBackAndOnEqualsNeverHavingBeenThere) {
  for (const std::int64_t kept_behind : {std::int64_t{0}, std::int64_t{128}}) {
    LoadedModel model = Load(1, 1, kept_behind, 16);
    LoadedModel fresh = Load();
    Engine& engine = *model.engine;
    const std::int64_t window = engine.config().window;
    for (const std::int64_t back : {std::int64_t{1}, window, 3 * window, std::int64_t{100}}) {
      const std::int64_t length = std::min<std::int64_t>(360, back + 130);
      if (back > length) continue;
      const std::vector<std::int32_t> first = RandomTokens(length, engine.config(), 11);
      const std::vector<std::int32_t> second = RandomTokens(20, engine.config(), 12);
      const int sequence = engine.AddSequence();
      engine.Append(sequence, first);
      LastLogits(engine, sequence, 16);
      engine.Rewind(sequence, length - back);
      engine.Append(sequence, second);
      std::vector<std::int32_t> joined(first.begin(), first.end() - back);
      joined.insert(joined.end(), second.begin(), second.end());
      EXPECT_EQ(LastLogits(engine, sequence, 16), Alone(*fresh.engine, joined, 400))
          << "back " << back << ", kept behind the window " << kept_behind;
      engine.RemoveSequence(sequence);
    }
  }
}

TEST_P(EqualityTest, PinnedPlacesAreReachedWithoutRecomputing) {
  LoadedModel model = Load(1, 1, 256, 16);
  LoadedModel fresh = Load();
  Engine& engine = *model.engine;
  const std::vector<std::int32_t> first = RandomTokens(90, engine.config(), 21);
  const std::vector<std::int32_t> thought = RandomTokens(250, engine.config(), 22);
  const std::vector<std::int32_t> answer = RandomTokens(30, engine.config(), 23);
  const int sequence = engine.AddSequence();
  engine.Append(sequence, first);
  LastLogits(engine, sequence, 16);
  engine.Pin(sequence);
  engine.Append(sequence, thought);
  LastLogits(engine, sequence, 16);
  engine.Rewind(sequence, 90);
  EXPECT_EQ(engine.computed(sequence), 90);
  EXPECT_EQ(engine.recomputed_tokens(sequence), 0);
  engine.Append(sequence, answer);
  std::vector<std::int32_t> joined = first;
  joined.insert(joined.end(), answer.begin(), answer.end());
  EXPECT_EQ(LastLogits(engine, sequence, 16), Alone(*fresh.engine, joined, 400));
}

TEST_P(EqualityTest, TwoThreadsEqualOne) {
  LoadedModel one = Load(1, 1);
  LoadedModel two = Load(1, 2);
  const std::vector<std::int32_t> tokens = RandomTokens(150, one.engine->config(), 31);
  EXPECT_EQ(Alone(*two.engine, tokens, 400), Alone(*one.engine, tokens, 400));
  EXPECT_EQ(Alone(*two.engine, tokens, 1), Alone(*one.engine, tokens, 1));
}

TEST_P(EqualityTest, AskingForOneRowGivesTheSameAsAskingForAll) {
  LoadedModel model = Load();
  Engine& engine = *model.engine;
  const std::vector<std::int32_t> tokens = RandomTokens(70, engine.config(), 41);
  const std::vector<float> all = testing::AllLogits(engine, tokens);
  const std::vector<float> last = Alone(engine, tokens, 400);
  EXPECT_TRUE(std::equal(last.begin(), last.end(), all.end() - engine.config().vocab));
}

TEST_P(EqualityTest, LayersPastTheLastKvSeeOnlyTheRowsThatAsk) {
  LoadedModel model = Load();
  Engine& engine = *model.engine;
  const int sequence = engine.AddSequence();
  const std::vector<std::int32_t> tokens = RandomTokens(20, engine.config(), 51);
  engine.Append(sequence, tokens);
  const int last_kv_layer = engine.config().first_shared_layer() - 1;
  const StepPart first = {sequence, 12, Wanted::kNone};
  engine.Step(std::span(&first, 1), [&](int index, View<const float, 2> x) {
    EXPECT_LE(index, last_kv_layer) << "nobody asked, yet layer " << index - 1 << " was finished";
    EXPECT_EQ(x.extent(0), 12);
  });
  const StepPart rest = {sequence, 8, Wanted::kLast};
  engine.Step(std::span(&rest, 1), [&](int index, View<const float, 2> x) {
    EXPECT_EQ(x.extent(0), index <= last_kv_layer ? 8 : 1) << "after layer " << index - 1;
  });
}

TEST_P(EqualityTest, AStepThatFailsLeavesTheSequenceAsItWas) {
  LoadedModel model = Load();
  LoadedModel fresh = Load();
  Engine& engine = *model.engine;
  const std::vector<std::int32_t> tokens = RandomTokens(30, engine.config(), 61);
  const int sequence = engine.AddSequence();
  engine.Append(sequence, tokens);
  const StepPart part = {sequence, 10, Wanted::kNone};
  engine.Step(std::span(&part, 1));
  EXPECT_THROW(engine.Step(std::span(&part, 1),
                           [](int, View<const float, 2>) { throw std::runtime_error("planted"); }),
               std::runtime_error);
  EXPECT_EQ(engine.computed(sequence), 10);
  EXPECT_EQ(LastLogits(engine, sequence, 400), Alone(*fresh.engine, tokens, 400));
}

TEST_P(EqualityTest, RefusesTokensOutsideTheVocabularyAndPromptsThatDoNotFit) {
  LoadedModel model = Load();
  Engine& engine = *model.engine;
  const int sequence = engine.AddSequence();
  for (const std::int64_t bad : {std::int64_t{-1}, engine.config().vocab}) {
    const std::int32_t token = static_cast<std::int32_t>(bad);
    EXPECT_THROW(engine.Append(sequence, std::span(&token, 1)), Error);
  }
  const std::vector<std::int32_t> long_prompt = RandomTokens(MaxContext() + 1, engine.config(), 1);
  EXPECT_THROW(engine.Append(sequence, long_prompt), Error);
  EXPECT_TRUE(engine.tokens(sequence).empty());
}

TEST_P(EqualityTest, WhatIsPlannedIsAllocated) {
  LoadedModel model = Load(3, 2, 100, 64);
  const MemoryPlan plan = PlanMemory(model.engine->config(), model.engine->kv().plan(), 2);
  EXPECT_EQ(model.engine->allocated_bytes(), plan.total());
  // A step needs nothing beyond it.
  const int sequence = model.engine->AddSequence();
  model.engine->Append(sequence, RandomTokens(200, model.engine->config(), 71));
  LastLogits(*model.engine, sequence, 64);
  EXPECT_EQ(model.engine->allocated_bytes(), plan.total());
}

INSTANTIATE_TEST_SUITE_P(Families, EqualityTest, ::testing::ValuesIn(FamilyCases()),
                         [](const auto& golden) { return golden.param.name; });

}  // namespace
}  // namespace culet
