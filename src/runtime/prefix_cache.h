// Complete pages by what they stand for: the tokens of the page and of everything before it. A
// request that begins like an earlier one takes its pages and computes only the rest.
//
//   root ── "You are a …" (64 tokens) ── (64 tokens) ─┬─ question A …
//                                                     └─ question B …
//
// An entry is one page of such a tree. It holds a reference to its full-attention page, and to its
// sliding page as long as memory allows; going on behind a page needs the sliding pages that the
// window reaches back to. Tokens are compared, never hashes alone: a collision cannot give a wrong
// answer.
//
// Threads: one caller at a time.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "checkpoint/config.h"
#include "ops/types.h"
#include "runtime/page_pool.h"

namespace culet {

class PrefixCache {
 public:
  static constexpr int kNone = -1;

  // Keeps a reference to the pools, by kind.
  explicit PrefixCache(std::vector<PagePool>& pools);

  // The entry of these kPageTokens tokens behind `parent` (kNone: at the start), or kNone.
  int Find(int parent, std::span<const std::int32_t> tokens) const;
  // Adds one and takes references to its pages; the sliding one may be −1. Its place must be empty.
  int Add(int parent, std::span<const std::int32_t> tokens, std::int32_t full_page,
          std::int32_t sliding_page);
  // Gives an entry the sliding page that it lost.
  void RestoreSlidingPage(int entry, std::int32_t page);

  std::int32_t page(int entry, LayerKind kind) const {
    return entries_[static_cast<std::size_t>(entry)].pages[static_cast<int>(kind)];
  }
  // A page that an entry holds must not be written to any more.
  bool holds(LayerKind kind, std::int32_t page) const {
    return held_[static_cast<int>(kind)][static_cast<std::size_t>(page)];
  }

  // Marks entries as used now, the first of the chain as the latest: ends are forgotten first.
  void Touch(std::span<const int> chain);
  // A place where requests were seen to part or to end: its sliding pages go last.
  void MarkEnd(int entry) { entries_[static_cast<std::size_t>(entry)].end = true; }

  // Each gives one page back that nobody else holds, least recently used first; false: there is
  // none. A full page goes with its entry, and only where no entry stands behind it.
  bool EvictFullPage();
  bool EvictSlidingPage(bool ends_too);
  // Full pages that EvictFullPage could give back, one after the other.
  std::int64_t evictable_full_pages() const;
  std::int64_t entries() const { return static_cast<std::int64_t>(index_.size()); }

 private:
  struct Entry {
    int parent = kNone;
    int children = 0;
    bool live = false;
    bool end = false;
    std::uint64_t last_use = 0;
    std::uint64_t hash = 0;
    std::int32_t pages[kLayerKinds] = {-1, -1};
    std::vector<std::int32_t> tokens;
  };
  void Remove(int entry);
  // Only the cache holds the page.
  bool IsAlone(LayerKind kind, std::int32_t page) const;
  void Hold(LayerKind kind, std::int32_t page);
  void LetGo(LayerKind kind, std::int32_t page);

  std::vector<PagePool>& pools_;
  std::vector<Entry> entries_;
  std::vector<int> vacant_;                            // numbers of entries that are not live
  std::unordered_multimap<std::uint64_t, int> index_;  // hash of parent and tokens -> entry
  std::vector<bool> held_[kLayerKinds];
  std::uint64_t clock_ = 0;
};

}  // namespace culet
