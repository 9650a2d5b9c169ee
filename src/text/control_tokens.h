// The added tokens of a tokenizer: found in text as they are, before BPE.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/prompt_segment.h"

namespace culet {

// A trie over bytes. Filled by Add, then read by any number of threads.
class ControlTokens {
 public:
  ControlTokens();
  // `text` is not empty. False where it is there already.
  bool Add(std::string_view text, TokenId id);

  struct Match {
    std::size_t begin;
    std::size_t end;
    TokenId id;
  };
  // The leftmost control token in text[from …], the longest of those that begin there.
  std::optional<Match> Find(std::string_view text, std::size_t from) const;
  std::size_t memory_bytes() const;

 private:
  struct Node {
    TokenId id = -1;                                            // of the token that ends here
    std::vector<std::pair<unsigned char, std::uint32_t>> next;  // byte, node; sorted by byte
  };
  // The child of `node` by `byte`; 0 where there is none (the root is nobody's child).
  std::uint32_t Child(std::uint32_t node, unsigned char byte) const;

  std::vector<Node> nodes_;
  std::array<bool, 256> begins_{};  // bytes that begin a token
};

}  // namespace culet
