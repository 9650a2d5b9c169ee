// tokenizer.json: whatever is accepted encodes and decodes every text.
#include "base/error.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_checks.h"

namespace culet::fuzz {

void FuzzOne(std::string_view input) {
  constexpr std::string_view kTexts[] = {
      "", "a", "Hello, world  ▁ x\n\n\t", "abcabcabc\xff\xe2\x96 \xf0\x9f\x98\x80<bos><eos>",
      "the the  the   thethethethethethethethethethethethethethethethethe 000111"};
  try {
    const Tokenizer tokenizer = Tokenizer::Parse(input, "tokenizer.json");
    const TokenizerFile file = ParseTokenizerFile(input, "tokenizer.json");
    for (const std::string_view text : kTexts) {
      CheckTokenizer(tokenizer, text);
      Require(tokenizer.EncodeData(text) == PlainBpe(file, ReplaceInvalidUtf8(text)),
              "BPE by the definition gives the same");
    }
    // Its own tokens as text, too.
    std::string own;
    for (TokenId id = 0; id < tokenizer.vocab_size() && own.size() < 400; ++id) {
      if (!tokenizer.IsByte(id)) own += tokenizer.TokenText(id);
    }
    CheckTokenizer(tokenizer, own);
    Require(tokenizer.EncodeData(own) == PlainBpe(file, own),
            "BPE by the definition gives the same of its own tokens");
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
