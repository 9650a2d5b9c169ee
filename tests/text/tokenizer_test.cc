// If this fails, text becomes other tokens than a tokenizer.json says: small tokenizers, compared
// with byte-pair encoding written as its definition reads.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <map>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer_fixture.h"

namespace culet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<TokenId>;

const std::vector<std::string> kNames = {"overlaps", "plain_spaces", "bare", "no_underline"};

// Byte-pair encoding of data as its definition reads: whole text, every pair looked at each time.
class PlainBpe {
 public:
  explicit PlainBpe(const Json& file) : model_(file["model"]) {
    underline_ = !file["normalizer"].is_null();
    split_ = !underline_ && !file["pre_tokenizer"].is_null();
    int rank = 0;
    for (const Json& merge : model_["merges"]) {
      std::string left;
      std::string right;
      if (merge.is_string()) {
        const std::string text = merge.get<std::string>();
        left = text.substr(0, text.find(' '));
        right = text.substr(text.find(' ') + 1);
      } else {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      }
      ranks_[{left, right}] = rank++;
    }
  }

  Ids Encode(std::string_view text) const {
    Ids ids;
    std::string word;
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t bytes = DecodeUtf8(text.data() + pos).bytes;
      word += text.substr(pos, bytes);
      pos += bytes;
      if (split_ && word.back() == ' ') {
        EncodeWord(word, &ids);
        word.clear();
      }
    }
    EncodeWord(word, &ids);
    return ids;
  }

 private:
  void EncodeWord(std::string_view word, Ids* ids) const {
    std::vector<std::string> symbols;
    for (std::size_t pos = 0; pos < word.size();) {
      const std::size_t bytes = DecodeUtf8(word.data() + pos).bytes;
      std::string character(word.substr(pos, bytes));
      pos += bytes;
      if (underline_ && character == " ") character = "▁";
      if (model_["vocab"].contains(character)) {
        symbols.push_back(character);
        continue;
      }
      for (const char c : character) {
        char name[8];
        std::snprintf(name, sizeof(name), "<0x%02X>", static_cast<unsigned char>(c));
        symbols.push_back(name);
      }
    }
    while (true) {
      int best_rank = -1;
      std::size_t best = 0;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto rank = ranks_.find({symbols[i], symbols[i + 1]});
        if (rank == ranks_.end() || (best_rank >= 0 && rank->second >= best_rank)) continue;
        best_rank = rank->second;
        best = i;
      }
      if (best_rank < 0) break;
      symbols[best] += symbols[best + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    for (const std::string& symbol : symbols) {
      ids->push_back(model_["vocab"][symbol].get<TokenId>());
    }
  }

  const Json model_;
  bool underline_ = false;
  bool split_ = false;
  std::map<std::pair<std::string, std::string>, int> ranks_;
};

// The characters of the small tokenizers, some that none of them holds, and what looks like tokens.
std::vector<std::string> Alphabet() {
  return {"a",  "b", "c",  "d", "e",  "h",  "o",   " ",      " ",  "▁",
          "\n", "<", ">",  "/", "|",  "é",  "世",  "界",     "😀",  "\xcc\x81",
          "x",  "7", "\r", "ß", "犬", "<a", "<a>", "<0x61>", ">▁", ">▁</"};
}

TEST(Tokenizer, DataIsEncodedAsTheDefinitionOfBytePairEncodingReads) {
  for (const std::string& name : kNames) {
    const Tokenizer tokenizer = SmallTokenizer(name);
    const PlainBpe plain(ParseJson(SmallTokenizerText(name), name));
    std::mt19937_64 random(TestSeed());
    for (int i = 0; i < 3000; ++i) {
      const std::string text = RandomText(&random, Alphabet(), static_cast<int>(random() % 40));
      ASSERT_EQ(tokenizer.EncodeData(text), plain.Encode(text))
          << name << ", text: " << text << ", seed " << TestSeed();
    }
  }
}

