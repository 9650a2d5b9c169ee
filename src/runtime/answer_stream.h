// From generated tokens to what a caller sees: whole characters, thinking apart from the answer,
// tool calls parsed, stop texts honoured.
#pragma once

#include <string>
#include <vector>

#include "text/detokenizer.h"
#include "text/output_parser.h"
#include "text/tokenizer.h"

namespace culet {

// Cuts a stream of text before the first of some texts. Holds back what may be the beginning of
// one.
class StopTexts {
 public:
  // Empty texts never match.
  explicit StopTexts(std::vector<std::string> texts);

  // The text that is certain by now. After a match it is what came before, and found() is true.
  std::string Feed(std::string_view text);
  std::string Finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> texts_;
  std::string held_;
  bool found_ = false;
};

// Threads: one caller. The tokenizer must outlive it.
class AnswerStream {
 public:
  AnswerStream(const Tokenizer& tokenizer, bool starts_in_thought, std::vector<std::string> stop);

  // Events that this token completes. Only control tokens act as such: text that spells one is
  // text. Stop tokens are not pushed: they are not part of the text.
  std::vector<OutputEvent> Push(TokenId token);
  // What was held back.
  std::vector<OutputEvent> Finish();
  // A stop text was found in the answer: nothing more comes.
  bool stopped() const { return stop_.found(); }

 private:
  std::vector<OutputEvent> Filter(std::vector<OutputEvent> events);

  const Tokenizer& tokenizer_;
  Detokenizer detokenizer_;
  OutputParser parser_;
  StopTexts stop_;
};

}  // namespace culet
