// Fails where soft tokens (pictures, sounds) do not stand in a sequence as tokens do: where they
// are scaled or coloured like text, where a picture's rows see too much or too little, or where a
// result depends on chunks, company, going back or shared beginnings.
#include "runtime/soft_tokens.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "model/golden.h"
#include "runtime/scheduler.h"

namespace culet {
namespace {

using testing::LoadedModel;
using testing::LoadModel;
using testing::LoadSettings;
using Tokens = std::vector<std::int32_t>;

constexpr std::int32_t kPlaceholder = 5;

struct Kind {
  std::string name;
  std::string golden;
  bool both_ways;  // pictures are read in both directions

  friend std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }
};

LoadedModel Load(const Kind& kind, std::int64_t sequences = 1, std::int64_t chunk = 300,
                 std::int64_t prefix_tokens = 0) {
  LoadSettings settings;
  settings.context = 400;
  settings.chunk = chunk;
  settings.sequences = sequences;
  settings.prefix_tokens = prefix_tokens;
  settings.overrides = {
      {"text_config.use_bidirectional_attention", kind.both_ways ? "\"vision\"" : "null"}};
  return LoadModel(testing::GoldenCaseNamed(kind.golden).folder, settings);
}

std::shared_ptr<const SoftBlock> RandomBlock(std::int64_t count, std::int64_t hidden,
                                             std::uint32_t seed, bool visual = true) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> rows(static_cast<std::size_t>(count * hidden));
  for (float& value : rows) value = normal(random);
  return std::make_shared<SoftBlock>(std::move(rows), hidden, kPlaceholder, visual);
}

// Text and blocks, one after the other.
struct Mixed {
  Tokens tokens;
  SoftBlocks blocks;

  Mixed& Text(std::int64_t count, const ModelConfig& config, std::uint32_t seed) {
    std::mt19937 random(seed);
    const std::int64_t vocab = config.ple_width > 0 ? config.ple_vocab : config.vocab;
    while (count-- > 0) tokens.push_back(static_cast<std::int32_t>(random() % vocab));
    return *this;
  }
  Mixed& Block(std::shared_ptr<const SoftBlock> block) {
    for (std::int64_t index = 0; index < block->count(); ++index) {
      tokens.push_back(block->id(index));
    }
    blocks.push_back(std::move(block));
    return *this;
  }
  Mixed& Picture(std::int64_t count, const ModelConfig& config, std::uint32_t seed) {
    return Block(RandomBlock(count, config.hidden, seed));
  }
};

// Logits of all rows, in one step.
std::vector<float> AllRows(Engine& engine, const Mixed& mixed) {
  const int sequence = engine.AddSequence();
  engine.Append(sequence, mixed.tokens, mixed.blocks);
  const StepPart part = {sequence, static_cast<std::int64_t>(mixed.tokens.size()), Wanted::kAll};
  const View<const float, 2> hidden = engine.Step(std::span(&part, 1));
  std::vector<float> all;
  for (std::int64_t row = 0; row < hidden.extent(0); ++row) {
    const View<const float, 2> logits =
        engine.Logits(View<const float, 2>(hidden.row(row), {1, hidden.extent(1)}));
    all.insert(all.end(), logits.data(), logits.data() + logits.extent(1));
  }
  engine.RemoveSequence(sequence);
  return all;
}

std::vector<float> CatchUp(Engine& engine, int sequence, std::int64_t chunk = 0) {
  const std::span<const float> logits = engine.CatchUp(sequence, chunk, [] { return false; });
  return {logits.begin(), logits.end()};
}

std::vector<float> Alone(Engine& engine, const Mixed& mixed, std::int64_t chunk = 0) {
  const int sequence = engine.AddSequence();
  engine.Append(sequence, mixed.tokens, mixed.blocks);
  std::vector<float> logits = CatchUp(engine, sequence, chunk);
  engine.RemoveSequence(sequence);
  return logits;
}

std::vector<float> RowOf(const std::vector<float>& all, std::int64_t row, std::int64_t vocab) {
  return {all.begin() + row * vocab, all.begin() + (row + 1) * vocab};
}

class SoftTokens : public ::testing::TestWithParam<Kind> {};