// Words beyond 40 bytes are merged in chunks of 64 symbols, and a long call remembers words: both
// must agree with the definition too.
TEST(Tokenizer, LongWordsAndRememberedWordsAreEncodedAsTheDefinitionReads) {
  for (const std::string& name : kNames) {
    const Tokenizer tokenizer = SmallTokenizer(name);
    const PlainBpe plain(ParseJson(SmallTokenizerText(name), name));
    std::mt19937_64 random(TestSeed());
    for (const int length : {39, 40, 41, 63, 64, 65, 126, 127, 128, 129, 130, 192, 200, 1000}) {
      const std::string one_word = RandomText(&random, {"a", "b", "c", "d"}, length);
      EXPECT_EQ(tokenizer.EncodeData(one_word), plain.Encode(one_word)) << name << " " << length;
      const std::string run(static_cast<std::size_t>(length), ' ');
      EXPECT_EQ(tokenizer.EncodeData(run), plain.Encode(run)) << name << " " << length;
    }
    const std::string words =
        RandomText(&random, {"ab", "abcd", " a", " ", "ba ", "世界", "x"}, 2000);
    EXPECT_EQ(tokenizer.EncodeData(words), plain.Encode(words)) << name;
  }
}

// Here a "b" draws up to 300 letters before it into one token, so a long word's earlier chunks turn
// out wrong however little is merged anew, and the whole word must be merged at once.
TEST(Tokenizer, WhatComesLaterMayReachFarBackInALongWord) {
  Json file = ParseJson(SmallTokenizerText("no_underline"), "no_underline");
  Json& model = file["model"];
  model["merges"] = Json::array();
  std::string token = "b";
  for (int i = 0; i < 300; ++i) {
    model["merges"].push_back({"a", token});
    token = "a" + token;
    if (token != "ab") model["vocab"].push_back({token, model["vocab"].size()});
  }
  const Tokenizer tokenizer = Tokenizer::Parse(file.dump(), "far back");
  const PlainBpe plain(file);
  std::mt19937_64 random(TestSeed());
  for (int i = 0; i < 20; ++i) {
    std::string text;
    while (text.size() < 900)
      text += std::string(random() % 400, 'a') + (random() % 2 == 0 ? "b" : "");
    ASSERT_EQ(tokenizer.EncodeData(text), plain.Encode(text)) << text;
  }
}

TEST(Tokenizer, TheLeftmostAndLongestControlTokenCounts) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  const auto id = [&](std::string_view text) { return tokenizer.FindToken(text).value(); };
  EXPECT_THAT(tokenizer.Encode("<a"), ElementsAre(id("<a")));
  EXPECT_THAT(tokenizer.Encode("<a>"), ElementsAre(id("<a>")));
  EXPECT_THAT(tokenizer.Encode("<a>b"), ElementsAre(id("<a>b")));
  EXPECT_THAT(tokenizer.Encode("<a>c"), ElementsAre(id("<a>"), id("c")));
  EXPECT_THAT(tokenizer.Encode("<|a|>"), ElementsAre(id("<|a|>")));
  EXPECT_THAT(tokenizer.Encode("<|a|"), ElementsAre(id("<|a"), id("|")));
  EXPECT_THAT(tokenizer.Encode("<<a"), ElementsAre(id("<"), id("<a")));
  EXPECT_THAT(tokenizer.Encode("   "), ElementsAre(id("  "), id("▁")));
  EXPECT_TRUE(tokenizer.IsControl(id("<a>")));
  EXPECT_FALSE(tokenizer.IsControl(id("a")));
}

TEST(Tokenizer, ControlTokensBeyondTheVocabularyAreKnown) {
  const Tokenizer tokenizer = SmallTokenizer("bare");
  const TokenId late = tokenizer.FindToken("<|late|>").value();
  EXPECT_EQ(late, tokenizer.vocab_size() - 1);
  EXPECT_THAT(tokenizer.Encode("a<|late|>"), ElementsAre(tokenizer.FindToken("a").value(), late));
  EXPECT_EQ(tokenizer.Decode(Ids{late}), "<|late|>");
}

// The file's post_processor puts <bos> in front; Encode adds nothing.
TEST(Tokenizer, NothingIsAdded) {
  const Tokenizer tokenizer = SmallTokenizer("bare");
  EXPECT_THAT(SmallTokenizerText("bare"), HasSubstr("SpecialToken"));
  EXPECT_TRUE(tokenizer.Encode("").empty());
  EXPECT_THAT(tokenizer.Encode("h"), ElementsAre(tokenizer.FindToken("h").value()));
}

