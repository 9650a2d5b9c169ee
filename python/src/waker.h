// Wakes an event loop when answers have something to take, from the model's thread and without
// Python's lock: an eventfd that the loop watches, and the list of who is ready.
//
// Taking the lock on the model's thread would make every request wait for whatever Python computes,
// and hang at the interpreter's end. Threads: any.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace culet::python {

class Waker {
 public:
  Waker();  // throws Error(kResource) where there are no more file descriptors
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  int descriptor() const { return descriptor_; }
  void Wake(std::uint64_t answer);
  // Who is ready, each once, and nobody is any more.
  std::vector<std::uint64_t> Take();

 private:
  int descriptor_;
  std::mutex mutex_;  // guards ready_
  std::vector<std::uint64_t> ready_;
};

}  // namespace culet::python