TEST_P(SoftTokens, RowsThatEqualATokensEmbeddingGiveWhatTheTokenGives) {
  Kind causal = GetParam();
  causal.both_ways = false;
  LoadedModel model = Load(causal);
  Engine& engine = *model.engine;
  const ModelConfig& config = engine.config();
  Mixed text;
  text.Text(24, config, 1);
  // A soft token's per-layer part is the pad token's: where there is one, only pad tokens compare.
  if (config.ple_width > 0) {
    std::fill(text.tokens.begin() + 5, text.tokens.begin() + 17,
              static_cast<std::int32_t>(config.pad_token));
  }
  std::vector<float> embedding;
  testing::AllLogits(engine, text.tokens, [&](int layer, View<const float, 2> x) {
    if (layer == 0) embedding.assign(x.row(5), x.row(5) + 12 * config.hidden);
  });
  Mixed soft;
  soft.tokens.assign(text.tokens.begin(), text.tokens.begin() + 5);
  soft.Block(std::make_shared<SoftBlock>(embedding, config.hidden, kPlaceholder, true));
  soft.tokens.insert(soft.tokens.end(), text.tokens.begin() + 17, text.tokens.end());
  EXPECT_EQ(AllRows(engine, soft), AllRows(engine, text));
}

// Of the rows of a picture, only those that may see its last row change with it.
TEST_P(SoftTokens, APictureSeesItselfBothWaysOnlyWhereTheConfigSaysSo) {
  LoadedModel model = Load(GetParam());
  Engine& engine = *model.engine;
  const ModelConfig& config = engine.config();
  const std::int64_t begin = 4, count = 3 * config.window;
  const auto picture = RandomBlock(count, config.hidden, 3);
  std::vector<float> rows(picture->row(0), picture->row(0) + count * config.hidden);
  rows.back() += 1.0f;
  Mixed first, second;
  first.Text(begin, config, 2).Block(picture).Text(3, config, 4);
  second.Text(begin, config, 2)
      .Block(std::make_shared<SoftBlock>(rows, config.hidden, kPlaceholder, true))
      .Text(3, config, 4);
  const std::vector<float> a = AllRows(engine, first);
  const std::vector<float> b = AllRows(engine, second);
  for (std::int64_t row = 0; row < static_cast<std::int64_t>(first.tokens.size()); ++row) {
    const bool in_picture = row >= begin && row < begin + count;
    const bool sees = row >= begin + count - 1 || (GetParam().both_ways && in_picture);
    EXPECT_EQ(RowOf(a, row, config.vocab) != RowOf(b, row, config.vocab), sees) << "row " << row;
  }
}

TEST_P(SoftTokens, ASoundIsNeverSeenBothWays) {
  LoadedModel model = Load(GetParam());
  Engine& engine = *model.engine;
  const ModelConfig& config = engine.config();
  Mixed whole, cut;
  whole.Text(4, config, 2).Block(RandomBlock(20, config.hidden, 3, false));
  const std::vector<float> all = AllRows(engine, whole);
  const auto& sound = *whole.blocks.front();
  std::vector<float> rows(sound.row(0), sound.row(0) + 10 * config.hidden);
  cut.Text(4, config, 2)
      .Block(std::make_shared<SoftBlock>(rows, config.hidden, kPlaceholder, false));
  const std::vector<float> beginning = AllRows(engine, cut);
  EXPECT_TRUE(std::equal(beginning.begin(), beginning.end(), all.begin()));
}

TEST_P(SoftTokens, AnyChunkingEqualsAllAtOnce) {
  LoadedModel model = Load(GetParam());
  Engine& engine = *model.engine;
  const ModelConfig& config = engine.config();
  for (const std::int64_t count :
       {std::int64_t{1}, config.window - 1, config.window, config.window + 1, 3 * config.window,
        kPageTokens, kPageTokens + 7}) {
    Mixed mixed;
    mixed.Text(3, config, 6).Picture(count, config, 7).Text(2, config, 8);
    mixed.Picture(count, config, 9).Picture(2, config, 10).Text(kPageTokens - 1, config, 11);
    const std::vector<float> all = AllRows(engine, mixed);
    const std::vector<float> last =
        RowOf(all, static_cast<std::int64_t>(mixed.tokens.size()) - 1, config.vocab);
    for (const std::int64_t chunk : {1, 2, 7, 63, 64, 65, 300}) {
      EXPECT_EQ(Alone(engine, mixed, chunk), last) << "picture " << count << " chunk " << chunk;
    }
  }
}

