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

Scheduler::Id EngineThread::Submit(Request request) {
  Scheduler::Id id = 0;
  {
    const std::lock_guard lock(inbox_mutex_);
    id = next_id_++;
    submitted_.emplace_back(id, std::move(request));
  }
  wake_.notify_all();
  return id;
}

void EngineThread::Cancel(Scheduler::Id id) {
  {
    const std::lock_guard lock(inbox_mutex_);
    cancelled_.push_back(id);
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

void EngineThread::Accept(std::pair<Scheduler::Id, Request> item) {
  // Kept apart: a refused request is moved from.
  const std::function<void(const RequestReport&)> on_end = item.second.on_end;
  try {
    scheduler_.Submit(std::move(item.second), item.first);
  } catch (...) {
    RequestReport report;
    report.end = RequestEnd::kFailed;
    report.error = std::current_exception();
    if (on_end) on_end(report);
  }
}

// Waits until there is something to do, and hands the scheduler what has come; then one step.
bool EngineThread::TakeInboxAndStep() {
  std::vector<std::pair<Scheduler::Id, Request>> submitted;
  std::vector<Scheduler::Id> cancelled;
  bool stop = false;
  {
    std::unique_lock lock(inbox_mutex_);
    wake_.wait(lock, [&] {
      if (stop_) return true;
      return turns_ == 0 && (!submitted_.empty() || !cancelled_.empty() || busy_);
    });
    submitted.swap(submitted_);
    cancelled.swap(cancelled_);
    stop = stop_;
  }
  const std::lock_guard lock(engine_mutex_);
  for (auto& item : submitted) Accept(std::move(item));
  for (const Scheduler::Id id : cancelled) scheduler_.Cancel(id);
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
