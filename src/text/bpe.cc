#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"

namespace culet {
namespace {

constexpr char32_t kUnderline = 0x2581;  // "▁", a space inside the vocabulary
constexpr TokenId kNoToken = -1;
// So many symbols at most are merged by looking at all pairs each time: a queue pays only beyond,
// where the look no longer is a handful of vector instructions.
constexpr std::size_t kFew = 128;
// Words up to here have no more symbols than that: "▁" may be three byte tokens where a space is
// one.
constexpr std::size_t kShortWordBytes = 40;
static_assert(3 * kShortWordBytes <= kFew);
// Longer words are merged by chunks of so many characters or bytes, and some tokens before them.
constexpr std::size_t kChunkSymbols = 64;
constexpr std::size_t kMaxCarry = 64;
// Three byte tokens a byte at most, counted in 31 bits.
constexpr std::size_t kMaxWordBytes = 0x7fffffff / 3;
// Texts below this are done before remembering words pays for the table.
constexpr std::size_t kRememberFromBytes = 2048;
constexpr std::size_t kRememberedWords = 16384;

constexpr int kRankBits = 24;
constexpr std::uint32_t kSignBit = 0x80000000u;
constexpr std::uint64_t kFreeSlot = ~std::uint64_t{0};

// 40 bits.
std::uint64_t PairOf(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 20 |
         static_cast<std::uint32_t>(right);
}

std::uint64_t HashPair(std::uint64_t pair) {
  pair *= 0x9e3779b97f4a7c15u;
  pair ^= pair >> 32;
  pair *= 0xd6e8feb86659fd93u;
  return pair ^ pair >> 32;
}

// The last character of `text`, which is UTF-8 and not empty.
char32_t LastChar(std::string_view text) {
  std::size_t pos = text.size() - 1;
  while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xc0) == 0x80) --pos;
  return DecodeUtf8(text.data() + pos).code;
}

}  // namespace

Bpe::Work::Work(std::size_t bytes) {
  if (bytes >= kRememberFromBytes) words_.resize(kRememberedWords);
}

char32_t Bpe::Canonical(char32_t code) const {
  return code == kUnderline && options_.space_is_underline ? U' ' : code;
}

void Bpe::SetJoin(char32_t left, char32_t right) {
  left = Canonical(left);
  right = Canonical(right);
  if (left < 128 && right < 128) {
    ascii_joins_[left][right >> 6] |= std::uint64_t{1} << (right & 63);
  } else {
    const std::uint64_t hash = HashPair(static_cast<std::uint64_t>(left) << 32 | right);
    other_joins_[hash >> 6 & (other_joins_.size() - 1)] |= std::uint64_t{1} << (hash & 63);
  }
}

bool Bpe::MayJoin(char32_t left, char32_t right) const {
  if (left < 128 && right < 128) return (ascii_joins_[left][right >> 6] >> (right & 63) & 1) != 0;
  if (left == U' ' && options_.cut_after_space) return false;
  const std::uint64_t hash = HashPair(static_cast<std::uint64_t>(left) << 32 | right);
  return (other_joins_[hash >> 6 & (other_joins_.size() - 1)] >> (hash & 63) & 1) != 0;
}

