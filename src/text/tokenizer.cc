#include "text/tokenizer.h"

#include <deque>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/tokenizer_file.h"

namespace culet {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 29;  // the published file is 32 MB
constexpr std::string_view kUnderline = "\xe2\x96\x81";          // "▁"

enum Kind : std::uint8_t { kControlBit = 1, kByteBit = 2 };

// The byte of a byte token. As lenient as the `tokenizers` package, which also takes "<0xab>" and
// "<0x+1>" for byte tokens where a vocabulary holds them.
std::optional<char> ByteOfToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  const int high = text[3] == '+' ? 0 : digit(text[3]);
  const int low = digit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(static_cast<unsigned char>(high << 4 | low));
}

// Appends `run`, a whole run of byte tokens, as the file's decoder does: all of it or nothing.
void AppendRun(std::string_view run, std::string* text) {
  if (IsUtf8(run)) {
    text->append(run);
  } else {
    for (std::size_t i = 0; i < run.size(); ++i) text->append(kReplacementCharacter);
  }
}

// The tokens of one text: stretches for BPE, with control tokens between.
class Encoder {
 public:
  Encoder(const Bpe& bpe, std::size_t bytes) : bpe_(bpe), work_(bytes) {
    ids_.reserve(bytes / 4 + 8);  // English has four to five bytes a token
  }
  void AddText(std::string_view text) {
    if (!IsUtf8(text)) text = mended_.emplace_back(ReplaceInvalidUtf8(text));
    bpe_.Encode(text, &work_, &ids_);
  }
  void AddToken(TokenId id) { ids_.push_back(id); }
  std::vector<TokenId> Take() { return std::move(ids_); }

 private:
  const Bpe& bpe_;
  std::deque<std::string> mended_;  // work_ remembers words in them
  Bpe::Work work_;
  std::vector<TokenId> ids_;
};

}  // namespace

Tokenizer Tokenizer::Load(FileSystem& files, const std::filesystem::path& tokenizer_json) {
  const MappedFile map = files.Map(tokenizer_json);
  const std::string_view text(reinterpret_cast<const char*>(map.bytes().data()),
                              map.bytes().size());
  return Parse(text, tokenizer_json.string());
}

Tokenizer Tokenizer::Parse(std::string_view json, const std::string& place) {
  if (json.size() > kMaxFileBytes) {
    throw Error(ErrorKind::kCorrupt,
                place + ": has " + std::to_string(json.size()) + " bytes; expected at most " +
                    std::to_string(kMaxFileBytes) + ". Is this a tokenizer.json?");
  }
  TokenizerFile file = ParseTokenizerFile(json, place);
  Tokenizer result;
  result.front_ = std::move(file.front);
  result.back_ = std::move(file.back);
  result.vocabulary_ = std::move(file.vocabulary);
  const Vocabulary& vocabulary = result.vocabulary_;
  if (const auto twice = result.bpe_.Build(vocabulary, file.merges, file.byte_tokens, file.bpe)) {
    throw Error(ErrorKind::kCorrupt, place + ": model.merges[" + std::to_string(*twice) +
                                         "] stands there twice; keep one of them");
  }
  const std::size_t vocab = static_cast<std::size_t>(vocabulary.size());
  result.kinds_.assign(vocab, 0);
  for (const auto& [text, id] : file.added_tokens) {
    result.controls_.Add(text, id);
    result.kinds_[static_cast<std::size_t>(id)] |= kControlBit;
  }
  result.byte_offsets_.reserve(vocab + 1);
  for (std::size_t i = 0; i < vocab; ++i) {
    result.byte_offsets_.push_back(static_cast<std::uint32_t>(result.bytes_.size()));
    std::string_view text = vocabulary.Text(static_cast<TokenId>(i));
    if (const std::optional<char> byte = ByteOfToken(text)) {
      result.kinds_[i] |= kByteBit;
      result.bytes_.push_back(*byte);
      continue;
    }
    while (file.underline_is_space) {
      const std::size_t at = text.find(kUnderline);
      if (at == std::string_view::npos) break;
      result.bytes_.append(text.substr(0, at)).push_back(' ');
      text.remove_prefix(at + kUnderline.size());
    }
    result.bytes_.append(text);
  }
  result.byte_offsets_.push_back(static_cast<std::uint32_t>(result.bytes_.size()));
  return result;
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text) const {
  Encoder encoder(bpe_, text.size());
  std::size_t done = 0;
  while (const auto match = controls_.Find(text, done)) {
    encoder.AddText(text.substr(done, match->begin - done));
    encoder.AddToken(match->id);
    done = match->end;
  }
  encoder.AddText(text.substr(done));
  return encoder.Take();
}

std::vector<TokenId> Tokenizer::EncodeData(std::string_view text) const {
  Encoder encoder(bpe_, text.size());
  encoder.AddText(text);
  return encoder.Take();
}

std::vector<TokenId> Tokenizer::Encode(std::span<const PromptSegment> segments) const {
  std::string text;
  std::size_t bytes = 0;
  for (const PromptSegment& segment : segments) bytes += segment.text.size();
  text.reserve(bytes);
  for (const PromptSegment& segment : segments) text += segment.text;

  Encoder encoder(bpe_, bytes);
  std::size_t done = 0;
  std::size_t begin = 0;  // of the segment
  for (const PromptSegment& segment : segments) {
    std::size_t from = 0;
    while (segment.control) {
      const auto match = controls_.Find(segment.text, from);
      if (!match) break;
      encoder.AddText(std::string_view(text).substr(done, begin + match->begin - done));
      encoder.AddToken(match->id);
      from = match->end;
      done = begin + match->end;
    }
    begin += segment.text.size();
  }
  encoder.AddText(std::string_view(text).substr(done));
  return encoder.Take();
}

std::string Tokenizer::Decode(std::span<const TokenId> ids) const {
  std::string text;
  std::string run;
  for (const TokenId id : ids) {
    const std::string_view bytes = TokenBytes(id);
    if (IsByte(id)) {
      run += bytes;
      continue;
    }
    AppendRun(run, &text);
    run.clear();
    text += bytes;
  }
  AppendRun(run, &text);
  return text;
}

void Tokenizer::CheckId(TokenId id) const {
  if (id < 0 || id >= vocab_size()) {
    throw Error(ErrorKind::kInvalidArgument, "token id " + std::to_string(id) +
                                                 " is not in the vocabulary; ids are 0 to " +
                                                 std::to_string(vocab_size() - 1));
  }
}

bool Tokenizer::IsControl(TokenId id) const {
  CheckId(id);
  return (kinds_[static_cast<std::size_t>(id)] & kControlBit) != 0;
}

bool Tokenizer::IsByte(TokenId id) const {
  CheckId(id);
  return (kinds_[static_cast<std::size_t>(id)] & kByteBit) != 0;
}

std::optional<TokenId> Tokenizer::FindToken(std::string_view token) const {
  return vocabulary_.Find(token);
}

std::string_view Tokenizer::TokenText(TokenId id) const {
  CheckId(id);
  return vocabulary_.Text(id);
}

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  CheckId(id);
  const std::size_t begin = byte_offsets_[static_cast<std::size_t>(id)];
  const std::size_t end = byte_offsets_[static_cast<std::size_t>(id) + 1];
  return std::string_view(bytes_).substr(begin, end - begin);
}

std::size_t Tokenizer::memory_bytes() const {
  return vocabulary_.memory_bytes() + controls_.memory_bytes() + bpe_.memory_bytes() +
         kinds_.capacity() + bytes_.capacity() + byte_offsets_.capacity() * sizeof(std::uint32_t);
}

}  // namespace culet
