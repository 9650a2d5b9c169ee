#include "fuzz/tokenizer_checks.h"

#include <map>
#include <utility>

#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "runtime/answer_stream.h"
#include "text/detokenizer.h"

namespace culet::fuzz {

void CheckIds(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  const std::string decoded = tokenizer.Decode(ids);
  Require(IsUtf8(decoded), "decoded text is UTF-8");
  Detokenizer detokenizer(tokenizer);
  std::string streamed;
  for (const TokenId id : ids) {
    const std::string piece = detokenizer.Push(id);
    Require(IsUtf8(piece), "a piece is whole characters");
    streamed += piece;
  }
  streamed += detokenizer.Finish();
  Require(streamed == decoded, "the stream decodes as the whole does");

  AnswerStream answer(tokenizer, false, {"\n\n", "▁", "ab"});
  for (const TokenId id : ids) answer.Push(id);
  answer.Finish();
}

void CheckTokenizer(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<TokenId> ids = tokenizer.Encode(text);
  for (const TokenId id : ids) {
    Require(id >= 0 && id < tokenizer.vocab_size(), "an id is in the vocabulary");
  }
  CheckIds(tokenizer, ids);
  const PromptSegment control[] = {{std::string(text), true}};
  Require(tokenizer.Encode(control) == ids, "one control segment is the whole text");
  const PromptSegment data[] = {{std::string(text), false}};
  const std::vector<TokenId> data_ids = tokenizer.EncodeData(text);
  Require(tokenizer.Encode(data) == data_ids, "one data segment is data");
  for (const TokenId id : data_ids) {
    Require(!tokenizer.IsControl(id), "data makes no control token");
  }
}

std::vector<TokenId> PlainBpe(const TokenizerFile& file, std::string_view utf8) {
  constexpr std::string_view kUnderline = "\xe2\x96\x81";
  std::map<std::pair<TokenId, TokenId>, std::size_t> ranks;
  for (std::size_t rank = 0; rank < file.merges.size(); ++rank) {
    ranks.emplace(std::pair(file.merges[rank].left, file.merges[rank].right), rank);
  }
  std::vector<TokenId> all;
  while (!utf8.empty()) {
    // A word of the pre-tokenizer.
    std::string_view word = utf8;
    if (file.bpe.cut_after_space) {
      const std::size_t space = utf8.find(' ');
      if (space != std::string_view::npos) word = utf8.substr(0, space + 1);
    }
    utf8.remove_prefix(word.size());
    std::vector<TokenId> ids;
    while (!word.empty()) {
      const std::size_t bytes = DecodeUtf8(word.data()).bytes;
      std::string_view character = word.substr(0, bytes);
      if (character == " " && file.bpe.space_is_underline) character = kUnderline;
      if (const auto id = file.vocabulary.Find(character)) {
        ids.push_back(*id);
      } else {
        for (const char byte : character) {
          ids.push_back(file.byte_tokens[static_cast<unsigned char>(byte)]);
        }
      }
      word.remove_prefix(bytes);
    }
    for (;;) {
      std::size_t best = file.merges.size();
      std::size_t at = 0;
      for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
        const auto found = ranks.find({ids[i], ids[i + 1]});
        if (found != ranks.end() && found->second < best) {
          best = found->second;
          at = i;
        }
      }
      if (best == file.merges.size()) break;
      ids[at] = file.merges[best].result;
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    all.insert(all.end(), ids.begin(), ids.end());
  }
  return all;
}

}  // namespace culet::fuzz
