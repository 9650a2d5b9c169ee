// If this fails, a parallel loop leaves work out, does it twice, cuts it differently from run to
// run, or waits for a thread that has nothing to do.
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
#include <utility>
#include <vector>

namespace culet {
namespace {

using Piece = std::pair<std::int64_t, std::int64_t>;  // begin, end

struct Dealt {
  std::set<Piece> pieces;
  std::set<int> threads;
};

Dealt DealtBy(ThreadPool& pool, std::int64_t count, std::int64_t grain, int pieces) {
  std::mutex mutex;
  Dealt dealt;
  pool.ParallelFor(
      count, grain,
      [&](std::int64_t begin, std::int64_t end, int thread) {
        const std::lock_guard lock(mutex);
        EXPECT_TRUE(dealt.pieces.insert({begin, end}).second) << "a piece was dealt twice";
        dealt.threads.insert(thread);
      },
      pieces);
  return dealt;
}

class ThreadPools : public ::testing::TestWithParam<ThreadPriority> {};
INSTANTIATE_TEST_SUITE_P(Priorities, ThreadPools,
                         ::testing::Values(ThreadPriority::kNormal, ThreadPriority::kLow),
                         [](const auto& priority) {
                           return priority.param == ThreadPriority::kLow ? "Low" : "Normal";
                         });

TEST_P(ThreadPools, EveryIndexIsCoveredOnceByPiecesOfWholeGrains) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads, GetParam());
    for (const int pieces : {1, 4}) {
      for (const std::int64_t count : {0, 1, 2, 3, 7, 16, 63, 64, 65, 1000}) {
        for (const std::int64_t grain : {1, 2, 16, 64, 5000}) {
          const Dealt dealt = DealtBy(pool, count, grain, pieces);
          std::int64_t next = 0;
          for (const auto& [begin, end] : dealt.pieces) {
            EXPECT_EQ(begin, next);
            EXPECT_LT(begin, end);
            EXPECT_TRUE(end == count || (end - begin) % grain == 0);
            next = end;
          }
          EXPECT_EQ(next, count) << threads << " threads, count " << count << ", grain " << grain;
          EXPECT_LE(dealt.pieces.size(), static_cast<std::size_t>(threads) * pieces);
          for (const int thread : dealt.threads) EXPECT_TRUE(thread >= 0 && thread < threads);
        }
      }
    }
  }
}

TEST_P(ThreadPools, ThePiecesDependOnCountGrainAndThreadsAlone) {
  ThreadPool pool(3, GetParam());
  ThreadPool normal(3);
  const std::set<Piece> first = DealtBy(normal, 100, 8, 2).pieces;
  EXPECT_EQ(first.size(), 5u);  // of 24, as 6 pieces of 13 grains are 3 grains each
  for (int round = 0; round < 50; ++round) EXPECT_EQ(DealtBy(pool, 100, 8, 2).pieces, first);
}

TEST_P(ThreadPools, PiecesBecomeSmallerDownToAnEvenShare) {
  ThreadPool pool(2, GetParam());
  std::vector<std::int64_t> sizes;
  for (const auto& [begin, end] : DealtBy(pool, 630, 10, 8).pieces) sizes.push_back(end - begin);
  // 63 grains, at least 4 of them: a quarter of 63, of 33, of 17.
  EXPECT_EQ(sizes, (std::vector<std::int64_t>{150, 150, 80, 80, 40, 40, 40, 40, 10}));
}

TEST_P(ThreadPools, AThreadThatIsHeldUpLeavesTheOtherPiecesToTheRest) {
  ThreadPool pool(3, GetParam());
  std::atomic<int> others{0};
  std::atomic<bool> in_time{false};
  pool.ParallelFor(
      12, 1,
      [&](std::int64_t begin, std::int64_t end, int) {
        if (begin > 0) {
          others += static_cast<int>(end - begin);
          return;
        }
        const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (others < 10 && std::chrono::steady_clock::now() < patience)
          std::this_thread::yield();
        in_time = others == 10;
      },
      4);
  EXPECT_TRUE(in_time) << others << " of 10 indices were run beside the piece of two that waits";
}

// A loop must not see pieces of the one before it or after it.
TEST_P(ThreadPools, ShortLoopsInARowStayApart) {
  ThreadPool pool(4, GetParam());
  std::vector<int> runs(64);
  for (int round = 0; round < 20'000; ++round) {
    const std::int64_t count = 2 + round % 63;
    std::fill(runs.begin(), runs.end(), 0);
    pool.ParallelFor(
        count, 1,
        [&](std::int64_t begin, std::int64_t end, int) {
          for (std::int64_t i = begin; i < end; ++i) ++runs[static_cast<std::size_t>(i)];
        },
        3);
    ASSERT_EQ(std::count(runs.begin(), runs.end(), 1), count) << round;
  }
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
