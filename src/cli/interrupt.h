// Ctrl-C.
#pragma once

namespace culet::cli {

// Thrown where Ctrl-C shall end the command; main.cc makes exit code 130 of it.
struct Interrupted {};

// While one lives, Ctrl-C only sets a flag; a second one before the first was taken ends the
// process at once. Without one, Ctrl-C ends the process. At most one lives at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool Pending();
  static void Take();  // forgets a pending one
  // Waits until standard input has something (or has ended); false where Ctrl-C came before or
  // meanwhile. A plain read would sleep through one that comes a moment before it.
  static bool WaitForInput();
};

}  // namespace culet::cli
