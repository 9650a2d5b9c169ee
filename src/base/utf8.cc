#include "base/utf8.h"

#include <cstdint>
#include <cstring>

namespace culet {

Utf8Step NextUtf8(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {Utf8State::kWhole, 1};
  if (lead < 0xc2 || lead > 0xf4) return {Utf8State::kBroken, 1};
  const std::size_t bytes = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte alone rules out overlong forms, surrogates and what lies beyond U+10FFFF.
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  for (std::size_t i = 1; i < bytes; ++i) {
    if (i == text.size()) return {Utf8State::kCutOff, i};
    if (byte(i) < low || byte(i) > high) return {Utf8State::kBroken, i};
    low = 0x80;
    high = 0xbf;
  }
  return {Utf8State::kWhole, bytes};
}

std::size_t FindInvalidUtf8(std::string_view text) {
  std::size_t pos = 0;
  while (pos < text.size()) {
    // Eight ASCII bytes at once: most text.
    std::uint64_t word = 0;
    while (pos + sizeof(word) <= text.size()) {
      std::memcpy(&word, text.data() + pos, sizeof(word));
      if ((word & 0x8080808080808080u) != 0) break;
      pos += sizeof(word);
    }
    if (pos == text.size()) break;
    const Utf8Step step = NextUtf8(text.substr(pos, 4));
    if (step.state != Utf8State::kWhole) return pos;
    pos += step.bytes;
  }
  return text.size();
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string result;
  result.reserve(text.size() + 16);
  while (!text.empty()) {
    const std::size_t good = FindInvalidUtf8(text);
    result.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) break;
    result.append(kReplacementCharacter);
    text.remove_prefix(NextUtf8(text).bytes);
  }
  return result;
}

void AppendUtf8(char32_t code, std::string* text) {
  const auto put = [text](char32_t value) {
    text->push_back(static_cast<char>(static_cast<unsigned char>(value)));
  };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

}  // namespace culet
