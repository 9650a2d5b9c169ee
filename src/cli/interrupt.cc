#include "cli/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "cli/exit_code.h"

namespace culet::cli {
namespace {

volatile sig_atomic_t pending = 0;
struct sigaction before;
int wake[2] = {-1, -1};  // a pipe that Ctrl-C writes to; poll leaves out what is -1

extern "C" void OnInterrupt(int) {
  if (pending != 0) _exit(kExitInterrupted);
  pending = 1;
  const int error_number = errno;
  const char byte = 0;
  if (::write(wake[1], &byte, 1) < 0) {  // full: it wakes all the same
  }
  errno = error_number;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  if (::pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0) {
    throw Error(ErrorKind::kResource, "cannot open a pipe: " + ErrnoText(errno));
  }
  pending = 0;
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read that waits for input shall return
  sigaction(SIGINT, &action, &before);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &before, nullptr);
  ::close(wake[0]);
  ::close(wake[1]);
  wake[0] = wake[1] = -1;
}

bool InterruptGuard::Pending() { return pending != 0; }
void InterruptGuard::Take() {
  pending = 0;
  char byte = 0;
  while (::read(wake[0], &byte, 1) == 1) {
  }
}

bool InterruptGuard::WaitForInput() {
  // The pipe, not the signal, ends the waiting: the signal may come before it, and to another
  // thread.
  pollfd waits[2] = {{STDIN_FILENO, POLLIN, 0}, {wake[0], POLLIN, 0}};
  while (pending == 0 && ::poll(waits, 2, -1) < 0 && errno == EINTR) {
  }
  return pending == 0;
}

}  // namespace culet::cli
