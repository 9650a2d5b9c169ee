#include "gil.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "culet/error.h"

namespace culet::python {
namespace {

constexpr auto kShutdownPatience = std::chrono::seconds(5);

std::atomic<int> calls_inside = 0;  // that hold no lock, or will again
std::atomic<bool> ending = false;   // waiting calls are to come back
std::atomic<bool> gone = false;     // whoever comes back now finds no interpreter
std::thread::id ending_thread;      // set before `gone`

}  // namespace

CallInside::CallInside() { ++calls_inside; }

CallInside::~CallInside() { --calls_inside; }

WithoutGil::WithoutGil() : state_(PyEval_SaveThread()) {}

WithoutGil::~WithoutGil() { Lock(); }

void WithoutGil::Lock() {
  // Python ends a thread that asks for the lock of an interpreter that is going: through our
  // frames, which have nothing to catch it with. Such a thread had better sleep until the process
  // is over.
  while (gone && std::this_thread::get_id() != ending_thread) {
    std::this_thread::sleep_for(std::chrono::hours(1));
  }
  PyEval_RestoreThread(state_);
}

bool WithoutGil::Interrupted() {
  if (ending) return true;
  if (Clock::now() - asked_ < std::chrono::duration<double>(kAskEverySeconds)) return false;
  asked_ = Clock::now();
  Lock();
  const bool raised = PyErr_CheckSignals() != 0;
  state_ = PyEval_SaveThread();
  return raised;
}

void CheckInterrupts() {
  if (PyErr_Occurred() != nullptr || PyErr_CheckSignals() != 0) throw nb::python_error();
  if (ending) {
    throw Error(ErrorKind::kInvalidArgument,
                "the interpreter is ending; nothing can be computed any more");
  }
}

void BeginShutdown() {
  ending = true;
  ending_thread = std::this_thread::get_id();
  PyThreadState* state = PyEval_SaveThread();
  const auto limit = std::chrono::steady_clock::now() + kShutdownPatience;
  while (calls_inside > 0 && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  gone = true;
  PyEval_RestoreThread(state);
}

void AfterForkInChild() { calls_inside = 0; }

void RefuseChild(const std::string& what, pid_t process) {
  throw Error(ErrorKind::kInvalidArgument,
              what + " was made by process " + std::to_string(process) +
                  ", of which this one is a fork, and its threads stayed there; load the model in "
                  "this process, or start workers by the spawn method");
}

}  // namespace culet::python
