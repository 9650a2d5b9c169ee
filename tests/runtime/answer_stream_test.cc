// Fails where a stop text leaks, or text is lost or held back for ever.
#include "runtime/answer_stream.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/file.h"

namespace culet {
namespace {

// What comes out when `text` comes in pieces that end at the given places.
std::string Through(std::vector<std::string> stops, std::string_view text, std::size_t piece,
                    bool* found) {
  StopTexts stop(std::move(stops));
  std::string out;
  for (std::size_t begin = 0; begin < text.size(); begin += piece) {
    out += stop.Feed(text.substr(begin, piece));
  }
  *found = stop.found();
  if (!stop.found()) out += stop.Finish();
  return out;
}

TEST(StopTexts, CutBeforeTheFirstMatchHoweverTheTextIsSplit) {
  for (std::size_t piece = 1; piece < 20; ++piece) {
    bool found = false;
    EXPECT_EQ(Through({"END", "STOP"}, "one STO two EN three STOP four END", piece, &found),
              "one STO two EN three ");
    EXPECT_TRUE(found);
    EXPECT_EQ(Through({"END"}, "no match, but EN", piece, &found), "no match, but EN");
    EXPECT_FALSE(found);
    EXPECT_EQ(Through({"aab"}, "aaaaaab", piece, &found), "aaaa");
    EXPECT_TRUE(found);
  }
}

TEST(StopTexts, EmptyTextsNeverMatch) {
  bool found = true;
  EXPECT_EQ(Through({""}, "text", 2, &found), "text");
  EXPECT_FALSE(found);
}

TEST(StopTexts, RandomTextsEqualASearchInTheWhole) {
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (std::uint32_t length = random() % 30; text.size() < length;) text += "ab"[random() % 2];
    std::string stop;
    for (std::uint32_t length = 1 + random() % 5; stop.size() < length;) stop += "ab"[random() % 2];
    bool found = false;
    const std::string out = Through({stop}, text, 1 + random() % 4, &found);
    EXPECT_EQ(out, text.substr(0, text.find(stop))) << text << " / " << stop;
    EXPECT_EQ(found, text.find(stop) != std::string::npos);
  }
}

TEST(StopTexts, EmitWhatIsCertainAtOnce) {
  StopTexts stop({"STOP"});
  EXPECT_EQ(stop.Feed("hello"), "hello");
  EXPECT_EQ(stop.Feed(" S"), " ");
  EXPECT_EQ(stop.Feed("un"), "Sun");
}

class AnswerStreamTest : public ::testing::Test {
 protected:
  // What comes of these tokens.
  ParsedOutput Answer(const std::vector<TokenId>& tokens) {
    AnswerStream stream(tokenizer_, false, {});
    ParsedOutput output;
    const auto take = [&](const std::vector<OutputEvent>& events) {
      for (const OutputEvent& event : events) {
        switch (event.kind) {
          case OutputEvent::Kind::kThinking: output.thinking += event.text; break;
          case OutputEvent::Kind::kContent: output.content += event.text; break;
          case OutputEvent::Kind::kToolCall: output.tool_calls.push_back(event.call); break;
        }
      }
    };
    for (const TokenId token : tokens) take(stream.Push(token));
    take(stream.Finish());
    return output;
  }

  Tokenizer tokenizer_ =
      Tokenizer::Load(FileSystem::Real(), std::filesystem::path(CULET_SOURCE_DIR) / "models" /
                                              "pebble" / "tokenizer.json");
};

constexpr char kWritten[] =
    "<|channel>thought\nhm\n<channel|>a < b<|tool_call>call:f{x:<|\"|>1 < 2<|\"|>}<tool_call|>";

TEST_F(AnswerStreamTest, ControlTokensPartThinkingAnswerAndCalls) {
  const ParsedOutput output = Answer(tokenizer_.Encode(kWritten));
  EXPECT_EQ(output.thinking, "hm");
  EXPECT_EQ(output.content, "a < b");
  ASSERT_EQ(output.tool_calls.size(), 1u);
  EXPECT_EQ(output.tool_calls[0].name, "f");
  EXPECT_EQ(output.tool_calls[0].arguments_json, R"({"x":"1 < 2"})");
}

TEST_F(AnswerStreamTest, TextThatSpellsControlTokensIsText) {
  const ParsedOutput output = Answer(tokenizer_.EncodeData(kWritten));
  EXPECT_EQ(output.content, kWritten);
  EXPECT_EQ(output.thinking, "");
  EXPECT_TRUE(output.tool_calls.empty());
}

// They stand for "<" inside the stream.
TEST_F(AnswerStreamTest, NoncharactersStayWhatTheyAre) {
  for (const std::string text : {"\U0010FFFF", "\U0010FFFE", "\U0010FFFF\U0010FFFE < \U0010FFFF<",
                                 "\U0010FFFF\U0010FFFF\U0010FFFE<turn|>\U0010FFFF"}) {
    EXPECT_EQ(Answer(tokenizer_.EncodeData(text)).content, text);
  }
}

TEST_F(AnswerStreamTest, ACallKeepsTheSpelledTokensOfItsStrings) {
  std::vector<TokenId> tokens = tokenizer_.Encode("<|tool_call>call:f{x:<|\"|>");
  const std::vector<TokenId> quoted = tokenizer_.EncodeData("<tool_call|> <|\"|>");
  tokens.insert(tokens.end(), quoted.begin(), quoted.end());
  const std::vector<TokenId> end = tokenizer_.Encode("<|\"|>}<tool_call|>");
  tokens.insert(tokens.end(), end.begin(), end.end());
  const ParsedOutput output = Answer(tokens);
  ASSERT_EQ(output.tool_calls.size(), 1u);
  EXPECT_EQ(output.tool_calls[0].arguments_json, R"({"x":"<tool_call|> <|\"|>"})");
}

}  // namespace
}  // namespace culet