TEST_P(SoftTokens, AnswersInCompanyEqualThoseAlone) {
  LoadedModel alone = Load(GetParam());
  LoadedModel model = Load(GetParam(), 4, 80, 128);
  const ModelConfig& config = model.engine->config();
  std::mt19937 random(12);
  struct Result {
    Mixed mixed;
    std::vector<std::vector<float>> logits;
  };
  std::map<int, Result> results;
  Scheduler scheduler(*model.engine, SchedulerOptions{.prompt_rows_beside_decoding = 8});
  // The later ones begin like earlier ones: shared pages may end inside of a picture.
  for (int id = 0; id < 24; ++id) {
    Result& result = results[id];
    if (id >= 12) result.mixed = results[id - 12].mixed;
    for (int pieces = static_cast<int>(random() % 3); pieces >= 0; --pieces) {
      result.mixed.Text(1 + random() % 20, config, random());
      if (random() % 2 == 0) result.mixed.Picture(1 + random() % 70, config, random());
    }
    result.mixed.Text(1, config, random());
    Request request;
    request.prompt = result.mixed.tokens;
    request.soft = result.mixed.blocks;
    request.on_token = [&result](std::int32_t token, std::span<const float> logits) {
      result.logits.emplace_back(logits.begin(), logits.end());
      if (result.logits.size() == 5) return false;
      result.mixed.tokens.push_back(token);
      return true;
    };
    request.on_end = [](const RequestReport& report) { EXPECT_FALSE(report.error); };
    scheduler.Submit(std::move(request));
  }
  for (int steps = 0; scheduler.Step(); ++steps) ASSERT_LT(steps, 10000) << "never ends";
  for (auto& [id, result] : results) {
    ASSERT_EQ(result.logits.size(), 5u) << "answer " << id;
    EXPECT_EQ(result.logits.back(), Alone(*alone.engine, result.mixed)) << "answer " << id;
  }
  EXPECT_GT(scheduler.statistics().shared_tokens, 0);
}

TEST_P(SoftTokens, GoingBackAndOnEqualsNeverHavingBeenThere) {
  LoadedModel model = Load(GetParam());
  LoadedModel fresh = Load(GetParam());
  Engine& engine = *model.engine;
  const ModelConfig& config = engine.config();
  Mixed mixed;
  mixed.Text(9, config, 21).Picture(40, config, 22).Text(30, config, 23).Picture(9, config, 24);
  const int sequence = engine.AddSequence();
  engine.Append(sequence, mixed.tokens, mixed.blocks);
  CatchUp(engine, sequence);
  EXPECT_THROW(engine.Rewind(sequence, 10), Error);
  EXPECT_EQ(engine.BeginOfBlockAt(sequence, 48), 9);
  EXPECT_EQ(engine.BeginOfBlockAt(sequence, 49), 49);
  engine.Rewind(sequence, 49);
  Mixed other;
  other.Text(5, config, 25).Picture(30, config, 26).Text(2, config, 27);
  engine.Append(sequence, other.tokens, other.blocks);
  Mixed joined;
  joined.Text(9, config, 21).Block(mixed.blocks[0]);
  joined.Text(5, config, 25).Block(other.blocks[0]).Text(2, config, 27);
  EXPECT_EQ(CatchUp(engine, sequence), Alone(*fresh.engine, joined));
}

TEST_P(SoftTokens, WhatDoesNotStandWholeIsRefused) {
  LoadedModel model = Load(GetParam(), 1, 50);
  Engine& engine = *model.engine;
  const ModelConfig& config = engine.config();
  const int sequence = engine.AddSequence();
  Mixed mixed;
  mixed.Text(3, config, 31).Picture(20, config, 32).Text(3, config, 33);
  EXPECT_THROW(engine.Append(sequence, mixed.tokens), Error);  // no block given
  Tokens cut(mixed.tokens.begin(), mixed.tokens.begin() + 10);
  EXPECT_THROW(engine.Append(sequence, cut, mixed.blocks), Error);
  Tokens begun_late(mixed.tokens.begin() + 4, mixed.tokens.end());
  EXPECT_THROW(engine.Append(sequence, begun_late, mixed.blocks), Error);
  Mixed wide;
  wide.Block(RandomBlock(2, config.hidden + 1, 34));
  EXPECT_THROW(engine.Append(sequence, wide.tokens, wide.blocks), Error);
  Mixed longer;
  longer.Picture(51, config, 35);
  if (GetParam().both_ways) {
    EXPECT_THROW(engine.Append(sequence, longer.tokens, longer.blocks), Error);
  } else {
    EXPECT_NO_THROW(engine.CheckTokens(longer.tokens, longer.blocks));
  }
  EXPECT_TRUE(engine.tokens(sequence).empty());
  EXPECT_NO_THROW(engine.Append(sequence, mixed.tokens, mixed.blocks));
}

INSTANTIATE_TEST_SUITE_P(Kinds, SoftTokens,
                         ::testing::Values(Kind{"E2B", "e2b_like", false},
                                           Kind{"Dense31B", "dense_31b_like", true},
                                           Kind{"Moe26B", "moe_26b_like", true},
                                           Kind{"Unified12B", "unified_12b_like", true}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace culet