TEST(Tokenizer, KnowsWhatThePostProcessorPutsAroundAText) {
  const Tokenizer base = SmallTokenizer("bare");
  EXPECT_THAT(base.front(), ElementsAre(base.FindToken("<bos>").value()));
  EXPECT_TRUE(base.back().empty());
  const Tokenizer tuned = SmallTokenizer("no_underline");
  EXPECT_TRUE(tuned.front().empty());
  Json file = Json::parse(SmallTokenizerText("bare"));
  file["post_processor"]["single"].push_back({{"SpecialToken", {{"id", "<bos>"}, {"type_id", 0}}}});
  file["post_processor"]["special_tokens"]["<bos>"]["ids"] = {1, 0};
  const Tokenizer both = Tokenizer::Parse(file.dump(), "test");
  EXPECT_THAT(both.front(), ElementsAre(1, 0));
  EXPECT_THAT(both.back(), ElementsAre(1, 0));
}

TEST(Tokenizer, DataNeverBecomesAControlToken) {
  for (const std::string& name : kNames) {
    const Tokenizer tokenizer = SmallTokenizer(name);
    std::vector<std::string> pieces = Alphabet();
    for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
      if (tokenizer.IsControl(id)) pieces.emplace_back(tokenizer.TokenText(id));
    }
    std::mt19937_64 random(TestSeed());
    for (int i = 0; i < 2000; ++i) {
      for (const TokenId id : tokenizer.EncodeData(RandomText(&random, pieces, 10))) {
        ASSERT_FALSE(tokenizer.IsControl(id)) << name << ": " << tokenizer.TokenText(id);
      }
    }
  }
}

TEST(Tokenizer, OneControlSegmentIsEncodedAsTheTextAndOneDataSegmentAsData) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  std::mt19937_64 random(TestSeed());
  for (int i = 0; i < 1000; ++i) {
    const std::string text = RandomText(&random, Alphabet(), 12);
    EXPECT_EQ(tokenizer.Encode(std::vector<PromptSegment>{{text, true}}), tokenizer.Encode(text));
    EXPECT_EQ(tokenizer.Encode(std::vector<PromptSegment>{{text, false}}),
              tokenizer.EncodeData(text));
  }
}

// However data is cut into segments, its ids are those of the whole: also inside a character.
TEST(Tokenizer, BordersOfSegmentsDoNotChangeData) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  std::mt19937_64 random(TestSeed());
  for (int i = 0; i < 300; ++i) {
    const std::string text = RandomText(&random, Alphabet(), 12);
    const Ids whole = tokenizer.EncodeData(text);
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      const std::vector<PromptSegment> pieces = {
          {text.substr(0, cut), false}, {"", true}, {text.substr(cut), false}};
      ASSERT_EQ(tokenizer.Encode(pieces), whole) << text << " cut at " << cut;
    }
  }
}

TEST(Tokenizer, AControlTokenCountsOnlyInsideOneControlSegment) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  const auto id = [&](std::string_view text) { return tokenizer.FindToken(text).value(); };
  using Pieces = std::vector<PromptSegment>;
  EXPECT_THAT(tokenizer.Encode(Pieces{{"<bos>", true}, {"<bos>", false}}).front(), id("<bos>"));
  EXPECT_EQ(tokenizer.Encode(Pieces{{"<bos>", false}}), tokenizer.EncodeData("<bos>"));
  EXPECT_EQ(tokenizer.Encode(Pieces{{"<bo", true}, {"s>", true}}), tokenizer.EncodeData("<bos>"));
  EXPECT_EQ(tokenizer.Encode(Pieces{{"<bo", false}, {"s>", true}}), tokenizer.EncodeData("<bos>"));
  // "<a>" would be the longer one, but its end is data.
  EXPECT_THAT(tokenizer.Encode(Pieces{{"<a", true}, {">", false}}), ElementsAre(id("<a"), id(">")));
  // The pieces around a control token stay apart, those without one between come together.
  EXPECT_THAT(tokenizer.Encode(Pieces{{"a", false}, {"b", true}}), ElementsAre(id("ab")));
  EXPECT_THAT(tokenizer.Encode(Pieces{{"a", false}, {"<bos>b", true}}),
              ElementsAre(id("a"), id("<bos>"), id("b")));
}

