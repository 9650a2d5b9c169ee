// Text that a user gives: arguments, files, standard input.
#pragma once

#include <string>
#include <string_view>

namespace culet::cli {

// Throws Error(kInvalidArgument) with the byte offset where `text` is not UTF-8. `place` names it:
// "the prompt", "--system".
void CheckUtf8(std::string_view text, const std::string& place);

// All of standard input. Throws Error: kIo, or kResource where it is larger than any context.
std::string ReadStandardInput();

// The file, or standard input where `path` is "-".
std::string ReadTextFile(const std::string& path);

// Lines of standard input through a large buffer; the same limit holds for a line. Threads: one
// caller.
class LineInput {
 public:
  // The next line without its end; false at the end of the input. Calls `before_waiting` when what
  // was read is used up. The line is valid until the next call.
  template <typename BeforeWaiting>
  bool Next(std::string_view* line, const BeforeWaiting& before_waiting) {
    while (!TakeLine(line)) {
      if (at_end_) return TakeRest(line);
      before_waiting();
      Fill();
    }
    return true;
  }
  std::size_t number() const { return number_; }  // of the line given last, from 1

 private:
  bool TakeLine(std::string_view* line);
  bool TakeRest(std::string_view* line);
  void Fill();

  std::string buffer_;
  std::size_t begin_ = 0;     // of what was not given yet
  std::size_t searched_ = 0;  // no line end before this
  std::size_t number_ = 0;
  bool at_end_ = false;
};

}  // namespace culet::cli