std::optional<std::size_t> Bpe::Build(const Vocabulary& vocabulary,
                                      std::span<const MergeRule> merges,
                                      const ByteTokens& byte_tokens, const Options& options) {
  options_ = options;
  byte_tokens_ = byte_tokens;

  const std::size_t vocab = static_cast<std::size_t>(vocabulary.size());
  std::vector<char32_t> first(vocab);  // character of each token
  std::vector<char32_t> last(vocab);
  pages_.resize(1);
  pages_[0].fill(kNoToken);
  page_of_.assign(0x110000 >> 8, 0);
  for (std::size_t i = 0; i < vocab; ++i) {
    const std::string_view text = vocabulary.Text(static_cast<TokenId>(i));
    if (text.empty()) continue;
    const Utf8Char begin = DecodeUtf8(text.data());
    first[i] = begin.code;
    last[i] = LastChar(text);
    if (begin.bytes != text.size()) continue;
    std::uint16_t& page = page_of_[begin.code >> 8];
    if (page == 0) {
      page = static_cast<std::uint16_t>(pages_.size());
      pages_.push_back(pages_[0]);
    }
    pages_[page][begin.code & 255] = static_cast<TokenId>(i);
  }

  CULET_DCHECK(vocab <= kMaxVocab && merges.size() <= kMaxMerges);
  ranks_.assign(std::bit_ceil(std::max<std::size_t>(merges.size() * 2, 16)), kFreeSlot);
  results_.resize(merges.size());
  // About four bits a merge: many merges share a pair, so few bits are set.
  other_joins_.assign(std::bit_ceil(std::max<std::size_t>(merges.size() / 16, 64)), 0);
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const MergeRule& rule = merges[rank];
    const std::uint64_t pair = PairOf(rule.left, rule.right);
    std::size_t i = HashPair(pair) & (ranks_.size() - 1);
    while (ranks_[i] != kFreeSlot) {
      if (ranks_[i] >> kRankBits == pair) return rank;
      i = (i + 1) & (ranks_.size() - 1);
    }
    ranks_[i] = pair << kRankBits | rank;
    results_[rank] = rule.result;
    SetJoin(last[static_cast<std::size_t>(rule.left)], first[static_cast<std::size_t>(rule.right)]);
  }
  if (options_.cut_after_space) ascii_joins_[U' '] = {0, 0};
  return std::nullopt;
}

std::uint32_t Bpe::FindRank(TokenId left, TokenId right) const {
  const std::uint64_t pair = PairOf(left, right);
  std::size_t i = HashPair(pair) & (ranks_.size() - 1);
  while (ranks_[i] >> kRankBits != pair) {
    if (ranks_[i] == kFreeSlot) return kNoRank;
    i = (i + 1) & (ranks_.size() - 1);
  }
  return static_cast<std::uint32_t>(ranks_[i] & kMaxMerges);
}

std::size_t Bpe::WordEnd(std::string_view text) const {
  Utf8Char c = DecodeUtf8(text.data());
  char32_t left = Canonical(c.code);
  std::size_t pos = c.bytes;
  while (pos < text.size()) {
    c = DecodeUtf8(text.data() + pos);
    const char32_t right = Canonical(c.code);
    if (!MayJoin(left, right)) break;
    left = right;
    pos += c.bytes;
  }
  return pos;
}

void Bpe::Encode(std::string_view text, Work* work, std::vector<TokenId>* ids) const {
  while (!text.empty()) {
    const std::size_t end = WordEnd(text);
    EncodeWord(text.substr(0, end), work, ids);
    text.remove_prefix(end);
  }
}

template <typename Add>
void Bpe::ForEachSymbol(std::string_view word, const Add& add) const {
  for (std::size_t pos = 0; pos < word.size();) {
    const Utf8Char c = DecodeUtf8(word.data() + pos);
    pos += c.bytes;
    const bool underline = c.code == U' ' && options_.space_is_underline;
    const char32_t code = underline ? kUnderline : c.code;
    const TokenId id = pages_[page_of_[code >> 8]][code & 255];
    if (id != kNoToken) {
      add(id);
      continue;
    }
    const std::string_view bytes =
        underline ? std::string_view("\xe2\x96\x81") : word.substr(pos - c.bytes, c.bytes);
    for (const char byte : bytes) add(byte_tokens_[static_cast<unsigned char>(byte)]);
  }
}

void Bpe::EncodeWord(std::string_view word, Work* work, std::vector<TokenId>* ids) const {
  if (DecodeUtf8(word.data()).bytes == word.size()) {
    ForEachSymbol(word, [ids](TokenId id) { ids->push_back(id); });
    return;
  }
  const bool remember =
      !work->words_.empty() && word.size() <= std::numeric_limits<std::uint32_t>::max();
  Work::Word* known = nullptr;
  if (remember) {
    known = &work->words_[HashBytes(word) & (work->words_.size() - 1)];
    if (known->bytes == word.size() && std::memcmp(known->text, word.data(), word.size()) == 0) {
      const std::size_t end = known->first + known->count;
      for (std::size_t i = known->first; i < end; ++i) ids->push_back(TokenId{(*ids)[i]});
      return;
    }
  }
  const std::size_t first = ids->size();
  if (word.size() <= kShortWordBytes) {
    EncodeShortWord(word, ids);
  } else {
    EncodeLongWord(word, work, ids);
  }
  if (remember) {
    *known = {word.data(), static_cast<std::uint32_t>(word.size()),
              static_cast<std::uint32_t>(ids->size() - first), first};
  }
}

