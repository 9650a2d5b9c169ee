// An answer while it comes, for a person or a pipe.
#pragma once

#include <cstdint>
#include <functional>

#include "culet/generate.h"

namespace culet::cli {

// For GenerateOptions::on_prefill: on a terminal, how much of a prompt is computed, from a second
// on and until all is.
std::function<void(std::int64_t, std::int64_t)> PrefillProgress();

// For GenerateOptions::on_media: how much of a prompt's media is encoded, likewise.
std::function<bool(std::int64_t, std::int64_t)> MediaProgress();

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
