#include "cli/output.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "cli/command.h"

namespace culet::cli {
namespace {

constexpr std::size_t kBufferBytes = 1u << 16;

void WriteAll(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd ready = {STDOUT_FILENO, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno == EPIPE) {
      throw ClosedPipe();
    } else if (errno != EINTR) {
      throw Error(ErrorKind::kIo, "standard output: " + ErrnoText(errno));
    }
  }
}

}  // namespace

Output::Output() : is_terminal_(::isatty(STDOUT_FILENO) == 1) {}

Output& Output::Standard() {
  static Output output;
  return output;
}

void Output::Write(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= kBufferBytes) Flush();
}

void Output::Flush() {
  std::string text;
  text.swap(buffer_);  // emptied first: a text that failed is not written again
  WriteAll(text);
}

std::string Dimmed(std::string_view text) { return "\x1b[2m" + std::string(text) + "\x1b[22m"; }

bool StandardInputIsTerminal() { return ::isatty(STDIN_FILENO) == 1; }
bool StandardErrorIsTerminal() { return ::isatty(STDERR_FILENO) == 1; }

Progress::Progress(std::string what, double delay_ms)
    : what_(std::move(what)), next_ms_(MillisecondsSinceStart() + delay_ms) {}

void Progress::Show(double done, double total, std::string_view detail) {
  if (!StandardErrorIsTerminal()) return;
  const double now_ms = MillisecondsSinceStart();
  if (now_ms < next_ms_) return;
  next_ms_ = now_ms + 100;
  visible_ = true;
  const double percent = total > 0 ? 100.0 * done / total : 0;
  std::string line = fmt::format("{} {:.0f}% {}", what_, percent, detail);
  // A line that the terminal breaks cannot be drawn over.
  winsize window{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1) {
    line.resize(std::min<std::size_t>(line.size(), window.ws_col - 1u));
  }
  fmt::print(stderr, "\r\x1b[K{}", line);
  std::fflush(stderr);
}

void Progress::Clear() {
  if (!visible_) return;
  visible_ = false;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
}

}  // namespace culet::cli
