// If this fails, Gemma 4's own tokenizer.json gives other ids or text than it gives elsewhere.
// Needs CULET_FIXTURES; the tests skip without it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/utf8.h"
#include "text/tokenizer.h"
#include "tokenizer_fixture.h"

namespace culet {
namespace {

using Ids = std::vector<TokenId>;

struct Golden {
  std::string text;
  Ids ids;
};

// docs/spec/03-tokenizer-and-chat.md, 3.6.
std::vector<Golden> Goldens() {
  return {
      {"Hello, world!", {9259, 236764, 1902, 236888}},
      {"<|turn>user\nWhat is 2+2?<turn|>\n<|turn>model\n",
       {105, 2364, 107, 3689, 563, 236743, 236778, 236862, 236778, 236881, 106, 107, 105, 4368,
        107}},
      {"<|tool>declaration:bash{description:<|\"|>Run a command<|\"|>}<tool|>",
       {46, 163688, 236787, 42422, 236782, 7777, 236787, 52, 7306, 496, 4991, 52, 236783, 47}},
      {"<|tool_call>call:bash{command:<|\"|>ls -la<|\"|>}<tool_call|>",
       {48, 6639, 236787, 42422, 236782, 7674, 236787, 52, 5629, 753, 2149, 52, 236783, 49}},
      {"<|channel>thought\nLet me think about this...<channel|>The answer is 42.",
       {100, 45518, 107, 6481, 786, 1751, 1003, 672, 1390, 101, 818, 3890, 563, 236743, 236812,
        236778, 236761}},
      {"func main() { fmt.Println(\"hello\") }",
       {6823, 1689, 825, 642, 22766, 236761, 29006, 885, 23391, 1373, 682}},
      {"The answer is 42, not 43.5 or -1",
       {818, 3890, 563, 236743, 236812, 236778, 236764, 711, 236743, 236812, 236800, 236761, 236810,
        653, 753, 236770}},
      {"What's the weather in Paris?", {3689, 236789, 236751, 506, 7606, 528, 9079, 236881}},
      {"a", {236746}},
      {" a", {496}},
      {"  a", {138, 236746}},
      {"a ", {236746, 236743}},
      {"\n", {107}},
      {"\n\n\n", {109}},
      {std::string(32, '\n'), {137, 107}},
      {std::string(32, ' '), {167, 236743}},
      {"\t\tx", {255969, 236781}},
      {"x\n\n  y", {236781, 108, 138, 236762}},
      {"a\r\nb", {236746, 251, 107, 236763}},
      {std::string(1, '\0'), {238}},
      {"don't", {13246, 236789, 236745}},
      {" Hello", {26352}},
      {" Linus", {9684, 605}},
      {"1234567890",
       {236770, 236778, 236800, 236812, 236810, 236825, 236832, 236828, 236819, 236771}},
      {"int main(){\n    return 0;\n}\n",
       {720, 1689, 6016, 107, 140, 2060, 236743, 236771, 236793, 107, 236783, 107}},
      {"naïve café", {1789, 238527, 560, 33443}},
      {"Привет, мир!", {116130, 236764, 58562, 236888}},
      {"こんにちは世界", {85141, 12811}},
      {"你好，世界。", {144626, 236900, 12811, 236924}},
      {"안녕하세요", {61659}},
      {"مرحبا", {236873, 150345}},
      {"👩‍👩‍👧‍👦", {243767, 237243, 243767, 237243, 244814, 237243, 244990}},
      {"🇫🇷", {246598, 242644}},
      {"e\u0301", {236744, 238288}},
      {"\u00a0x", {432, 398, 236781}},
      {"\u3400", {465, 382, 366}},
      {"<b>bold</b>", {236820, 236763, 236813, 15640, 954, 236763, 236813}},
      {"<table>", {236820, 5127, 236813}},
      {"</s>", {954, 236751, 236813}},
      {"<unused5>", {236820, 63634, 236810, 236813}},
      {"[multimodal]", {236840, 8606, 98624, 236842}},
      {"<0x41>", {236820, 236771, 236781, 236812, 236770, 236813}},
      {"▁a", {496}},
      {"<pad><eos><bos><unk><mask>", {0, 1, 2, 3, 4}},
      {"<|image><|image|><image|>", {255999, 258880, 258882}},
      {"<|audio><|audio|><audio|>", {256000, 258881, 258883}},
      {"00:07 <|image><|video|><image|> 00:08",
       {236771, 236771, 236787, 236771, 236832, 236743, 255999, 258884, 258882, 236743, 236771,
        236771, 236787, 236771, 236828}},
      {"The quick brown fox jumps over the lazy dog.",
       {818, 3823, 8864, 37423, 38167, 1024, 506, 31770, 4799, 236761}},
  };
}

TEST(PublishedTokenizer, GoldenVectorsHold) {
  CULET_NEED_PUBLISHED_TOKENIZER();
  for (const Golden& golden : Goldens()) {
    EXPECT_EQ(PublishedTokenizer()->Encode(golden.text), golden.ids) << golden.text;
    if (golden.text == "▁a") continue;  // comes back as " a": the loss is the file's
    EXPECT_EQ(PublishedTokenizer()->Decode(golden.ids), golden.text);
  }
}

TEST(PublishedTokenizer, HasTheControlTokensOfGemma4AndNoOther) {
  CULET_NEED_PUBLISHED_TOKENIZER();
  const Tokenizer& tokenizer = *PublishedTokenizer();
  EXPECT_EQ(tokenizer.vocab_size(), 262144);
  Ids controls;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.IsControl(id)) controls.push_back(id);
  }
  EXPECT_THAT(controls,
              testing::ElementsAre(0, 1, 2, 3, 4, 46, 47, 48, 49, 50, 51, 52, 98, 100, 101, 105,
                                   106, 255999, 256000, 258880, 258881, 258882, 258883, 258884));
  EXPECT_EQ(tokenizer.FindToken("<|channel>"), 100);
  EXPECT_EQ(tokenizer.FindToken("thought"), 45518);
  EXPECT_EQ(tokenizer.TokenText(212), "</s>");
  EXPECT_FALSE(tokenizer.IsControl(212));
}

