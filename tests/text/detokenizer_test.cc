// If this fails, a streamed answer shows half a character, or is another text than the whole
// answer.
#include "text/detokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer_fixture.h"

namespace culet {
namespace {

using Ids = std::vector<TokenId>;

TokenId Byte(const Tokenizer& tokenizer, unsigned byte) {
  char name[8];
  std::snprintf(name, sizeof(name), "<0x%02X>", byte & 0xffu);
  return tokenizer.FindToken(name).value();
}

Ids BytesOf(const Tokenizer& tokenizer, std::string_view text) {
  Ids ids;
  for (const char c : text) ids.push_back(Byte(tokenizer, static_cast<unsigned char>(c)));
  return ids;
}

// Pushes all, checks that every piece is whole characters, and returns the text.
std::string Stream(const Tokenizer& tokenizer, const Ids& ids) {
  Detokenizer detokenizer(tokenizer);
  std::string text;
  for (const TokenId id : ids) {
    const std::string piece = detokenizer.Push(id);
    EXPECT_TRUE(IsUtf8(piece)) << "after id " << id;
    text += piece;
  }
  const std::string rest = detokenizer.Finish();
  EXPECT_TRUE(IsUtf8(rest));
  return text + rest;
}

TEST(Detokenizer, ACharacterOfByteTokensComesWholeWhenItsRunEnds) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  const TokenId a = tokenizer.FindToken("a").value();
  Detokenizer detokenizer(tokenizer);
  for (const TokenId id : BytesOf(tokenizer, "犬")) EXPECT_EQ(detokenizer.Push(id), "");
  EXPECT_EQ(detokenizer.Push(a), "犬a");
  EXPECT_EQ(detokenizer.Push(a), "a");
  EXPECT_EQ(detokenizer.Finish(), "");
}

TEST(Detokenizer, FinishGivesWhatIsHeldBackAndStartsAnew) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  Detokenizer detokenizer(tokenizer);
  for (const TokenId id : BytesOf(tokenizer, "é")) EXPECT_EQ(detokenizer.Push(id), "");
  EXPECT_EQ(detokenizer.Finish(), "é");
  EXPECT_EQ(detokenizer.Finish(), "");
  EXPECT_EQ(detokenizer.Push(Byte(tokenizer, 0xe7)), "");
  EXPECT_EQ(detokenizer.Finish(), "\ufffd");
  EXPECT_EQ(detokenizer.Push(Byte(tokenizer, 0x8a)), "\ufffd");
  EXPECT_EQ(detokenizer.Finish(), "");
}

// The file's decoder takes a run of byte tokens as a whole; so must the stream, whose first
// characters looked well.
TEST(Detokenizer, OneWrongByteSpoilsItsWholeRunAndNoMore) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  const TokenId a = tokenizer.FindToken("a").value();
  Ids ids = BytesOf(tokenizer, "é\xffz");
  ids.push_back(a);
  const Ids good = BytesOf(tokenizer, "é");
  ids.insert(ids.end(), good.begin(), good.end());
  EXPECT_EQ(tokenizer.Decode(ids), "\ufffd\ufffd\ufffd\ufffdaé");
  EXPECT_EQ(Stream(tokenizer, ids), tokenizer.Decode(ids));
  Detokenizer detokenizer(tokenizer);
  EXPECT_EQ(detokenizer.Push(ids[0]), "");
  EXPECT_EQ(detokenizer.Push(ids[1]), "");
  EXPECT_EQ(detokenizer.Push(ids[2]), "\ufffd\ufffd\ufffd");  // nothing to wait for any more
  EXPECT_EQ(detokenizer.Push(ids[3]), "\ufffd");
  EXPECT_EQ(detokenizer.Push(ids[4]), "a");
}

TEST(Detokenizer, EveryTwoAndThreeByteRunGivesWhatDecodeGives) {
  const Tokenizer tokenizer = SmallTokenizer("no_underline");
  for (unsigned first = 0; first < 256; ++first) {
    for (unsigned second = 0; second < 256; ++second) {
      const Ids two = {Byte(tokenizer, first), Byte(tokenizer, second)};
      ASSERT_EQ(Stream(tokenizer, two), tokenizer.Decode(two)) << first << " " << second;
      for (const unsigned third : {0x41u, 0x80u, 0xbfu, 0xc3u}) {
        const Ids three = {two[0], two[1], Byte(tokenizer, third)};
        ASSERT_EQ(Stream(tokenizer, three), tokenizer.Decode(three)) << first << " " << second;
      }
    }
  }
}

TEST(Detokenizer, WhereverTheStreamIsInterruptedTheRestContinuesIt) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  const Ids ids = tokenizer.Encode("<bos>犬 ab世界😀\xcc\x81\r\nß<a>é é</");
  const std::string whole = tokenizer.Decode(ids);
  for (std::size_t cut = 0; cut <= ids.size(); ++cut) {
    Detokenizer detokenizer(tokenizer);
    std::string before;
    for (std::size_t i = 0; i < cut; ++i) before += detokenizer.Push(ids[i]);
    EXPECT_EQ(whole.substr(0, before.size()), before);
    for (std::size_t i = cut; i < ids.size(); ++i) before += detokenizer.Push(ids[i]);
    EXPECT_EQ(before + detokenizer.Finish(), whole);
  }
}

TEST(Detokenizer, RandomTokensGiveWhatDecodeGives) {
  std::mt19937_64 random(TestSeed());
  for (const std::string name : {"overlaps", "plain_spaces", "bare"}) {
    const Tokenizer tokenizer = SmallTokenizer(name);
    const std::uint64_t vocab = static_cast<std::uint64_t>(tokenizer.vocab_size());
    for (int i = 0; i < 3000; ++i) {
      Ids ids;
      while (random() % 12 != 0) {
        if (random() % 3 == 0) {
          const Ids bytes =
              BytesOf(tokenizer, RandomText(&random, {"é", "犬", "😀", "\xff", "a"}, 3));
          ids.insert(ids.end(), bytes.begin(), bytes.end());
        } else {
          ids.push_back(static_cast<TokenId>(random() % vocab));
        }
      }
      ASSERT_EQ(Stream(tokenizer, ids), tokenizer.Decode(ids)) << name << ", seed " << TestSeed();
    }
  }
}

TEST(Detokenizer, AnIdOutsideTheVocabularyIsRefusedAndChangesNothing) {
  const Tokenizer tokenizer = SmallTokenizer("overlaps");
  Detokenizer detokenizer(tokenizer);
  const Ids ids = BytesOf(tokenizer, "犬");
  EXPECT_EQ(detokenizer.Push(ids[0]), "");
  EXPECT_THROW((void)detokenizer.Push(-1), Error);
  EXPECT_THROW((void)detokenizer.Push(static_cast<TokenId>(tokenizer.vocab_size())), Error);
  EXPECT_EQ(detokenizer.Push(ids[1]), "");
  EXPECT_EQ(detokenizer.Push(ids[2]), "");
  EXPECT_EQ(detokenizer.Finish(), "犬");
}

}  // namespace
}  // namespace culet
