// Lines that a person types, or that come through a pipe.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "cli/text_input.h"

namespace culet::cli {

// On a terminal: libedit's editing, and a history that is kept in a file. In a pipe: plain lines
// and no prompt. Threads: one, and one reader at a time.
class LineReader {
 public:
  enum class Outcome { kLine, kEnd, kInterrupted };

  LineReader();
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool interactive() const { return terminal_ != nullptr; }
  // `line` comes without its end. kInterrupted: Ctrl-C; what was typed is dropped.
  Outcome Read(const std::string& prompt, std::string* line);

 private:
  struct Terminal;
  std::unique_ptr<Terminal> terminal_;  // empty in a pipe
  LineInput input_;
};

}  // namespace culet::cli
