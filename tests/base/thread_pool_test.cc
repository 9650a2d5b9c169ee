// If this fails, a parallel loop leaves work out, does it twice, or hands it out differently from
// run to run.
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
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

class ThreadPools : public ::testing::TestWithParam<ThreadPriority> {};
INSTANTIATE_TEST_SUITE_P(Priorities, ThreadPools,
                         ::testing::Values(ThreadPriority::kNormal, ThreadPriority::kLow),
                         [](const auto& priority) {
                           return priority.param == ThreadPriority::kLow ? "Low" : "Normal";
                         });

TEST_P(ThreadPools, EveryIndexIsCoveredOnceBySharesOfWholeGrains) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads, GetParam());
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

TEST_P(ThreadPools, WhoGetsWhatDependsOnCountGrainAndThreadsAlone) {
  ThreadPool pool(3, GetParam());
  ThreadPool normal(3);
  const std::set<Share> first = SharesOf(normal, 100, 8);
  for (int round = 0; round < 50; ++round) EXPECT_EQ(SharesOf(pool, 100, 8), first);
}

TEST_P(ThreadPools, WhatTheLoopWroteIsSeenByTheCaller) {
  ThreadPool pool(4, GetParam());
  std::vector<int> values(997, 0);
  for (int round = 1; round <= 300; ++round) {
    pool.ParallelFor(997, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) values[static_cast<std::size_t>(i)] += 1;
    });
    for (const int value : values) ASSERT_EQ(value, round);
  }
}

TEST_P(ThreadPools, SleepingWorkersWakeForTheNextLoop) {
  ThreadPool pool(3, GetParam());
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    std::atomic<std::int64_t> sum{0};
    pool.ParallelFor(3, 1, [&](std::int64_t begin, std::int64_t end, int) { sum += end - begin; });
    EXPECT_EQ(sum.load(), 3);
  }
}

TEST_P(ThreadPools, PoolsComeAndGoWithoutALoopInBetween) {
  for (int round = 0; round < 50; ++round) ThreadPool pool(4, GetParam());
}

// Of this thread.
int Niceness() { return getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid))); }

TEST(ThreadPool, WorkOfLowPriorityIsDoneByThreadsThatYieldToTheCaller) {
  const int own = Niceness();
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads, ThreadPriority::kLow);
    std::mutex mutex;
    std::set<int> seen;
    pool.ParallelFor(100, 1, [&](std::int64_t, std::int64_t, int) {
      const std::lock_guard lock(mutex);
      seen.insert(Niceness());
    });
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(*seen.begin(), std::min(own + 5, 19));
  }
  EXPECT_EQ(Niceness(), own) << "a thread cannot go back";
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
