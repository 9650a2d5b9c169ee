// If this fails, bytes that are not UTF-8 are taken for text, or mended in another way than
// Python's.
#include "base/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace culet {
namespace {

struct Case {
  std::string bytes;
  std::string mended;  // by Python: bytes.decode("utf-8", errors="replace")
};

TEST(Utf8, BrokenSequencesAreMendedAsPythonDoes) {
  const std::string r(kReplacementCharacter);
  const Case cases[] = {
      {"", ""},
      {"plain", "plain"},
      {std::string("a\0b", 3), std::string("a\0b", 3)},
      {"é犬😀", "é犬😀"},
      {"\x80", r},
      {"\xbf\x80", r + r},
      {"\xc0\x80", r + r},  // overlong
      {"\xc1\xbf", r + r},  // overlong
      {"\xc3", r},          // cut off
      {"\xc3"
       "a",
       r + "a"},
      {"\xe0\x80\x80", r + r + r},  // overlong
      {"\xe0\xa0", r},              // cut off
      {"\xe0\xa0"
       "a",
       r + "a"},
      {"\xe2\x96", r},
      {"\xe2\x96\xe2\x96\x81", r + "▁"},
      {"\xed\x9f\xbf", "\xed\x9f\xbf"},  // U+D7FF
      {"\xed\xa0\x80", r + r + r},       // a surrogate
      {"\xf0\x80\x80\x80", r + r + r + r},
      {"\xf0\x90\x80", r},
      {"\xf0\x9f\x98"
       "a\x80",
       r + "a" + r},
      {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},  // U+10FFFF
      {"\xf4\x90\x80\x80", r + r + r + r},       // beyond
      {"\xf5\x80", r + r},
      {"\xff\xfe", r + r},
      {"12345678\xff"
       "12345678",
       "12345678" + r + "12345678"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(ReplaceInvalidUtf8(c.bytes), c.mended) << c.mended;
    EXPECT_EQ(IsUtf8(c.bytes), c.bytes == c.mended) << c.mended;
  }
}

TEST(Utf8, EveryCharacterIsWrittenAndReadBack) {
  for (char32_t code = 0; code <= 0x10ffff; ++code) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    std::string text;
    AppendUtf8(code, &text);
    const Utf8Step step = NextUtf8(text);
    ASSERT_TRUE(step.state == Utf8State::kWhole && step.bytes == text.size())
        << std::uint32_t{code};
    const Utf8Char decoded = DecodeUtf8(text.data());
    ASSERT_TRUE(decoded.code == code && decoded.bytes == text.size()) << std::uint32_t{code};
    for (std::size_t bytes = 1; bytes < text.size(); ++bytes) {
      const Utf8Step cut = NextUtf8(text.substr(0, bytes));
      ASSERT_TRUE(cut.state == Utf8State::kCutOff && cut.bytes == bytes) << std::uint32_t{code};
    }
  }
}

}  // namespace
}  // namespace culet
