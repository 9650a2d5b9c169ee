// Python's lock and C++ threads: how calls let go of the lock, and what the end of the interpreter
// and a fork do to them.
//
// A call that may take long holds no lock (WithoutGil). Threads of Python that are in such a call
// when the interpreter ends would be torn out of C++ code, so an exit handler ends the waiting ones
// first (BeginShutdown). No thread of the engine ever takes the lock.
#pragma once

#include <nanobind/nanobind.h>
#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

namespace culet::python {

namespace nb = nanobind;

// Throws Error(kInvalidArgument): `what` ("the model") is of the process that this one is a child
// of.
[[noreturn]] void RefuseChild(const std::string& what, pid_t process);

// The end of the interpreter waits for what lives here. A call that is without the lock several
// times and calls Python between them has one of its own, or what it has begun would be left.
class CallInside {
 public:
  CallInside();
  ~CallInside();
  CallInside(const CallInside&) = delete;
  CallInside& operator=(const CallInside&) = delete;
};

// The lock is not held while this lives.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

  // For a callback on the same thread, as often as it likes: takes the lock a few times a second to
  // see what CheckInterrupts, called once this is gone, will throw.
  bool Interrupted();

 private:
  using Clock = std::chrono::steady_clock;
  void Lock();

  CallInside inside_;  // begins before the lock is let go and ends after it is back
  PyThreadState* state_;
  Clock::time_point asked_ = Clock::now();
};

// For waiting calls, between two waits, with the lock held: throws what a signal handler raised
// (KeyboardInterrupt), and culet::Error once the interpreter ends. Signals arrive in Python's main
// thread only.
void CheckInterrupts();
// How long a wait may be until CheckInterrupts is asked again.
inline constexpr double kAskEverySeconds = 0.05;

// Makes waiting calls end and waits until none is in C++ any more, some seconds at most. Called by
// an exit handler of the package, with the lock held.
void BeginShutdown();
// For a fork's child, whose only thread is the one that forked: none is in C++.
void AfterForkInChild();

// A C++ object with threads behind it. Destroyed without the lock, because that may take a step of
// the model. Threads do not survive a fork: in a child it can neither be used nor destroyed.
template <typename T>
class Owned {
 public:
  Owned(T value, std::string what)
      : value_(std::make_unique<T>(std::move(value))), what_(std::move(what)) {}
  ~Owned() {
    if (!of_this_process()) {
      static_cast<void>(value_.release());
      return;
    }
    const WithoutGil released;
    value_.reset();
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  bool of_this_process() const { return process_ == getpid(); }
  // Throws Error(kInvalidArgument) in a child of the process that made it.
  T& get() const {
    if (!of_this_process()) RefuseChild(what_, process_);
    return *value_;
  }

 private:
  std::unique_ptr<T> value_;
  std::string what_;  // "the model"
  pid_t process_ = getpid();
};

}  // namespace culet::python
