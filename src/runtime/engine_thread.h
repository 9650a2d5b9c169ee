// A thread that steps the scheduler while there is work, and sleeps while there is none.
//
// Threads: every function may be called from any thread. Callbacks of requests run on this thread,
// between two steps; they must be short, and must not call back into it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/scheduler.h"

namespace culet {

class EngineThread {
 public:
  // Keeps a reference to the engine, which nobody else may touch but inside Exclusive.
  EngineThread(Engine& engine, const SchedulerOptions& options);
  // Ends every request as cancelled.
  ~EngineThread();

  // Does not wait for the step that is being computed. What is wrong with the request (see
  // Scheduler::Submit) comes by its on_end as kFailed.
  void Submit(Request request);

  // Runs work(engine) on the caller's thread while no step is computed.
  template <typename Work>
  auto Exclusive(const Work& work) {
    const Turn turn(*this);
    return work(engine_);
  }
  SchedulerStatistics statistics();

 private:
  // The caller's turn at the engine: holds engine_mutex_ and makes the loop wait.
  class Turn {
   public:
    explicit Turn(EngineThread& owner);
    ~Turn();

   private:
    EngineThread& owner_;
    std::unique_lock<std::mutex> lock_;
  };

  void Loop();
  bool TakeInboxAndStep();  // false: stop
  void Accept(Request&& request);

  Engine& engine_;
  std::mutex engine_mutex_;  // guards engine_ and scheduler_
  Scheduler scheduler_;

  std::mutex inbox_mutex_;  // guards what follows
  std::condition_variable wake_;
  std::vector<Request> submitted_;
  int turns_ = 0;  // callers that wait for Exclusive or are in it
  bool stop_ = false;
  bool busy_ = false;  // of the loop alone: the last step had work

  std::thread thread_;
};

}  // namespace culet
