// Text for the small tokenizers: round trip, streams, and BPE by its definition. The first byte
// chooses the tokenizer; the rest is the text, and once more token ids.
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_checks.h"

namespace culet::fuzz {
namespace {

struct Loaded {
  Tokenizer tokenizer;
  TokenizerFile file;
};

Loaded Load(const std::string& name) {
  const std::string path = CULET_SOURCE_DIR "/tests/text/data/tokenizer_" + name + ".json";
  const std::string text = FileSystem::Real().ReadFile(path, 1 << 20);
  return {Tokenizer::Parse(text, path), ParseTokenizerFile(text, path)};
}

std::string Replace(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace

void FuzzOne(std::string_view input) {
  static const std::array<Loaded, 4> all = {Load("overlaps"), Load("plain_spaces"), Load("bare"),
                                            Load("no_underline")};
  const Loaded& chosen = all[TakeByte(&input) % all.size()];
  const Tokenizer& tokenizer = chosen.tokenizer;
  CheckTokenizer(tokenizer, input);

  const std::string mended = ReplaceInvalidUtf8(input);
  const std::vector<TokenId> ids = tokenizer.EncodeData(input);
  if (input.size() <= 2048) {
    Require(ids == PlainBpe(chosen.file, mended), "BPE by the definition gives the same");
  }
  constexpr std::string_view kUnderline = "\xe2\x96\x81";
  std::string expected = mended;
  if (chosen.file.bpe.space_is_underline) expected = Replace(expected, " ", kUnderline);
  // As byte tokens it stays what it is: so decodes the reference.
  if (chosen.file.underline_is_space && chosen.file.vocabulary.Find(kUnderline)) {
    expected = Replace(expected, kUnderline, " ");
  }
  Require(tokenizer.Decode(ids) == expected, "what was encoded comes back");

  // The same bytes as ids, in any order: decoding takes them all.
  std::vector<TokenId> any;
  for (std::size_t i = 0; i + 1 < input.size(); i += 2) {
    const unsigned value =
        static_cast<unsigned char>(input[i]) << 8 | static_cast<unsigned char>(input[i + 1]);
    any.push_back(static_cast<TokenId>(value % static_cast<unsigned>(tokenizer.vocab_size())));
  }
  CheckIds(tokenizer, any);
}

}  // namespace culet::fuzz
