#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include "cli/exit_code.h"

namespace culet::cli {
namespace {

volatile sig_atomic_t pending = 0;
struct sigaction before;

extern "C" void OnInterrupt(int) {
  if (pending != 0) _exit(kExitInterrupted);
  pending = 1;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  pending = 0;
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read that waits for input shall return
  sigaction(SIGINT, &action, &before);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &before, nullptr); }

bool InterruptGuard::Pending() { return pending != 0; }
void InterruptGuard::Take() { pending = 0; }

}  // namespace culet::cli
