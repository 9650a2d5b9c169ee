// A tokenizer.json, read and checked.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/bpe.h"
#include "text/vocabulary.h"

namespace culet {

struct TokenizerFile {
  Vocabulary vocabulary;                                      // with the added tokens
  std::vector<std::pair<std::string, TokenId>> added_tokens;  // all special, in the file's order
  std::vector<MergeRule> merges;                              // by rank
  Bpe::ByteTokens byte_tokens{};
  Bpe::Options bpe;
  bool underline_is_space = false;   // the decoder writes "▁" as " "
  std::vector<TokenId> front, back;  // what post_processor puts around a text
};

// Throws Error: kCorrupt for text that is not JSON or contradicts itself, kUnsupported for a kind
// of tokenizer that culet does not know. Messages begin with `place`.
TokenizerFile ParseTokenizerFile(std::string_view text, const std::string& place);

}  // namespace culet
