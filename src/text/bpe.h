// Byte-pair encoding of one stretch of text: exact, in time n·log(n) at worst and linear memory.
//
// The text starts as characters; again and again the adjacent pair whose merge has the lowest rank
// (the leftmost of equals) becomes one symbol, until no pair has a merge. A character that the
// vocabulary lacks starts as the byte tokens of its UTF-8.
//
// Cuts. Two neighbouring characters x, y can end up in one token only if some merge joins a left
// side that ends with x to a right side that begins with y, because every token of more characters
// than one was joined at each of its inner borders by such a merge. Where no merge does, BPE of the
// whole text equals BPE of the two parts. So the set of these pairs, taken from the merges at load
// time, cuts any text into short words exactly, for every vocabulary; nothing is assumed about
// spaces, digits or line ends. Pairs beyond ASCII are kept as a hashed bit set: a false "may join"
// only costs a cut.
//
// Long words without such a cut are merged chunk by chunk. Let a … z be BPE of a text A, b … y that
// of B. Where BPE of the text of z and b alone gives z, b again, BPE of A B is a … z b … y: before
// a merge first joins across the border, both sides go on as they would alone; the merge joins the
// ends of what becomes z and b, and it comes first among all pairs, so also among those inside z
// and b, and BPE of these two alone would make it too. So one small check proves a border.
//
// Threads: const members may be called from any number of threads, each with its own Work.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/prompt_segment.h"
#include "text/vocabulary.h"

namespace culet {

// left + right -> result; the rank is the place in the list.
struct MergeRule {
  TokenId left = 0;
  TokenId right = 0;
  TokenId result = 0;
};

class Bpe {
 public:
  struct Options {
    bool space_is_underline = false;  // the normalizer: " " counts as "▁" (U+2581)
    bool cut_after_space = false;     // the pre-tokenizer, where " " is left to cut after
  };
  // How many there may be at most: a pair and its rank share 64 bits.
  static constexpr std::size_t kMaxVocab = std::size_t{1} << 20;
  static constexpr std::size_t kMaxMerges = (std::size_t{1} << 24) - 1;
  // The ids of `<0x00>` … `<0xFF>`.
  using ByteTokens = std::array<TokenId, 256>;

  // What one call of the tokenizer keeps while it encodes stretch after stretch: words met before,
  // and room for long words. The texts given to Encode must outlive it, and the ids that Encode
  // appended must stay.
  class Work {
   public:
    // `bytes` of text to come decide whether remembering words pays.
    explicit Work(std::size_t bytes);

   private:
    friend class Bpe;
    struct Word {
      const char* text = nullptr;
      std::uint32_t bytes = 0;
      std::uint32_t count = 0;  // of its ids …
      std::size_t first = 0;    // … which stand at ids[first …]
    };
    struct Symbol {
      TokenId id = 0;
      std::int32_t previous = -1;  // -1: none
      std::int32_t next = -1;
      std::uint32_t rank = 0;  // of the merge with `next`
    };
    struct Tokens {
      std::vector<TokenId> ids;
      std::vector<std::uint32_t> begins;  // where each begins among the first symbols
      void Clear() {
        ids.clear();
        begins.clear();
      }
    };
    std::vector<Word> words_;  // a power of two, or none
    // For words that are not short.
    std::vector<TokenId> initial_;  // the first symbols: characters and bytes
    Tokens done_;
    Tokens piece_;
    Tokens pair_;
    std::vector<Symbol> symbols_;
    std::vector<std::uint64_t> queue_;  // rank << 32 | place, a heap with the smallest on top
  };

  Bpe() = default;
  // Fills an empty object. Merges and byte tokens are in the vocabulary; no merge has a byte token
  // as a side or as its result. Returns the place of a merge whose pair stood before, if there is
  // one: then the object is of no use.
  std::optional<std::size_t> Build(const Vocabulary& vocabulary, std::span<const MergeRule> merges,
                                   const ByteTokens& byte_tokens, const Options& options);

  // Appends the ids of `text`, which must be UTF-8. Throws Error(kResource) for a word beyond 683
  // MiB.
  void Encode(std::string_view text, Work* work, std::vector<TokenId>* ids) const;

  // Where the first word of `text` ends (not empty): for tests of the cuts.
  std::size_t WordEnd(std::string_view text) const;
  std::size_t memory_bytes() const;

 private:
  static constexpr std::uint32_t kNoRank = kMaxMerges;

  // The rank of the merge of the pair; kNoRank where there is none.
  std::uint32_t FindRank(TokenId left, TokenId right) const;
  void SetJoin(char32_t left, char32_t right);
  bool MayJoin(char32_t left, char32_t right) const;
  char32_t Canonical(char32_t code) const;
  // Calls add(id) for each first symbol of the character.
  template <typename Add>
  void ForEachSymbol(std::string_view word, const Add& add) const;
  void EncodeWord(std::string_view word, Work* work, std::vector<TokenId>* ids) const;
  void EncodeShortWord(std::string_view word, std::vector<TokenId>* ids) const;
  void EncodeLongWord(std::string_view word, Work* work, std::vector<TokenId>* ids) const;
  // BPE of a few symbols (not none); calls add(id, place among `initial`) for each token.
  template <typename Add>
  void MergeFew(const TokenId* initial, std::size_t count, const Add& add) const;
  // BPE of initial[begin … end) alone, not empty.
  void MergeSymbols(const std::vector<TokenId>& initial, std::size_t begin, std::size_t end,
                    Work* work, Work::Tokens* tokens) const;

  Options options_;
  ByteTokens byte_tokens_{};
  // Merges by pair: left << 44 | right << 24 | rank, all ones where free. A hash table with linear
  // probing, at most half full. Encoding waits for little else than its cache lines.
  std::vector<std::uint64_t> ranks_;
  std::vector<TokenId> results_;  // by rank
  // The token of a single character: pages of 256 code points; page 0 is empty.
  std::vector<std::array<TokenId, 256>> pages_;
  std::vector<std::uint16_t> page_of_;  // [0x1100], by code point >> 8
  // Pairs that a merge may join: ASCII exactly, all others hashed.
  std::array<std::array<std::uint64_t, 2>, 128> ascii_joins_{};
  std::vector<std::uint64_t> other_joins_;  // a power of two
};

}  // namespace culet
