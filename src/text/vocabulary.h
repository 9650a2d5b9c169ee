// The strings of a vocabulary, by id and by text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/prompt_segment.h"

namespace culet {

// Filled once by Add and Finish, then read by any number of threads.
class Vocabulary {
 public:
  // `text` gets `id`, in any order; 4 GiB of text in all at most. The ids are checked by Finish.
  void Add(std::string_view text, TokenId id);

  struct Problem {
    enum class Kind { kIdMissing, kIdTwice, kTextTwice } kind;
    TokenId id;
  };
  // Call once after the last Add: builds the tables, or says why ids are not 0 … size − 1, each
  // once, with texts that differ.
  std::optional<Problem> Finish();
  // After Finish: one more entry, with id size(). False where the text is there already.
  bool Append(std::string_view text);

  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  // `id` in range.
  std::string_view Text(TokenId id) const { return At(entries_[static_cast<std::size_t>(id)]); }
  std::optional<TokenId> Find(std::string_view text) const;
  // Find for many: ids[i] of texts[i], -1 where there is none. Several times as quick, because the
  // waits for memory overlap.
  void FindAll(std::span<const std::string_view> texts, std::span<TokenId> ids) const;
  std::size_t memory_bytes() const;

 private:
  struct Entry {
    std::uint32_t offset = 0;
    std::uint32_t bytes = 0;
  };
  // A hash table with linear probing, at most half full. The tag saves most looks at the text, and
  // the text's place saves a look at entries_: a look-up misses the cache twice.
  struct Slot {
    std::uint32_t tag = 0;
    TokenId id = -1;
    Entry entry;
  };

  std::string_view At(const Entry& entry) const {
    return std::string_view(texts_).substr(entry.offset, entry.bytes);
  }
  // The slot that holds `text`, or the free one where it belongs.
  std::size_t FindSlot(std::string_view text, std::uint64_t hash) const;
  // False where the text is there already.
  bool Insert(TokenId id);
  void Rehash(std::size_t slots);

  std::string texts_;  // one after the other
  std::vector<Entry> entries_;
  std::vector<TokenId> ids_;  // of entries_ as they were added; empty after Finish
  std::vector<Slot> slots_;   // a power of two
};

// Differs from process to process.
std::uint64_t HashBytes(std::string_view bytes);

}  // namespace culet