TEST(PublishedTokenizer, ControlTokensAsDataAreCharacters) {
  CULET_NEED_PUBLISHED_TOKENIZER();
  const Tokenizer& tokenizer = *PublishedTokenizer();
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.IsControl(id)) continue;
    const std::string text(tokenizer.TokenText(id));
    EXPECT_EQ(tokenizer.Encode(text), Ids{id});
    const Ids data = tokenizer.EncodeData(text);
    for (const TokenId token : data) EXPECT_FALSE(tokenizer.IsControl(token)) << text;
    EXPECT_EQ(tokenizer.Decode(data), text);
  }
}

TEST(PublishedTokenizer, EveryTokenOfCharactersIsItsOwnText) {
  CULET_NEED_PUBLISHED_TOKENIZER();
  const Tokenizer& tokenizer = *PublishedTokenizer();
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    ASSERT_EQ(tokenizer.FindToken(tokenizer.TokenText(id)), id);
    if (tokenizer.IsByte(id)) {
      ASSERT_EQ(tokenizer.TokenBytes(id), std::string(1, static_cast<char>(id - 238)));
    } else {
      ASSERT_TRUE(IsUtf8(tokenizer.TokenBytes(id)));
      ASSERT_EQ(tokenizer.Decode(Ids{id}), tokenizer.TokenBytes(id));
    }
  }
}

// One megabyte with no place to cut: the letters of one syllable, then one letter. CPU time of four
// times the text may be about four times, far from sixteen.
// What grows with the square of the text would need hours here, and the test's time limit ends it.
TEST(PublishedTokenizer, AMegabyteWithNoBreakIsTokenizedAndComesBack) {
  CULET_NEED_PUBLISHED_TOKENIZER();
  const Tokenizer& tokenizer = *PublishedTokenizer();
  std::mt19937_64 random(TestSeed());
  for (const std::vector<std::string>& letters :
       {std::vector<std::string>{"a"}, {"e", "n", "a", "t", "i"}, {"的", "一", "是"}, {" "}}) {
    const std::string text = RandomText(&random, letters, 1000000);
    ASSERT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text) << letters[0];
  }
}

}  // namespace
}  // namespace culet
