// Standard output, checked: what cannot be written is an error, a reader that went away is not.
#pragma once

#include <string>
#include <string_view>

namespace culet::cli {

// Thrown where the reader of standard output has closed it; ends the command quietly.
struct ClosedPipe {};

// Buffered standard output. Threads: one caller.
class Output {
 public:
  static Output& Standard();

  // Throws ClosedPipe, or Error(kIo) ("standard output: No space left on device").
  void Write(std::string_view text);
  void Flush();
  bool is_terminal() const { return is_terminal_; }

 private:
  Output();
  std::string buffer_;
  bool is_terminal_;
};

// Text that is dimmed on a terminal.
std::string Dimmed(std::string_view text);

bool StandardInputIsTerminal();
bool StandardErrorIsTerminal();

// One line on standard error that is drawn over and over on a terminal, and nothing in a pipe.
class Progress {
 public:
  // Nothing is drawn in the first `delay_ms`: what is done by then needs none.
  explicit Progress(std::string what, double delay_ms = 0);
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Draws at most ten times a second.
  void Show(double done, double total, std::string_view detail);
  void Clear();

 private:
  std::string what_;
  bool visible_ = false;
  double next_ms_;  // since the program's start; nothing is drawn before
};

}  // namespace culet::cli
