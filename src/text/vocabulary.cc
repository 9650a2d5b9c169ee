#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

#include "base/error.h"

namespace culet {
namespace {

constexpr std::uint64_t kMultiplier = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio, odd

// Another one in every process, so that no tokenizer.json can be made whose tokens all collide.
const std::uint64_t salt = (static_cast<std::uint64_t>(std::random_device()()) << 32) | 1;

template <typename T>
std::uint64_t Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

std::uint64_t Mix(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * kMultiplier;
  return hash ^ hash >> 32;
}

}  // namespace

std::uint64_t HashBytes(std::string_view bytes) {
  const char* data = bytes.data();
  std::size_t size = bytes.size();
  std::uint64_t hash = size * kMultiplier + salt;
  while (size > 8) {
    hash = Mix(hash, Load<std::uint64_t>(data));
    data += 8;
    size -= 8;
  }
  // The last 1 to 8 bytes by loads that may overlap.
  if (size >= 4) {
    hash = Mix(hash, Load<std::uint32_t>(data) << 32 | Load<std::uint32_t>(data + size - 4));
  } else if (size > 0) {
    hash = Mix(hash, Load<std::uint8_t>(data) << 16 | Load<std::uint8_t>(data + size / 2) << 8 |
                         Load<std::uint8_t>(data + size - 1));
  }
  return Mix(hash, kMultiplier);
}

void Vocabulary::Add(std::string_view text, TokenId id) {
  entries_.push_back(
      {static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(text.size())});
  ids_.push_back(id);
  texts_.append(text);
}

std::optional<Vocabulary::Problem> Vocabulary::Finish() {
  // Published files stand in the order of ids; others are put into it.
  constexpr std::uint32_t kFree = 0xffffffffu;
  std::vector<Entry> by_id(entries_.size(), Entry{0, kFree});
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::size_t id = static_cast<std::size_t>(ids_[i]);
    if (id >= by_id.size()) continue;  // then some smaller id is missing
    if (by_id[id].bytes != kFree) return Problem{Problem::Kind::kIdTwice, ids_[i]};
    by_id[id] = entries_[i];
  }
  for (std::size_t id = 0; id < by_id.size(); ++id) {
    if (by_id[id].bytes == kFree) {
      return Problem{Problem::Kind::kIdMissing, static_cast<TokenId>(id)};
    }
  }
  entries_ = std::move(by_id);
  ids_ = {};
  slots_.assign(std::bit_ceil(std::max<std::size_t>(entries_.size() * 2, 16)), Slot{});
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const TokenId id = static_cast<TokenId>(i);
    if (!Insert(id)) return Problem{Problem::Kind::kTextTwice, id};
  }
  return std::nullopt;
}

bool Vocabulary::Append(std::string_view text) {
  if (Find(text)) return false;
  const TokenId id = static_cast<TokenId>(entries_.size());
  Add(text, id);
  ids_.clear();
  if (entries_.size() * 2 > slots_.size()) {
    Rehash(slots_.size() * 2);
  } else {
    Insert(id);
  }
  return true;
}

void Vocabulary::Rehash(std::size_t slots) {
  slots_.assign(slots, Slot{});
  for (std::size_t i = 0; i < entries_.size(); ++i) Insert(static_cast<TokenId>(i));
}

std::size_t Vocabulary::FindSlot(std::string_view text, std::uint64_t hash) const {
  const std::uint32_t tag = static_cast<std::uint32_t>(hash >> 32);
  std::size_t i = hash & (slots_.size() - 1);
  while (slots_[i].id >= 0 && !(slots_[i].tag == tag && At(slots_[i].entry) == text)) {
    i = (i + 1) & (slots_.size() - 1);
  }
  return i;
}

bool Vocabulary::Insert(TokenId id) {
  const Entry& entry = entries_[static_cast<std::size_t>(id)];
  const std::uint64_t hash = HashBytes(At(entry));
  Slot& slot = slots_[FindSlot(At(entry), hash)];
  if (slot.id >= 0) return false;
  slot = {static_cast<std::uint32_t>(hash >> 32), id, entry};
  return true;
}

std::optional<TokenId> Vocabulary::Find(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const Slot& slot = slots_[FindSlot(text, HashBytes(text))];
  return slot.id >= 0 ? std::optional<TokenId>(slot.id) : std::nullopt;
}

void Vocabulary::FindAll(std::span<const std::string_view> texts, std::span<TokenId> ids) const {
  constexpr std::size_t kBlock = 64;
  std::uint64_t hashes[kBlock];
  for (std::size_t begin = 0; begin < texts.size(); begin += kBlock) {
    const std::size_t count = std::min(kBlock, texts.size() - begin);
    for (std::size_t i = 0; i < count; ++i) {
      hashes[i] = HashBytes(texts[begin + i]);
      __builtin_prefetch(&slots_[hashes[i] & (slots_.size() - 1)]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const Slot& slot = slots_[hashes[i] & (slots_.size() - 1)];
      __builtin_prefetch(texts_.data() + slot.entry.offset);
    }
    for (std::size_t i = 0; i < count; ++i) {
      ids[begin + i] = slots_[FindSlot(texts[begin + i], hashes[i])].id;
    }
  }
}

std::size_t Vocabulary::memory_bytes() const {
  return texts_.capacity() + entries_.capacity() * sizeof(Entry) + slots_.capacity() * sizeof(Slot);
}

}  // namespace culet
