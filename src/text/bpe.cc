#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>

#include "base/error.h"
#include "text/utf8.h"

namespace culet {
namespace {

constexpr char32_t kUnderline = 0x2581;  // "▁", a space inside the vocabulary
constexpr TokenId kNoToken = -1;
// Up to here a word is merged by looking at all of its pairs each time; beyond, with a heap.
constexpr std::size_t kShortWordBytes = 48;
// Texts below this are done before remembering words pays for the table.
constexpr std::size_t kRememberFromBytes = 2048;
constexpr std::size_t kRememberedWords = 16384;

std::uint64_t PairOf(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
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

  merges_.assign(std::bit_ceil(std::max<std::size_t>(merges.size() * 2, 16)), Slot{});
  // About four bits a merge: many merges share a pair, so few bits are set (7% in Gemma 4).
  other_joins_.assign(std::bit_ceil(std::max<std::size_t>(merges.size() / 16, 64)), 0);
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const MergeRule& rule = merges[rank];
    const std::uint64_t pair = PairOf(rule.left, rule.right);
    std::size_t i = HashPair(pair) & (merges_.size() - 1);
    while (merges_[i].merge.rank != kNoRank) {
      if (merges_[i].pair == pair) return rank;
      i = (i + 1) & (merges_.size() - 1);
    }
    merges_[i] = {pair, {static_cast<std::uint32_t>(rank), rule.result}};
    SetJoin(last[static_cast<std::size_t>(rule.left)], first[static_cast<std::size_t>(rule.right)]);
  }
  if (options_.cut_after_space) ascii_joins_[U' '] = {0, 0};
  return std::nullopt;
}

Bpe::Merge Bpe::FindMerge(TokenId left, TokenId right) const {
  const std::uint64_t pair = PairOf(left, right);
  std::size_t i = HashPair(pair) & (merges_.size() - 1);
  while (merges_[i].merge.rank != kNoRank) {
    if (merges_[i].pair == pair) return merges_[i].merge;
    i = (i + 1) & (merges_.size() - 1);
  }
  return {};
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
  // "▁" may be three byte tokens where a space was one byte, hence the factor.
  TokenId symbols[3 * kShortWordBytes];
  Merge merges[3 * kShortWordBytes];  // of symbol i with i + 1
  std::size_t count = 0;
  ForEachSymbol(word, [&](TokenId id) { symbols[count++] = id; });
  for (std::size_t i = 0; i + 1 < count; ++i) merges[i] = FindMerge(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best] = merges[best].result;
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      if (i + 1 < count) merges[i] = merges[i + 1];
    }
    if (best + 1 < count) merges[best] = FindMerge(symbols[best], symbols[best + 1]);
    if (best > 0) merges[best - 1] = FindMerge(symbols[best - 1], symbols[best]);
  }
  ids->insert(ids->end(), symbols, symbols + count);
}

void Bpe::EncodeLongWord(std::string_view word, Work* work, std::vector<TokenId>* ids) const {
  std::vector<Work::Symbol>& symbols = work->symbols_;
  std::vector<std::uint64_t>& queue = work->queue_;
  symbols.clear();
  queue.clear();
  if (word.size() > std::numeric_limits<std::int32_t>::max() / 3) {
    throw Error(ErrorKind::kResource,
                "a text of " + std::to_string(word.size()) +
                    " bytes has no place to cut; the tokenizer takes at most 715827882");
  }
  ForEachSymbol(word, [&symbols](TokenId id) {
    const std::int32_t place = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id, place - 1, place + 1, kNoRank, kNoToken});
  });
  symbols.back().next = -1;

  const auto entry = [](std::uint32_t rank, std::size_t place) {
    return static_cast<std::uint64_t>(rank) << 32 | place;
  };
  // Looks up the merge of `place` with its next symbol; true where there is one.
  const auto look_up = [&](std::int32_t place) {
    Work::Symbol& left = symbols[static_cast<std::size_t>(place)];
    Merge merge;
    if (left.next >= 0) {
      merge = FindMerge(left.id, symbols[static_cast<std::size_t>(left.next)].id);
    }
    left.rank = merge.rank;
    left.result = merge.result;
    return merge.rank != kNoRank;
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (look_up(static_cast<std::int32_t>(i))) queue.push_back(entry(symbols[i].rank, i));
  }
  const std::greater<> smallest_on_top;
  std::make_heap(queue.begin(), queue.end(), smallest_on_top);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), smallest_on_top);
    const std::uint64_t top = queue.back();
    queue.pop_back();
    const std::int32_t place = static_cast<std::int32_t>(top & 0xffffffffu);
    Work::Symbol& left = symbols[static_cast<std::size_t>(place)];
    // Since this entry was queued the pair may have changed, and then its rank has, or gone.
    if (left.rank != static_cast<std::uint32_t>(top >> 32)) continue;
    Work::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    left.id = left.result;
    left.next = right.next;
    right.rank = kNoRank;
    right.id = kNoToken;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = place;
    for (const std::int32_t changed : {left.previous, place}) {
      if (changed < 0 || !look_up(changed)) continue;
      queue.push_back(entry(symbols[static_cast<std::size_t>(changed)].rank,
                            static_cast<std::size_t>(changed)));
      std::push_heap(queue.begin(), queue.end(), smallest_on_top);
    }
  }
  for (std::int32_t place = 0; place >= 0; place = symbols[static_cast<std::size_t>(place)].next) {
    ids->push_back(symbols[static_cast<std::size_t>(place)].id);
  }
}

std::size_t Bpe::memory_bytes() const {
  return sizeof(*this) + merges_.capacity() * sizeof(Slot) + pages_.capacity() * sizeof(pages_[0]) +
         page_of_.capacity() * sizeof(page_of_[0]) +
         other_joins_.capacity() * sizeof(other_joins_[0]);
}

}  // namespace culet
