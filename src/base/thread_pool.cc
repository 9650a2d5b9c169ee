#include "base/thread_pool.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"

namespace culet {
namespace {

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// About 50 µs on current cores: longer than the gap between two ops of a step, far shorter than the
// gap between two tokens that a user could notice as heat.
constexpr int kSpins = 2000;

// Of `nice`: the scheduler gives such a thread a third of what it gives one of normal priority.
// Less would hold up pictures for as long as others have answers.
constexpr int kNicer = 5;

// Of this thread alone, which is what Linux takes a thread's id for. Where the system refuses, the
// threads work all the same.
void LowerPriority() {
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  const int now = ::getpriority(PRIO_PROCESS, thread);
  static_cast<void>(::setpriority(PRIO_PROCESS, thread, std::min(now + kNicer, 19)));
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  // What the current loop is; written by the caller before `generation` moves.
  std::int64_t count = 0;
  std::int64_t share = 0;
  const FunctionRef<void(std::int64_t, std::int64_t, int)>* body = nullptr;

  std::atomic<std::uint64_t> generation{0};
  std::atomic<int> pending{0};
  std::atomic<bool> stop{false};

  std::mutex mutex;  // guards sleeping only
  std::condition_variable wake;
  std::condition_variable done;  // for a caller that does not work
  int sleepers = 0;              // under mutex

  void Run(int thread) const {
    const std::int64_t begin = std::min(count, share * thread);
    const std::int64_t end = std::min(count, begin + share);
    if (begin < end) (*body)(begin, end, thread);
  }
};

ThreadPool::ThreadPool(int threads, ThreadPriority priority)
    : threads_(std::max(1, threads)),
      caller_works_(priority == ThreadPriority::kNormal),
      state_(std::make_unique<State>()) {
  state_->workers.reserve(static_cast<std::size_t>(threads_));
  try {
    for (int thread = caller_works_ ? 1 : 0; thread < threads_; ++thread) {
      state_->workers.emplace_back([this, thread] {
        if (!caller_works_) LowerPriority();
        Worker(thread);
      });
    }
  } catch (...) {
    // The system gave some threads and no more: those must end before the object is gone.
    Stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  state_->stop.store(true);
  {
    std::lock_guard lock(state_->mutex);
    state_->generation.fetch_add(1);
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

void ThreadPool::Worker(int thread) {
  std::uint64_t seen = 0;
  for (;;) {
    int spins = 0;
    while (state_->generation.load(std::memory_order_acquire) == seen) {
      if (++spins < kSpins) {
        Pause();
        continue;
      }
      std::unique_lock lock(state_->mutex);
      ++state_->sleepers;
      state_->wake.wait(lock,
                        [&] { return state_->generation.load(std::memory_order_acquire) != seen; });
      --state_->sleepers;
    }
    seen = state_->generation.load(std::memory_order_acquire);
    if (state_->stop.load()) return;
    state_->Run(thread);
    const bool last = state_->pending.fetch_sub(1, std::memory_order_acq_rel) == 1;
    if (last && !caller_works_) {
      const std::lock_guard lock(state_->mutex);
      state_->done.notify_one();
    }
  }
}

void ThreadPool::ParallelFor(std::int64_t count, std::int64_t grain,
                             FunctionRef<void(std::int64_t, std::int64_t, int)> body) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(1, grain);
  const std::int64_t grains = (count + grain - 1) / grain;
  const std::int64_t share = (grains + threads_ - 1) / threads_ * grain;
  // Less than a grain is too little to hand over, even at low priority.
  if ((threads_ == 1 && caller_works_) || count <= grain) {
    body(0, count, 0);
    return;
  }
  state_->count = count;
  state_->share = share;
  state_->body = &body;
  state_->pending.store(static_cast<int>(state_->workers.size()), std::memory_order_relaxed);
  bool sleeping = false;
  {
    // The lock orders this against a worker that is about to sleep.
    std::lock_guard lock(state_->mutex);
    state_->generation.fetch_add(1, std::memory_order_release);
    sleeping = state_->sleepers > 0;
  }
  if (sleeping) state_->wake.notify_all();
  if (!caller_works_) {
    std::unique_lock lock(state_->mutex);
    state_->done.wait(lock, [&] { return state_->pending.load(std::memory_order_acquire) == 0; });
    return;
  }
  state_->Run(0);
  int spins = 0;
  while (state_->pending.load(std::memory_order_acquire) != 0) {
    if (++spins < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();  // a worker lost its core: let it have ours
    }
  }
}

int DefaultThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace culet
