#include "runtime/prefix_cache.h"

#include <algorithm>

namespace culet {
namespace {

// Spreads keys over the buckets; equality is decided by the tokens themselves.
std::uint64_t HashOf(int parent, std::span<const std::int32_t> tokens) {
  std::uint64_t hash = static_cast<std::uint64_t>(parent + 1) * 0x9e3779b97f4a7c15u;
  for (const std::int32_t token : tokens) {
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace

PrefixCache::PrefixCache(std::vector<PagePool>& pools) : pools_(pools) {
  for (int kind = 0; kind < kLayerKinds; ++kind) {
    held_[kind].resize(static_cast<std::size_t>(pools_[static_cast<std::size_t>(kind)].pages()));
  }
}

int PrefixCache::Find(int parent, std::span<const std::int32_t> tokens) const {
  const auto [begin, end] = index_.equal_range(HashOf(parent, tokens));
  for (auto at = begin; at != end; ++at) {
    const Entry& entry = entries_[static_cast<std::size_t>(at->second)];
    if (entry.parent == parent && std::ranges::equal(entry.tokens, tokens)) return at->second;
  }
  return kNone;
}

void PrefixCache::Hold(LayerKind kind, std::int32_t page) {
  pools_[static_cast<std::size_t>(kind)].AddReference(page);
  held_[static_cast<int>(kind)][static_cast<std::size_t>(page)] = true;
}

void PrefixCache::LetGo(LayerKind kind, std::int32_t page) {
  held_[static_cast<int>(kind)][static_cast<std::size_t>(page)] = false;
  pools_[static_cast<std::size_t>(kind)].Release(page);
}

int PrefixCache::Add(int parent, std::span<const std::int32_t> tokens, std::int32_t full_page,
                     std::int32_t sliding_page) {
  int number = static_cast<int>(entries_.size());
  if (vacant_.empty()) {
    entries_.emplace_back();
  } else {
    number = vacant_.back();
    vacant_.pop_back();
  }
  Entry& entry = entries_[static_cast<std::size_t>(number)];
  entry = {};
  entry.parent = parent;
  entry.live = true;
  entry.last_use = ++clock_;
  entry.hash = HashOf(parent, tokens);
  entry.tokens.assign(tokens.begin(), tokens.end());
  entry.pages[static_cast<int>(LayerKind::kFull)] = full_page;
  Hold(LayerKind::kFull, full_page);
  if (sliding_page >= 0) RestoreSlidingPage(number, sliding_page);
  if (parent != kNone) ++entries_[static_cast<std::size_t>(parent)].children;
  index_.emplace(entry.hash, number);
  return number;
}

void PrefixCache::RestoreSlidingPage(int entry, std::int32_t page) {
  std::int32_t& place =
      entries_[static_cast<std::size_t>(entry)].pages[static_cast<int>(LayerKind::kSliding)];
  CULET_DCHECK(place < 0);
  place = page;
  Hold(LayerKind::kSliding, page);
}

void PrefixCache::Touch(std::span<const int> chain) {
  for (auto entry = chain.rbegin(); entry != chain.rend(); ++entry) {
    entries_[static_cast<std::size_t>(*entry)].last_use = ++clock_;
  }
}

bool PrefixCache::IsAlone(LayerKind kind, std::int32_t page) const {
  return pools_[static_cast<std::size_t>(kind)].references(page) == 1;
}

void PrefixCache::Remove(int number) {
  Entry& entry = entries_[static_cast<std::size_t>(number)];
  for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull}) {
    const std::int32_t page = entry.pages[static_cast<int>(kind)];
    if (page >= 0) LetGo(kind, page);
  }
  if (entry.parent != kNone) --entries_[static_cast<std::size_t>(entry.parent)].children;
  const auto [begin, end] = index_.equal_range(entry.hash);
  index_.erase(std::find_if(begin, end, [&](const auto& item) { return item.second == number; }));
  entry = {};
  vacant_.push_back(number);
}

bool PrefixCache::EvictFullPage() {
  int victim = kNone;
  for (std::size_t index = 0; index < entries_.size(); ++index) {
    const Entry& entry = entries_[index];
    if (!entry.live || entry.children > 0) continue;
    if (!IsAlone(LayerKind::kFull, entry.pages[static_cast<int>(LayerKind::kFull)])) continue;
    if (victim == kNone || entry.last_use < entries_[static_cast<std::size_t>(victim)].last_use) {
      victim = static_cast<int>(index);
    }
  }
  if (victim == kNone) return false;
  Remove(victim);
  return true;
}

bool PrefixCache::EvictSlidingPage(bool ends_too) {
  Entry* victim = nullptr;
  for (Entry& entry : entries_) {
    const std::int32_t page = entry.pages[static_cast<int>(LayerKind::kSliding)];
    if (!entry.live || page < 0 || (entry.end && !ends_too)) continue;
    if (!IsAlone(LayerKind::kSliding, page)) continue;
    if (victim == nullptr || entry.last_use < victim->last_use) victim = &entry;
  }
  if (victim == nullptr) return false;
  std::int32_t& page = victim->pages[static_cast<int>(LayerKind::kSliding)];
  LetGo(LayerKind::kSliding, page);
  page = -1;
  return true;
}

std::int64_t PrefixCache::evictable_full_pages() const {
  // Who holds a page holds all before it, so nothing behind an evictable page is held.
  std::int64_t count = 0;
  for (const Entry& entry : entries_) {
    count +=
        entry.live && IsAlone(LayerKind::kFull, entry.pages[static_cast<int>(LayerKind::kFull)]);
  }
  return count;
}

}  // namespace culet
