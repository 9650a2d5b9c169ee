// A prompt in pieces, so that what a user typed can never act as a control token.
#pragma once

#include <cstdint>
#include <string>

namespace culet {

using TokenId = std::int32_t;

// A piece of a prompt: template text (control tokens in it count) or data (they are just
// characters).
struct PromptSegment {
  std::string text;
  bool control = false;
};

}  // namespace culet