void Bpe::EncodeShortWord(std::string_view word, std::vector<TokenId>* ids) const {
  TokenId initial[kFew];
  std::size_t count = 0;
  ForEachSymbol(word, [&](TokenId id) { initial[count++] = id; });
  MergeFew(initial, count, [ids](TokenId id, std::size_t) { ids->push_back(id); });
}

template <typename Add>
void Bpe::MergeFew(const TokenId* initial, std::size_t count, const Add& add) const {
  CULET_DCHECK(count >= 1 && count <= kFew);
  TokenId ids[kFew];
  // The merge of each symbol with the next as rank << 8 | place, so that the smallest is the one to
  // do; shifted to signed numbers, whose minimum every x86-64 finds four at a time.
  std::int32_t keys[kFew];
  std::uint8_t next[kFew];
  std::uint8_t previous[kFew];
  const auto key = [](std::uint32_t rank, std::size_t place) {
    return static_cast<std::int32_t>((rank << 8 | static_cast<std::uint32_t>(place)) ^ kSignBit);
  };
  const std::int32_t none = key(kNoRank, 0);  // no smaller than this: nothing to merge
  const std::size_t padded = (count + 7) / 8 * 8;
  for (std::size_t i = 0; i < count; ++i) {
    ids[i] = initial[i];
    next[i] = static_cast<std::uint8_t>(i + 1);
    previous[i] = static_cast<std::uint8_t>(i - 1);
    keys[i] = i + 1 < count ? key(FindRank(initial[i], initial[i + 1]), i) : none;
  }
  std::fill(keys + count, keys + padded, none);
  while (true) {
    std::int32_t lowest = none;
    for (std::size_t i = 0; i < padded; ++i) lowest = std::min(lowest, keys[i]);
    if (lowest >= none) break;
    const std::uint32_t bits = static_cast<std::uint32_t>(lowest) ^ kSignBit;
    const std::size_t place = bits & 0xff;
    const std::size_t right = next[place];
    ids[place] = results_[bits >> 8];
    next[place] = next[right];
    keys[right] = none;  // the right symbol is gone
    keys[place] = none;
    if (next[right] < count) {
      previous[next[right]] = static_cast<std::uint8_t>(place);
      keys[place] = key(FindRank(ids[place], ids[next[right]]), place);
    }
    if (place > 0) {
      const std::size_t left = previous[place];
      keys[left] = key(FindRank(ids[left], ids[place]), left);
    }
  }
  for (std::size_t place = 0; place < count; place = next[place]) add(ids[place], place);
}

void Bpe::EncodeLongWord(std::string_view word, Work* work, std::vector<TokenId>* ids) const {
  if (word.size() > kMaxWordBytes) {
    throw Error(ErrorKind::kResource,
                "a text of " + std::to_string(word.size()) +
                    " bytes has no place to cut; the tokenizer takes at most " +
                    std::to_string(kMaxWordBytes) + " without one");
  }
  std::vector<TokenId>& initial = work->initial_;
  initial.clear();
  ForEachSymbol(word, [&initial](TokenId id) { initial.push_back(id); });

  Work::Tokens& done = work->done_;  // BPE of initial[0 … end)
  Work::Tokens& piece = work->piece_;
  done.Clear();
  for (std::size_t end = 0; end < initial.size();) {
    const std::size_t next_end = std::min(end + kChunkSymbols, initial.size());
    // The last tokens so far may join what comes, so they are merged anew with it. How many, is
    // tried.
    for (std::size_t carry = 2;; carry *= 2) {
      const std::size_t keep = done.ids.size() - std::min(carry, done.ids.size());
      if (keep > 0 && carry > kMaxCarry) {
        MergeSymbols(initial, 0, initial.size(), work, &done);
        ids->insert(ids->end(), done.ids.begin(), done.ids.end());
        return;
      }
      const std::size_t begin = keep < done.ids.size() ? done.begins[keep] : end;
      MergeSymbols(initial, begin, next_end, work, &piece);
      if (keep > 0) {
        const std::size_t first_end = piece.begins.size() > 1 ? piece.begins[1] : next_end;
        MergeSymbols(initial, done.begins[keep - 1], first_end, work, &work->pair_);
        if (work->pair_.begins.size() != 2 || work->pair_.begins[1] != begin) continue;
      }
      done.ids.resize(keep);
      done.begins.resize(keep);
      done.ids.insert(done.ids.end(), piece.ids.begin(), piece.ids.end());
      done.begins.insert(done.begins.end(), piece.begins.begin(), piece.begins.end());
      break;
    }
    end = next_end;
  }
  ids->insert(ids->end(), done.ids.begin(), done.ids.end());
}

