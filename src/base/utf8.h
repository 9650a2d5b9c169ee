// UTF-8: step by step, checked, and mended.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace culet {

inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";  // U+FFFD

enum class Utf8State {
  kWhole,   // one character
  kBroken,  // these bytes can never be part of a character
  kCutOff,  // the text ends inside a character that more bytes could complete
};

struct Utf8Step {
  Utf8State state;
  std::size_t bytes;  // 1 … 4: of the character, or of the maximal subpart of a broken one
};

// What stands at `text[0]`; `text` is not empty. Strict: no surrogates, no overlong forms, nothing
// beyond U+10FFFF.
Utf8Step NextUtf8(std::string_view text);

// The first byte that is not part of a whole character; text.size() where all is well.
std::size_t FindInvalidUtf8(std::string_view text);

inline bool IsUtf8(std::string_view text) { return FindInvalidUtf8(text) == text.size(); }

// `text` with U+FFFD for each maximal subpart of a sequence that is not UTF-8, as the Unicode
// standard advises (3.9, "U+FFFD Substitution of Maximal Subparts") and Python does.
std::string ReplaceInvalidUtf8(std::string_view text);

struct Utf8Char {
  char32_t code;
  std::size_t bytes;
};

// The character at `text`, which must be whole UTF-8 there.
inline Utf8Char DecodeUtf8(const char* text) {
  const auto byte = [text](int i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {(lead & 0x1f) << 6 | (byte(1) & 0x3f), 2};
  if (lead < 0xf0) return {(lead & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f),
          4};
}

// Appends the character `code`, a Unicode scalar value.
void AppendUtf8(char32_t code, std::string* text);

}  // namespace culet
