#include "waker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "culet/error.h"

namespace culet::python {

Waker::Waker() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (descriptor_ >= 0) return;
  throw Error(ErrorKind::kResource,
              std::string("the system gives no eventfd to wake the event loop by: ") +
                  std::strerror(errno) + "; close files, or raise the limit on open ones");
}

Waker::~Waker() { close(descriptor_); }

void Waker::Wake(std::uint64_t answer) {
  {
    const std::lock_guard lock(mutex_);
    const bool first = ready_.empty();
    if (std::find(ready_.begin(), ready_.end(), answer) == ready_.end()) ready_.push_back(answer);
    if (!first) return;  // the loop has been woken and has not looked yet
  }
  const std::uint64_t one = 1;
  // Never full: it is written once a Take.
  while (write(descriptor_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

std::vector<std::uint64_t> Waker::Take() {
  std::uint64_t count = 0;
  while (read(descriptor_, &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  std::vector<std::uint64_t> ready;
  const std::lock_guard lock(mutex_);
  ready.swap(ready_);
  return ready;
}

}  // namespace culet::python
