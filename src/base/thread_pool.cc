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

// [0, count) in pieces of whole grains: the first `threads` share half of all, the next as many
// half of the rest, down to the least size, which all that follow have.
class Pieces {
 public:
  Pieces() = default;
  Pieces(std::int64_t count, std::int64_t grain, std::int64_t threads, std::int64_t most)
      : grains_((count + grain - 1) / grain),
        grain_(grain),
        threads_(threads),
        least_((grains_ + most - 1) / most) {}

  std::int64_t count() const {
    std::int64_t large = 0;
    std::int64_t at = 0;
    for (std::int64_t size = Size(at); size > least_; size = Size(at)) {
      at += size * threads_;
      large += threads_;
    }
    return large + (grains_ - at + least_ - 1) / least_;
  }
  // Where a piece begins; the one after the last at `count` or beyond.
  std::int64_t begin(std::int64_t piece) const {
    std::int64_t at = 0;
    std::int64_t size = Size(at);
    for (; size > least_ && piece >= threads_; size = Size(at)) {
      at += size * threads_;
      piece -= threads_;
    }
    return (at + piece * size) * grain_;
  }

 private:
  // Of the pieces from grain `at` on.
  std::int64_t Size(std::int64_t at) const {
    return std::max(least_, (grains_ - at) / (2 * threads_));
  }

  std::int64_t grains_ = 0, grain_ = 1, threads_ = 1, least_ = 1;
};

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;

  // What the current loop is. Written by the caller before `ticket` opens it, and read only by who
  // holds one of its pieces, without which the loop does not end.
  std::int64_t count = 0;
  Pieces pieces;
  const FunctionRef<void(std::int64_t, std::int64_t, int)>* body = nullptr;

  // The loop's number of pieces, and in the lower half the next one that nobody has.
  alignas(64) std::atomic<std::uint64_t> ticket{0};
  alignas(64) std::atomic<std::uint32_t> done{0};  // pieces of the loop
  std::atomic<bool> stop{false};

  alignas(64) std::mutex mutex;  // guards sleeping only
  std::condition_variable wake;
  std::condition_variable finished;  // for a caller that does not work
  int sleepers = 0;                  // under mutex
  std::uint64_t loops = 0;           // so far, under mutex

  static std::uint32_t All(std::uint64_t ticket) {
    return static_cast<std::uint32_t>(ticket >> 32);
  }
  static std::uint32_t Next(std::uint64_t ticket) { return static_cast<std::uint32_t>(ticket); }

  bool Open() const {
    const std::uint64_t now = ticket.load(std::memory_order_acquire);
    return Next(now) < All(now);
  }

  // Runs pieces until none is left; true if this thread finished the loop's last one.
  bool RunPieces(int thread) {
    bool last = false;
    while (Open()) {
      // The loop may have ended and another begun since: what counts is what comes back from here.
      const std::uint64_t mine = ticket.fetch_add(1, std::memory_order_acq_rel);
      if (Next(mine) >= All(mine)) break;
      const std::int64_t begin = pieces.begin(Next(mine));
      const std::int64_t end = std::min(count, pieces.begin(Next(mine) + std::int64_t{1}));
      (*body)(begin, end, thread);
      last = done.fetch_add(1, std::memory_order_acq_rel) + 1 == All(mine);
    }
    return last;
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
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop.store(true);
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

void ThreadPool::Worker(int thread) {
  int spins = 0;
  while (!state_->stop.load(std::memory_order_relaxed)) {
    if (!state_->Open()) {
      if (++spins < kSpins) {
        Pause();
        continue;
      }
      std::unique_lock lock(state_->mutex);
      // Once awake it stays so for a while, even where the loop that woke it has ended: the next
      // one is near.
      const std::uint64_t seen = state_->loops;
      ++state_->sleepers;
      state_->wake.wait(
          lock, [&] { return state_->loops != seen || state_->Open() || state_->stop.load(); });
      --state_->sleepers;
    }
    spins = 0;
    const bool last = state_->RunPieces(thread);
    if (last && !caller_works_) {
      const std::lock_guard lock(state_->mutex);
      state_->finished.notify_one();
    }
  }
}

void ThreadPool::ParallelFor(std::int64_t count, std::int64_t grain,
                             FunctionRef<void(std::int64_t, std::int64_t, int)> body, int pieces) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(1, grain);
  // Less than a grain is too little to hand over, even at low priority.
  if ((threads_ == 1 && caller_works_) || count <= grain) {
    body(0, count, 0);
    return;
  }
  const std::int64_t most = std::int64_t{threads_} * std::max(1, pieces);
  state_->count = count;
  state_->pieces = Pieces(count, grain, threads_, most);
  state_->body = &body;
  const auto all = static_cast<std::uint32_t>(state_->pieces.count());
  state_->done.store(0, std::memory_order_relaxed);
  bool sleeping = false;
  {
    // The lock orders this against a worker that is about to sleep.
    const std::lock_guard lock(state_->mutex);
    ++state_->loops;
    state_->ticket.store(std::uint64_t{all} << 32, std::memory_order_release);
    sleeping = state_->sleepers > 0;
  }
  if (sleeping) state_->wake.notify_all();
  const auto finished = [&] { return state_->done.load(std::memory_order_acquire) == all; };
  if (!caller_works_) {
    std::unique_lock lock(state_->mutex);
    state_->finished.wait(lock, finished);
    return;
  }
  state_->RunPieces(0);
  int spins = 0;
  while (!finished()) {
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