void Bpe::MergeSymbols(const std::vector<TokenId>& initial, std::size_t begin, std::size_t end,
                       Work* work, Work::Tokens* tokens) const {
  const std::size_t count = end - begin;
  tokens->Clear();
  const auto add = [&](TokenId id, std::size_t place) {
    tokens->ids.push_back(id);
    tokens->begins.push_back(static_cast<std::uint32_t>(begin + place));
  };
  if (count <= kFew) {
    MergeFew(initial.data() + begin, count, add);
    return;
  }
  std::vector<Work::Symbol>& symbols = work->symbols_;
  std::vector<std::uint64_t>& queue = work->queue_;
  symbols.resize(count);
  queue.clear();
  // Looks up the merge of the symbol with its next one; true where there is one.
  const auto look_up = [&](Work::Symbol* left) {
    left->rank = kNoRank;
    if (left->next >= 0) {
      left->rank = FindRank(left->id, symbols[static_cast<std::size_t>(left->next)].id);
    }
    return left->rank != kNoRank;
  };
  const auto entry = [](const Work::Symbol& symbol, std::size_t place) {
    return static_cast<std::uint64_t>(symbol.rank) << 32 | place;
  };
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t place = static_cast<std::int32_t>(i);
    symbols[i] = {initial[begin + i], place - 1, i + 1 < count ? place + 1 : -1, kNoRank};
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (look_up(&symbols[i])) queue.push_back(entry(symbols[i], i));
  }
  const std::greater<> smallest_on_top;
  std::make_heap(queue.begin(), queue.end(), smallest_on_top);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), smallest_on_top);
    const std::uint64_t top = queue.back();
    queue.pop_back();
    const std::int32_t place = static_cast<std::int32_t>(top & 0xffffffffu);
    Work::Symbol& left = symbols[static_cast<std::size_t>(place)];
    // Since this entry was queued the pair may have changed, and then its rank has, or it is gone.
    if (left.rank != static_cast<std::uint32_t>(top >> 32)) continue;
    Work::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    left.id = results_[left.rank];
    left.next = right.next;
    right.rank = kNoRank;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = place;
    for (const std::int32_t changed : {left.previous, place}) {
      if (changed < 0) continue;
      Work::Symbol& symbol = symbols[static_cast<std::size_t>(changed)];
      if (!look_up(&symbol)) continue;
      queue.push_back(entry(symbol, static_cast<std::size_t>(changed)));
      std::push_heap(queue.begin(), queue.end(), smallest_on_top);
    }
  }
  for (std::int32_t place = 0; place >= 0; place = symbols[static_cast<std::size_t>(place)].next) {
    add(symbols[static_cast<std::size_t>(place)].id, static_cast<std::size_t>(place));
  }
}

std::size_t Bpe::memory_bytes() const {
  return sizeof(*this) + ranks_.capacity() * sizeof(ranks_[0]) +
         results_.capacity() * sizeof(results_[0]) + pages_.capacity() * sizeof(pages_[0]) +
         page_of_.capacity() * sizeof(page_of_[0]) +
         other_joins_.capacity() * sizeof(other_joins_[0]);
}

}  // namespace culet
