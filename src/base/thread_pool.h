// A fixed pool of threads that run one parallel loop at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

namespace culet {

// A reference to a callable; it does not own it and allocates nothing.
template <typename Signature>
class FunctionRef;

template <typename Result, typename... Args>
class FunctionRef<Result(Args...)> {
 public:
  // A FunctionRef is copied, never referred to.
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>) FunctionRef(
      F&& callable)  // NOLINT(google-explicit-constructor,bugprone-forwarding-reference-overload)
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        call_([](void* object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  Result operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  Result (*call_)(void*, Args...);
};

// kLow: for work that shall not hold up what runs at normal priority on the same cores. Such
// threads get what the others leave, and about a quarter of a core that is wanted all the time.
enum class ThreadPriority { kNormal, kLow };

// Threads: one caller at a time may be inside ParallelFor. Workers spin for some microseconds after
// a loop, then sleep, so that an idle pool burns no core. The body must not throw and must not call
// ParallelFor.
class ThreadPool {
 public:
  // `threads` >= 1 that work. At normal priority the caller is one of them, so 1 starts none; at
  // low priority it only waits, for a thread that has lowered its priority cannot raise it again.
  // Throws std::system_error where the system starts no more.
  explicit ThreadPool(int threads, ThreadPriority priority = ThreadPriority::kNormal);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(begin, end, thread) so that [0, count) is covered once by at most threads()·pieces
  // contiguous pieces: every piece but the last is a multiple of `grain`. With more than two pieces
  // a thread the first threads() of them are half of all, as a long run through memory is a fast
  // one; the next threads() are half as large, and so on down to an even share of threads()·pieces,
  // which evens out who ends when. Returns when all are done. The pieces depend on count, grain,
  // threads() and `pieces` alone; who gets which does not, for each goes to the next thread that is
  // free: a thread that sleeps or has lost its core holds up no more than the piece it has.
  // `thread`, 0 … threads()−1, is the one that the piece runs on. More pieces even out more, and
  // cost some 100 ns each.
  void ParallelFor(std::int64_t count, std::int64_t grain,
                   FunctionRef<void(std::int64_t begin, std::int64_t end, int thread)> body,
                   int pieces = 1);

 private:
  struct State;
  void Worker(int thread);
  void Stop();

  int threads_;
  bool caller_works_;
  std::unique_ptr<State> state_;
};

// Threads that pay on this machine: the CPUs that the process may run on.
int DefaultThreads();

}  // namespace culet