TEST(Tokenizer, BytesThatAreNotUtf8CountAsReplacementCharacters) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  EXPECT_EQ(tokenizer.Encode("a\xff"), tokenizer.Encode("a\ufffd"));
  EXPECT_EQ(tokenizer.Encode("\xe2\x96"
                             "a"),
            tokenizer.Encode("\ufffd"
                             "a"));
  EXPECT_EQ(tokenizer.Encode("\xe2\x96<bos>\x80"), tokenizer.Encode("\ufffd<bos>\ufffd"));
  EXPECT_EQ(tokenizer.Encode("\xf0\x80"), tokenizer.Encode("\ufffd\ufffd"));
}

TEST(Tokenizer, TextThatHoldsNoUnderlineComesBack) {
  // Not "no_underline": its spaces become bytes of "▁", and the file's decoder leaves those alone.
  for (const std::string name : {"overlaps", "plain_spaces", "bare"}) {
    const Tokenizer tokenizer = SmallTokenizer(name);
    std::mt19937_64 random(TestSeed());
    for (int i = 0; i < 1000; ++i) {
      std::string text = RandomText(&random, Alphabet(), 20);
      if (text.find("▁") != std::string::npos) continue;
      EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text) << name;
      EXPECT_EQ(tokenizer.Decode(tokenizer.EncodeData(text)), text) << name;
    }
  }
}

TEST(Tokenizer, TokensHaveTheirTextAndTheirBytes) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  const TokenId space = tokenizer.FindToken("▁").value();
  EXPECT_EQ(tokenizer.TokenText(space), "▁");
  EXPECT_EQ(tokenizer.TokenBytes(space), " ");
  EXPECT_EQ(tokenizer.TokenBytes(tokenizer.FindToken(">▁</").value()), "> </");
  const TokenId byte = tokenizer.FindToken("<0xFF>").value();
  EXPECT_EQ(tokenizer.TokenBytes(byte), "\xff");
  EXPECT_TRUE(tokenizer.IsByte(byte));
  EXPECT_FALSE(tokenizer.IsByte(space));
  EXPECT_EQ(tokenizer.FindToken("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.FindToken(""), std::nullopt);
  // Without the normalizer and its way back "▁" is a character like others.
  const Tokenizer plain = SmallTokenizer("plain_spaces");
  EXPECT_EQ(plain.TokenBytes(plain.FindToken("▁").value()), "▁");
}

TEST(Tokenizer, IdsOutsideTheVocabularyAreRefusedWithTheRange) {
  const Tokenizer tokenizer = SmallTokenizer("bare");
  const TokenId vocab = static_cast<TokenId>(tokenizer.vocab_size());
  for (const TokenId id : {-1, vocab, vocab + 1, INT32_MAX, INT32_MIN}) {
    const Ids ids = {0, id};
    for (const auto& call : std::vector<std::function<void()>>{
             [&] { (void)tokenizer.TokenText(id); }, [&] { (void)tokenizer.TokenBytes(id); },
             [&] { (void)tokenizer.IsControl(id); }, [&] { (void)tokenizer.Decode(ids); }}) {
      try {
        call();
        FAIL() << id;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
        EXPECT_THAT(error.what(), HasSubstr(std::to_string(id)));
        EXPECT_THAT(error.what(), HasSubstr("0 to " + std::to_string(vocab - 1)));
      }
    }
  }
}

TEST(Tokenizer, ManyThreadsMayEncodeAtOnce) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  std::mt19937_64 random(TestSeed());
  const std::string text = RandomText(&random, Alphabet(), 5000);
  const Ids expected = tokenizer.Encode(text);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (int& count : equal) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) count += tokenizer.Encode(text) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, ElementsAre(10, 10, 10, 10));
}

}  // namespace
}  // namespace culet
