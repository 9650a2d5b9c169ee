// If this fails, a parallel loop leaves work out, does it twice, or hands it out differently from
// run to run.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

namespace culet {
namespace {

using Share = std::tuple<std::int64_t, std::int64_t, int>;

std::set<Share> SharesOf(ThreadPool& pool, std::int64_t count, std::int64_t grain) {
  std::mutex mutex;
  std::set<Share> shares;
  pool.ParallelFor(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    const std::lock_guard lock(mutex);
    shares.insert({begin, end, thread});
  });
  return shares;
}

TEST(ThreadPool, EveryIndexIsCoveredOnceBySharesOfWholeGrains) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (const std::int64_t count : {0, 1, 2, 3, 7, 16, 63, 64, 65, 1000}) {
      for (const std::int64_t grain : {1, 2, 16, 64, 5000}) {
        const std::set<Share> shares = SharesOf(pool, count, grain);
        std::int64_t next = 0;
        std::set<int> used;
        for (const auto& [begin, end, thread] : shares) {
          EXPECT_EQ(begin, next);
          EXPECT_LT(begin, end);
          EXPECT_TRUE(end == count || (end - begin) % grain == 0);
          EXPECT_TRUE(thread >= 0 && thread < threads);
          EXPECT_TRUE(used.insert(thread).second) << "a thread got two shares";
          next = end;
        }
        EXPECT_EQ(next, count) << threads << " threads, count " << count << ", grain " << grain;
      }
    }
  }
}

TEST(ThreadPool, WhoGetsWhatDependsOnCountGrainAndThreadsAlone) {
  ThreadPool pool(3);
  const std::set<Share> first = SharesOf(pool, 100, 8);
  for (int round = 0; round < 50; ++round) EXPECT_EQ(SharesOf(pool, 100, 8), first);
}

TEST(ThreadPool, WhatTheLoopWroteIsSeenByTheCaller) {
  ThreadPool pool(4);
  std::vector<int> values(997, 0);
  for (int round = 1; round <= 300; ++round) {
    pool.ParallelFor(997, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) values[static_cast<std::size_t>(i)] += 1;
    });
    for (const int value : values) ASSERT_EQ(value, round);
  }
}

TEST(ThreadPool, SleepingWorkersWakeForTheNextLoop) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    std::atomic<std::int64_t> sum{0};
    pool.ParallelFor(3, 1, [&](std::int64_t begin, std::int64_t end, int) { sum += end - begin; });
    EXPECT_EQ(sum.load(), 3);
  }
}

TEST(ThreadPool, PoolsComeAndGoWithoutALoopInBetween) {
  for (int round = 0; round < 50; ++round) ThreadPool pool(4);
}

TEST(FunctionRef, ACopyCallsTheSameCallableAndNotTheReference) {
  int calls = 0;
  const auto count = [&calls](int by) { calls += by; };
  FunctionRef<void(int)> copy = count;
  {
    FunctionRef<void(int)> other = copy;
    copy = other;
  }
  copy(3);
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace culet
