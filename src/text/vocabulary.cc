#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace culet {
namespace {

constexpr std::uint64_t kMultiplier = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio, odd

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
  std::uint64_t hash = size * kMultiplier;
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
  entries_.push_back({texts_.size(), static_cast<std::uint32_t>(text.size()), id});
  texts_.append(text);
}

std::optional<Vocabulary::Problem> Vocabulary::Finish() {
  const auto by_id = [](const Entry& a, const Entry& b) { return a.id < b.id; };
  if (!std::is_sorted(entries_.begin(), entries_.end(), by_id)) {
    std::sort(entries_.begin(), entries_.end(), by_id);
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const TokenId expected = static_cast<TokenId>(i);
    if (entries_[i].id > expected) return Problem{Problem::Kind::kIdMissing, expected};
    if (entries_[i].id < expected) return Problem{Problem::Kind::kIdTwice, entries_[i].id};
  }
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
  if (entries_.size() * 2 > slots_.size()) Rehash(slots_.size() * 2);
  else Insert(id);
  return true;
}

void Vocabulary::Rehash(std::size_t slots) {
  slots_.assign(slots, Slot{});
  for (std::size_t i = 0; i < entries_.size(); ++i) Insert(static_cast<TokenId>(i));
}

bool Vocabulary::Insert(TokenId id) {
  const std::string_view text = Text(id);
  const std::uint64_t hash = HashBytes(text);
  const std::uint32_t tag = static_cast<std::uint32_t>(hash >> 32);
  std::size_t i = hash & (slots_.size() - 1);
  while (slots_[i].id >= 0) {
    if (slots_[i].tag == tag && Text(slots_[i].id) == text) return false;
    i = (i + 1) & (slots_.size() - 1);
  }
  slots_[i] = {tag, id};
  return true;
}

std::optional<TokenId> Vocabulary::Find(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const std::uint64_t hash = HashBytes(text);
  const std::uint32_t tag = static_cast<std::uint32_t>(hash >> 32);
  std::size_t i = hash & (slots_.size() - 1);
  while (slots_[i].id >= 0) {
    if (slots_[i].tag == tag && Text(slots_[i].id) == text) return slots_[i].id;
    i = (i + 1) & (slots_.size() - 1);
  }
  return std::nullopt;
}

std::size_t Vocabulary::memory_bytes() const {
  return texts_.capacity() + entries_.capacity() * sizeof(Entry) + slots_.capacity() * sizeof(Slot);
}

}  // namespace culet
