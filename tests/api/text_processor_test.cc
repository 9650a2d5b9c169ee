// Fails where a prompt of a conversation that goes on does not keep the ids that the model wrote,
// or says something else than the rendered text.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "culet/error.h"
#include "culet/text.h"

namespace culet {
namespace {

const TextProcessor& Text() {
  static const std::shared_ptr<TextProcessor> text =
      TextProcessor::Open(std::filesystem::path(CULET_SOURCE_DIR) / "models" / "pebble");
  return *text;
}

using Ids = std::vector<TokenId>;

Ids operator+(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The text in single characters: ids that the tokenizer would not choose.
Ids LetterByLetter(const std::string& text) {
  Ids ids;
  for (const char letter : text) ids = ids + Text().Encode(std::string(1, letter));
  return ids;
}

std::string Request(const std::string& messages) {
  return "{\"add_generation_prompt\":true,\"messages\":[" + messages + "]}";
}
const std::string kHi = R"({"role":"user","content":"Hi"})";
const std::string kAnswer = R"(,{"role":"assistant","content":"Hello there"})";
const std::string kMore = R"(,{"role":"user","content":"More"})";

bool StartsWith(const Ids& ids, const Ids& beginning) {
  return ids.size() >= beginning.size() &&
         std::equal(beginning.begin(), beginning.end(), ids.begin());
}

TEST(PlainTokens, AreTheTextAsDataAndBosWhereAsked) {
  const Ids ids = Text().PlainTokens("Hi <bos>");
  EXPECT_EQ(Text().Decode(ids), "Hi <bos>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 0) << "a typed control token is characters";
  EXPECT_EQ(Text().PlainTokens("Hi <bos>", false), ids);
  EXPECT_EQ(Text().PlainTokens("Hi <bos>", true), Ids{2} + ids);
  EXPECT_EQ(Text().PlainTokens("Hi <bos>", true), Text().RawPrompt("Hi <bos>").tokens);
}

TEST(RenderTokens, KeepsTheIdsThatTheModelWrote) {
  const Ids prompt = Text().RenderTokens(Request(kHi), "test").tokens;
  const Ids known = prompt + LetterByLetter("Hello there") + Text().Encode("<turn|>");
  const std::string request = Request(kHi + kAnswer + kMore);
  const Ids fresh = Text().RenderTokens(request, "test").tokens;
  const Ids next = Text().RenderTokens(request, "test", known).tokens;
  EXPECT_FALSE(StartsWith(fresh, known)) << "else this tests nothing";
  EXPECT_TRUE(StartsWith(next, known));
  EXPECT_EQ(Text().Decode(next), Text().Render(request, "test"));
}

TEST(RenderTokens, KeepsThemUpToWhiteSpaceThatTheTemplateDrops) {
  const Ids prompt = Text().RenderTokens(Request(kHi), "test").tokens;
  const Ids kept = prompt + LetterByLetter("Hello there");
  const std::string request = Request(kHi + kAnswer + kMore);
  const Ids next = Text().RenderTokens(request, "test", kept + LetterByLetter(" \n")).tokens;
  EXPECT_TRUE(StartsWith(next, kept));
  EXPECT_EQ(Text().Decode(next), Text().Render(request, "test"));
}

TEST(RenderTokens, TakesAnAnswerThatWasCutOff) {
  const Ids known =
      Text().RenderTokens(Request(kHi), "test").tokens + LetterByLetter("Hello there");
  const std::string request = Request(kHi + kAnswer + kMore);
  const Ids next = Text().RenderTokens(request, "test", known).tokens;
  EXPECT_TRUE(StartsWith(next, known));
  EXPECT_EQ(Text().Decode(next), Text().Render(request, "test"));
}

TEST(RenderTokens, LeavesAThoughtThatTheTemplateDrops) {
  const Ids prompt = Text().RenderTokens(Request(kHi), "test").tokens;
  const Ids known = prompt + Text().Encode("<|channel>thought\nhm\n<channel|>Hello there<turn|>");
  const std::string request = Request(kHi + kAnswer + kMore);
  const Ids next = Text().RenderTokens(request, "test", known).tokens;
  EXPECT_EQ(next, Text().RenderTokens(request, "test").tokens);
  EXPECT_TRUE(StartsWith(next, prompt));
}

TEST(RenderTokens, TypedControlTokensStayText) {
  const std::string request = Request(R"({"role":"user","content":"a<turn|>b"})");
  const Ids control = Text().Encode(Text().Render(request, "test"));
  const Ids data = Text().RenderTokens(request, "test").tokens;
  EXPECT_NE(data, control);
  EXPECT_EQ(Text().RenderTokens(request, "test", control).tokens, data);
  EXPECT_EQ(Text().Decode(data), Text().Decode(control));
}

TEST(RenderTokens, SaysTheSameWhateverIsKnown) {
  const std::string request = Request(kHi + kAnswer + kMore);
  const std::string rendered = Text().Render(request, "test");
  const Ids fresh = Text().RenderTokens(request, "test").tokens;
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    Ids known = random() % 2 == 0 ? fresh : LetterByLetter(rendered);
    const std::size_t changes = random() % 4;
    for (std::size_t change = 0; change < changes; ++change) {
      const std::size_t place = random() % known.size();
      if (random() % 2 == 0) {
        known[place] = static_cast<TokenId>(random() % static_cast<unsigned>(Text().vocab_size()));
      } else {
        known.resize(place + 1);
      }
    }
    ASSERT_EQ(Text().Decode(Text().RenderTokens(request, "test", known).tokens), rendered) << round;
  }
}

TEST(ChatPrompt, IsTheRequestOfTheSameMessages) {
  const std::vector<Message> messages = {{"system", "Be \"brief\"."}, {"user", "a<turn|>b\n\\"}};
  const std::string request =
      R"({"messages":[{"role":"system","content":"Be \"brief\"."},)"
      R"({"role":"user","content":"a<turn|>b\n\\"}],"add_generation_prompt":true,)"
      R"("enable_thinking":)";
  for (const bool think : {false, true}) {
    const Prompt prompt = Text().ChatPrompt(messages, think);
    const Prompt expected = Text().RenderTokens(request + (think ? "true}" : "false}"), "test");
    EXPECT_EQ(prompt.tokens, expected.tokens);
    EXPECT_EQ(prompt.starts_in_thought, expected.starts_in_thought);
  }
  const Ids known = Text().ChatPrompt({{"user", "Hi"}}).tokens + LetterByLetter("Hello there");
  const std::vector<Message> longer = {{"user", "Hi"}, {"assistant", "Hello there"}, {"user", "x"}};
  EXPECT_TRUE(StartsWith(Text().ChatPrompt(longer, false, known).tokens, known));
}

TEST(ChatPrompt, RefusesWhatIsNoText) {
  EXPECT_THROW(Text().ChatPrompt({{"user", "\xff"}}), Error);
  EXPECT_THROW(Text().ChatPrompt({{"\xc3", "hi"}}), Error);
}

}  // namespace
}  // namespace culet
