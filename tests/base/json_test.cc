// If this fails, JSON from a file or a person is taken that must be refused, or the message does
// not say where it is wrong.
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"

namespace culet {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string MessageOf(std::string_view text) {
  try {
    ParseJson(text, "request.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    return error.what();
  }
  return "";
}

TEST(Json, KeepsSixtyFourBitsOfNumbers) {
  const Json value =
      ParseJson("[9223372036854775807, 18446744073709551615, -9223372036854775808]", "x");
  EXPECT_EQ(value[0].get<std::int64_t>(), INT64_MAX);
  EXPECT_EQ(value[1].get<std::uint64_t>(), UINT64_MAX);
  EXPECT_EQ(value[2].get<std::int64_t>(), INT64_MIN);
}

TEST(Json, OrderedJsonKeepsTheOrderOfMembers) {
  EXPECT_EQ(ParseOrderedJson(R"({"b": 1, "a": 2})", "x").dump(), R"({"b":1,"a":2})");
}

TEST(Json, AMessageNamesThePlaceTheLineAndTheColumn) {
  EXPECT_THAT(MessageOf("{\n  \"a\": 1,\n  oops\n}"),
              AllOf(HasSubstr("request.json"), HasSubstr("line 3, column 3")));
  EXPECT_THAT(MessageOf(""), HasSubstr("request.json"));
  EXPECT_THAT(MessageOf("[1] 2"), HasSubstr("line 1, column 5"));
}

TEST(Json, AMemberThatStandsTwiceIsRefusedByName) {
  EXPECT_THAT(MessageOf(R"({"a": {"b": 1, "b": 2}})"), HasSubstr("\"b\" stands twice"));
  // Equal names in different objects are no doubles.
  EXPECT_EQ(MessageOf(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})"), "");
}

TEST(Json, DeepNestingIsRefusedBeforeItCanExhaustTheStack) {
  const std::string fits = std::string(kMaxJsonDepth, '[') + std::string(kMaxJsonDepth, ']');
  EXPECT_EQ(MessageOf(fits), "");
  EXPECT_THAT(MessageOf("[" + fits + "]"), HasSubstr("deeper than 256"));
  EXPECT_NE(MessageOf(std::string(10'000'000, '[')), "");
}

TEST(Json, AListOfManyObjectsTakesNoLongerThanItsLength) {
  std::string many = "[{}";
  for (int i = 1; i < 300'000; ++i) many += ",{}";  // minutes, if each looked at those before it
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(ParseJson(many + "]", "x").size(), 300'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(Json, ANumberThatNoDoubleHoldsIsRefused) {
  EXPECT_THAT(MessageOf("[1e400]"), HasSubstr("number overflow"));
}

TEST(Json, MoreValuesThanAFileCanNeedAreRefused) {
  std::string many = "[0";
  for (std::size_t i = 2; i < kMaxJsonValues; ++i) many += ",0";  // the array counts, too
  EXPECT_EQ(MessageOf(many + "]"), "");
  EXPECT_THAT(MessageOf(many + ",0]"), HasSubstr("more than 4194304 values"));
}

TEST(Json, InvalidUtf8IsRefused) {
  EXPECT_NE(MessageOf("\"\xff\""), "");
  EXPECT_NE(MessageOf("\"\xed\xa0\x80\""), "");  // a surrogate
  EXPECT_NE(MessageOf("\"\xc3\""), "");          // cut off
}

TEST(Json, AnExcerptIsCutBetweenCharacters) {
  const std::string excerpt = JsonExcerpt(Json(std::string(100, 'a') + "ä"), 10);
  EXPECT_EQ(excerpt, "\"aaaaaaaaa…");
  for (std::size_t bytes = 1; bytes < 12; ++bytes) {
    const std::string cut = JsonExcerpt(Json("äöüäöü"), bytes);
    EXPECT_NO_THROW(ParseJson("\"" + cut.substr(1) + "\"", "x")) << cut;
  }
}

}  // namespace
}  // namespace culet
