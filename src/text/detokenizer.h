// Tokens to text while they come.
#pragma once

#include <cstddef>
#include <string>

#include "text/prompt_segment.h"
#include "text/tokenizer.h"

namespace culet {

// Everything that Push and Finish return, joined, equals Tokenizer::Decode of the ids pushed, and
// each returned piece is whole UTF-8 characters.
//
// A run of byte tokens is text only if all of it is UTF-8 (that is how the file's decoder counts),
// so a run is held back until another token ends it, until Finish, or until it can no longer be
// UTF-8.
//
// Threads: one caller. The tokenizer must outlive it.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // The text that `id` completes; often empty. Throws Error(kInvalidArgument) for an id outside the
  // vocabulary, and then nothing has changed.
  std::string Push(TokenId id);
  // What was held back. The detokenizer is as new afterwards.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  std::string run_;          // bytes of the open run, as far as they may still become text
  std::size_t whole_ = 0;    // of them, how many are whole characters
  bool run_broken_ = false;  // the open run can no longer be UTF-8; its bytes went out as U+FFFD
};

}  // namespace culet
