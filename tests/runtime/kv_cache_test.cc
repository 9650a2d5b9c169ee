// Fails where pages leak, are handed to two owners, or memory and plan part.
#include "runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/error.h"

namespace culet {
namespace {

ModelConfig SmallConfig(std::int64_t window) {
  ModelConfig config;
  config.window = window;
  config.heads = 2;
  for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull, LayerKind::kSliding}) {
    LayerConfig layer;
    layer.kind = kind;
    layer.head_dim = kind == LayerKind::kFull ? 8 : 4;
    layer.kv_heads = 1;
    layer.kv_source = static_cast<int>(config.layers.size());
    config.layers.push_back(layer);
  }
  config.layers[2].owns_kv = false;
  config.layers[2].kv_source = 0;
  config.kv_shared_layers = 1;
  return config;
}

KvPlan SmallPlan(std::int64_t sequences = 1) {
  KvPlan plan;
  plan.dtype = DType::kF32;
  plan.context = 1024;
  plan.chunk = 64;
  plan.sequences = sequences;
  return plan;
}

TEST(KvPlan, CountsWindowChunkAndOnePageForSlidingLayers) {
  const ModelConfig config = SmallConfig(128);
  const KvPlan plan = SmallPlan();
  EXPECT_EQ(plan.PagesPerSequence(config, LayerKind::kFull), 16);
  // 127 + 64 = 191 positions are 3 pages, and the window may begin inside one.
  EXPECT_EQ(plan.PagesPerSequence(config, LayerKind::kSliding), 4);
  // f32, K and V: full 17·64·8, sliding 5·64·4, a page each for copies; the sharing layer owns
  // none.
  EXPECT_EQ(plan.Bytes(config), 2u * 4 * (17 * 64 * 8 + 5 * 64 * 4));
  EXPECT_EQ(KvCache(config, plan).bytes(), plan.Bytes(config));
}

TEST(KvCache, ASharingLayerHasThePagesOfItsSource) {
  const KvCache cache(SmallConfig(128), SmallPlan());
  EXPECT_EQ(cache.layers()[2].k, cache.layers()[0].k);
  EXPECT_NE(cache.layers()[1].k, cache.layers()[0].k);
}

TEST(KvCache, RefusesWhatDoesNotFitTheContextAndChangesNothing) {
  KvCache cache(SmallConfig(128), SmallPlan());
  const int sequence = cache.AddSequence();
  for (int step = 0; step < 16; ++step) cache.Extend(sequence, 64);
  EXPECT_THROW(cache.Extend(sequence, 1), Error);
  EXPECT_EQ(cache.length(sequence), 1024);
  EXPECT_THROW(cache.AddSequence(), Error);
}

TEST(KvCache, GivesEveryPageBack) {
  KvCache cache(SmallConfig(128), SmallPlan(2));
  const int first = cache.AddSequence();
  const int second = cache.AddSequence();
  for (int step = 0; step < 10; ++step) {
    cache.Extend(first, 64);
    cache.Extend(second, 33);
    if (step == 4) cache.Pin(first);
  }
  cache.RemoveSequence(first);
  cache.RemoveSequence(second);
  EXPECT_EQ(cache.used_pages(LayerKind::kFull), 0);
  EXPECT_EQ(cache.used_pages(LayerKind::kSliding), 0);
}

// Every page that the next row or a kept position may look at is in the table, once.
void CheckTables(const KvCache& cache, int sequences, std::int64_t window) {
  for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull}) {
    std::set<std::int32_t> seen;
    for (int sequence = 0; sequence < sequences; ++sequence) {
      const std::int64_t length = cache.length(sequence);
      const std::int64_t first =
          kind == LayerKind::kFull ? 0 : std::max<std::int64_t>(0, length - window + 1);
      for (std::int64_t position = first; position < length; ++position) {
        const std::int32_t page =
            cache.page_table(kind)[sequence * cache.table_stride() + position / kPageTokens];
        ASSERT_GE(page, 0) << "sequence " << sequence << " position " << position;
        if (position == first || position % kPageTokens == 0) {
          ASSERT_TRUE(seen.insert(page).second) << "page " << page << " has two owners";
        }
      }
    }
  }
}

TEST(KvCache, RandomStepsRewindsAndPinsKeepEveryNeededPage) {
  for (const std::int64_t window : {1, 5, 64, 65, 128, 300}) {
    for (const std::int64_t rewind_tokens : {0, 64, 500}) {
      constexpr int kSequences = 3;
      KvPlan plan = SmallPlan(kSequences);
      plan.rewind_tokens = rewind_tokens;
      KvCache cache(SmallConfig(window), plan);
      std::mt19937 random(static_cast<std::uint32_t>(window * 1000 + rewind_tokens));
      for (int index = 0; index < kSequences; ++index) cache.AddSequence();
      for (int step = 0; step < 2000; ++step) {
        const int sequence = static_cast<int>(random() % kSequences);
        const std::int64_t length = cache.length(sequence);
        const std::uint32_t what = random() % 10;
        if (what < 6) {
          const std::int64_t count =
              std::min<std::int64_t>(1 + random() % 64, plan.context - length);
          cache.Extend(sequence, count);
        } else if (what < 8) {
          cache.Pin(sequence);
        } else {
          const std::int64_t target = length == 0 ? 0 : random() % length;
          EXPECT_LE(cache.Rewind(sequence, target), target);
        }
        CheckTables(cache, kSequences, window);
        if (::testing::Test::HasFatalFailure()) FAIL() << "window " << window << " step " << step;
      }
      for (int index = 0; index < kSequences; ++index) cache.RemoveSequence(index);
      EXPECT_EQ(cache.used_pages(LayerKind::kSliding), 0);
      EXPECT_EQ(cache.used_pages(LayerKind::kFull), 0);
    }
  }
}

TEST(KvPlan, WhatNoMachineHasIsRefusedRatherThanWrappedAround) {
  ModelConfig config = SmallConfig(1 << 24);
  for (LayerConfig& layer : config.layers) layer.kv_heads = layer.head_dim = 4096;
  KvPlan plan = SmallPlan(4096);
  plan.dtype = DType::kF32;
  plan.context = 1 << 24;
  try {
    plan.Bytes(config);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kResource);
  }
}

TEST(KvCache, GoingBackWithinKeptPagesLosesNothing) {
  KvPlan plan = SmallPlan();
  plan.rewind_tokens = 256;
  KvCache cache(SmallConfig(128), plan);
  const int sequence = cache.AddSequence();
  for (int step = 0; step < 10; ++step) cache.Extend(sequence, 64);
  EXPECT_EQ(cache.Rewind(sequence, 640 - 200), 440);
  // Far back, nothing pinned: all of it must be computed again.
  EXPECT_EQ(cache.Rewind(sequence, 130), 0);
}

}  // namespace
}  // namespace culet
