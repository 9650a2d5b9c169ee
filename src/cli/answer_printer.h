// An answer while it comes, for a person or a pipe.
#pragma once

#include "culet/generate.h"

namespace culet::cli {

// Prints thinking dimmed on a terminal and not at all in a pipe, the answer as it comes, and each
// tool call as a line of JSON. Flushes at every piece.
class AnswerPrinter {
 public:
  void Show(const GenerateEvent& event);
  // Ends the last line.
  void Finish();

 private:
  void Print(const std::string& text);
  void EndThinking();

  bool in_thinking_ = false;
  bool line_open_ = false;  // the last character printed was no newline
};

}  // namespace culet::cli
