#include "runtime/engine_thread.h"

#include <exception>

namespace culet {

EngineThread::EngineThread(Engine& engine, const SchedulerOptions& options)
    : engine_(engine), scheduler_(engine, options), thread_([this] { Loop(); }) {}

EngineThread::~EngineThread() {
  {
    const std::lock_guard lock(inbox_mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void EngineThread::Submit(Request request) {
  {
    const std::lock_guard lock(inbox_mutex_);
    submitted_.push_back(std::move(request));
  }
  wake_.notify_all();
}

SchedulerStatistics EngineThread::statistics() {
  const Turn turn(*this);
  return scheduler_.statistics();
}

EngineThread::Turn::Turn(EngineThread& owner) : owner_(owner) {
  {
    const std::lock_guard lock(owner.inbox_mutex_);
    ++owner.turns_;
  }
  lock_ = std::unique_lock(owner.engine_mutex_);
}

EngineThread::Turn::~Turn() {
  lock_.unlock();
  {
    const std::lock_guard lock(owner_.inbox_mutex_);
    --owner_.turns_;
  }
  owner_.wake_.notify_all();
}

void EngineThread::Accept(Request&& request) {
  try {
    scheduler_.Submit(std::move(request));
  } catch (...) {
    RequestReport report;
    report.end = RequestEnd::kFailed;
    report.error = std::current_exception();
    if (request.on_end) request.on_end(report);  // refused: it is as it was
  }
}

// Waits until there is something to do, and hands the scheduler what has come; then one step.
bool EngineThread::TakeInboxAndStep() {
  std::vector<Request> submitted;
  bool stop = false;
  {
    std::unique_lock lock(inbox_mutex_);
    wake_.wait(lock, [&] {
      if (stop_) return true;
      return turns_ == 0 && (!submitted_.empty() || busy_);
    });
    submitted.swap(submitted_);
    stop = stop_;
  }
  const std::lock_guard lock(engine_mutex_);
  for (Request& request : submitted) Accept(std::move(request));
  if (stop) scheduler_.CancelAll();
  try {
    busy_ = scheduler_.Step();
  } catch (...) {
    scheduler_.FailAll(std::current_exception());
    busy_ = false;
  }
  return !stop;
}

void EngineThread::Loop() {
  while (TakeInboxAndStep()) {
  }
}

}  // namespace culet
