#include "text/json_reader.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

namespace culet {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

}  // namespace

void JsonReader::Fail(const std::string& what) const {
  const std::string_view before = text_.substr(0, std::min(pos_, text_.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t line_start = before.rfind('\n') + 1;  // 0 where there is none
  throw Error(ErrorKind::kCorrupt, place_ + ": line " + std::to_string(line) + ", column " +
                                       std::to_string(before.size() - line_start + 1) + ": " +
                                       what);
}

char JsonReader::Peek() {
  while (pos_ < text_.size() && IsSpace(text_[pos_])) ++pos_;
  return pos_ < text_.size() ? text_[pos_] : '\0';
}

void JsonReader::Expect(char expected, const char* what) {
  if (Peek() != expected) {
    const std::string found = pos_ < text_.size()
                                  ? JsonExcerpt(Json(std::string(text_.substr(pos_, 1))))
                                  : std::string("the end of the file");
    Fail("found " + found + "; expected '" + std::string(1, expected) + "', " + what);
  }
  ++pos_;
}

bool JsonReader::NextMember(bool first, std::string_view* key) {
  if (Peek() == '}') {
    ++pos_;
    return false;
  }
  if (!first) {
    Expect(',', "between the members of an object");
    Peek();
  }
  *key = ReadString();
  Expect(':', "after a member's name");
  return true;
}

bool JsonReader::NextElement(bool first) {
  if (Peek() == ']') {
    ++pos_;
    return false;
  }
  if (!first) {
    Expect(',', "between the elements of an array");
    if (Peek() == ']') Fail("found ']' after a comma; expected an element");
  }
  return true;
}

std::string_view JsonReader::ReadString() {
  Expect('"', "where a string begins");
  const std::size_t start = pos_;
  unsigned char all_bits = 0;
  while (pos_ < text_.size()) {
    const unsigned char c = static_cast<unsigned char>(text_[pos_]);
    if (c == '"') {
      const std::string_view result = text_.substr(start, pos_ - start);
      if ((all_bits & 0x80) != 0 && !IsUtf8(result)) Fail("a string is not UTF-8");
      ++pos_;
      return result;
    }
    if (c == '\\') return ReadEscapedString(start);
    if (c < 0x20) Fail("a control character stands unescaped in a string");
    all_bits |= c;
    ++pos_;
  }
  Fail("the file ends inside a string");
}

char32_t JsonReader::ReadHex4() {
  char32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = pos_ < text_.size() ? text_[pos_] : '\0';
    char32_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<char32_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<char32_t>(c - 'a' + 10);
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<char32_t>(c - 'A' + 10);
    } else {
      Fail("\\u in a string needs four hexadecimal digits");
    }
    value = value << 4 | digit;
    ++pos_;
  }
  return value;
}

std::string_view JsonReader::ReadEscapedString(std::size_t start) {
  std::string result(text_.substr(start, pos_ - start));
  while (pos_ < text_.size()) {
    const char c = text_[pos_++];
    if (c == '"') {
      if (!IsUtf8(result)) Fail("a string is not UTF-8");
      scratch_ = std::move(result);
      return scratch_;
    }
    if (static_cast<unsigned char>(c) < 0x20) {
      Fail("a control character stands unescaped in a string");
    }
    if (c != '\\') {
      result.push_back(c);
      continue;
    }
    const char escape = pos_ < text_.size() ? text_[pos_++] : '\0';
    switch (escape) {
      case '"':
      case '\\':
      case '/': result.push_back(escape); break;
      case 'b': result.push_back('\b'); break;
      case 'f': result.push_back('\f'); break;
      case 'n': result.push_back('\n'); break;
      case 'r': result.push_back('\r'); break;
      case 't': result.push_back('\t'); break;
      case 'u': {
        char32_t code = ReadHex4();
        if (code >= 0xd800 && code < 0xdc00 && text_.substr(pos_, 2) == "\\u") {
          pos_ += 2;
          const char32_t low = ReadHex4();
          if (low < 0xdc00 || low > 0xdfff) Fail("a surrogate in a string has no partner");
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        } else if (code >= 0xd800 && code <= 0xdfff) {
          Fail("a surrogate in a string has no partner");
        }
        AppendUtf8(code, &result);
        break;
      }
      default: Fail("an unknown escape stands in a string");
    }
  }
  Fail("the file ends inside a string");
}

std::int32_t JsonReader::ReadIndex() {
  Peek();
  const std::size_t start = pos_;
  std::int64_t value = 0;
  while (pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '9') {
    value = value * 10 + (text_[pos_] - '0');
    if (value > std::numeric_limits<std::int32_t>::max())
      Fail("a number is larger than 2147483647");
    ++pos_;
  }
  const bool leading_zero = pos_ - start > 1 && text_[start] == '0';
  const char next = pos_ < text_.size() ? text_[pos_] : '\0';
  if (pos_ == start || leading_zero || next == '.' || next == 'e' || next == 'E') {
    pos_ = start;
    Fail("expected an integer from 0 on");
  }
  return static_cast<std::int32_t>(value);
}

std::string_view JsonReader::ReadRaw() {
  Peek();
  const std::size_t start = pos_;
  std::string open;  // the brackets that wait for their partners
  do {
    const char c = Peek();
    if (c == '"') {
      ReadString();
    } else if (c == '{' || c == '[') {
      if (open.size() == static_cast<std::size_t>(kMaxJsonDepth)) {
        Fail("JSON nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
      }
      open.push_back(c == '{' ? '}' : ']');
      ++pos_;
    } else if (c == '}' || c == ']') {
      if (open.empty() || open.back() != c) Fail("a bracket closes what was not open");
      open.pop_back();
      ++pos_;
    } else if (c == '\0') {
      Fail("the file ends inside a value");
    } else if (open.empty()) {
      // A bare number or word: up to what ends it.
      while (pos_ < text_.size() && !IsSpace(text_[pos_]) && text_[pos_] != ',' &&
             text_[pos_] != '}' && text_[pos_] != ']') {
        ++pos_;
      }
      if (pos_ == start) Fail("expected a value");
    } else {
      ++pos_;
    }
  } while (!open.empty());
  return text_.substr(start, pos_ - start);
}

void JsonReader::ExpectEnd() {
  Peek();
  if (pos_ != text_.size()) Fail("text follows after the end of the JSON value");
}

}  // namespace culet
