#include "text/python_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "base/utf8.h"

namespace culet::python {
namespace {

struct CaseRun {
  char32_t first;
  char32_t last;
  std::uint32_t step;
  std::int32_t delta;
};
struct SpecialCase {
  char32_t code;
  std::string_view text;
};
struct CodeRange {
  char32_t first;
  char32_t last;
};
#include "text/unicode_tables.inc"

constexpr char32_t kCapitalSigma = 0x3a3;
constexpr std::string_view kSmallSigma = "\xcf\x83";
constexpr std::string_view kFinalSigma = "\xcf\x82";

// The entry of a table sorted by `last` that could hold `code`; null if none.
template <typename Table>
auto FindRange(const Table& table, char32_t code) -> decltype(std::data(table)) {
  const auto* entry =
      std::lower_bound(std::begin(table), std::end(table), code,
                       [](const auto& range, char32_t wanted) { return range.last < wanted; });
  return entry != std::end(table) && entry->first <= code ? entry : nullptr;
}

template <typename Runs, typename Specials>
void AppendCase(char32_t code, const Runs& runs, const Specials& specials, std::string* out) {
  const auto* special = std::lower_bound(
      std::begin(specials), std::end(specials), code,
      [](const SpecialCase& entry, char32_t wanted) { return entry.code < wanted; });
  if (special != std::end(specials) && special->code == code) {
    *out += special->text;
    return;
  }
  if (const CaseRun* run = FindRange(runs, code); run && (code - run->first) % run->step == 0) {
    code = static_cast<char32_t>(static_cast<std::int32_t>(code) + run->delta);
  }
  AppendUtf8(code, out);
}

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

// Whether the sigma at text[begin, end) closes a word: a cased letter before it and none after it,
// case-ignorable characters skipped.
bool SigmaIsFinal(std::string_view text, std::size_t begin, std::size_t end) {
  bool after_letter = false;
  for (std::size_t at = begin; at > 0;) {
    std::size_t start = at - 1;
    while (start > 0 && IsContinuation(text[start])) --start;
    if (NextUtf8(text.substr(start)).state != Utf8State::kWhole) break;
    const char32_t code = DecodeUtf8(text.data() + start).code;
    at = start;
    if (FindRange(kCaseIgnorable, code)) continue;
    after_letter = FindRange(kCased, code) != nullptr;
    break;
  }
  if (!after_letter) return false;
  for (std::size_t at = end; at < text.size();) {
    if (NextUtf8(text.substr(at)).state != Utf8State::kWhole) return true;
    const Utf8Char next = DecodeUtf8(text.data() + at);
    if (!FindRange(kCaseIgnorable, next.code)) return FindRange(kCased, next.code) == nullptr;
    at += next.bytes;
  }
  return true;
}

template <typename ForAscii, typename ForOther>
std::string MapCharacters(std::string_view text, ForAscii for_ascii, ForOther for_other) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      for_ascii(static_cast<char>(byte), &out);
      ++at;
      continue;
    }
    const Utf8Step step = NextUtf8(text.substr(at));
    if (step.state == Utf8State::kWhole) {
      for_other(DecodeUtf8(text.data() + at).code, at, step.bytes, &out);
    } else {
      out += text.substr(at, step.bytes);
    }
    at += step.bytes;
  }
  return out;
}

std::string StringRepr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  const auto escape = [](const char* format, char32_t code, std::string* out) {
    std::array<char, 16> buffer;
    std::snprintf(buffer.data(), buffer.size(), format, static_cast<unsigned>(code));
    *out += buffer.data();
  };
  std::string body = MapCharacters(
      text,
      [&](char c, std::string* out) {
        if (c == quote || c == '\\') {
          *out += '\\';
          *out += c;
        } else if (c == '\n') {
          *out += "\\n";
        } else if (c == '\r') {
          *out += "\\r";
        } else if (c == '\t') {
          *out += "\\t";
        } else if (c < ' ' || c == 0x7f) {
          escape("\\x%02x", static_cast<char32_t>(c), out);
        } else {
          *out += c;
        }
      },
      [&](char32_t code, std::size_t, std::size_t, std::string* out) {
        if (!FindRange(kUnprintable, code)) {
          AppendUtf8(code, out);
        } else {
          escape(code <= 0xff ? "\\x%02x" : code <= 0xffff ? "\\u%04x" : "\\U%08x", code, out);
        }
      });
  return quote + body + quote;
}

void AppendRepr(const OrderedJson& value, std::string* out) {
  switch (value.type()) {
    case OrderedJson::value_t::object: {
      *out += '{';
      bool first = true;
      for (const auto& [key, member] : value.items()) {
        if (!first) *out += ", ";
        first = false;
        *out += StringRepr(key);
        *out += ": ";
        AppendRepr(member, out);
      }
      *out += '}';
      return;
    }
    case OrderedJson::value_t::array: {
      *out += '[';
      bool first = true;
      for (const OrderedJson& item : value) {
        if (!first) *out += ", ";
        first = false;
        AppendRepr(item, out);
      }
      *out += ']';
      return;
    }
    case OrderedJson::value_t::string:
      *out += StringRepr(value.get_ref<const std::string&>());
      return;
    case OrderedJson::value_t::boolean: *out += value.get<bool>() ? "True" : "False"; return;
    case OrderedJson::value_t::number_float: *out += FloatRepr(value.get<double>()); return;
    case OrderedJson::value_t::binary:
      out->append(value.get_binary().begin(), value.get_binary().end());
      return;
    case OrderedJson::value_t::number_integer:
    case OrderedJson::value_t::number_unsigned: *out += value.dump(); return;
    default: *out += "None"; return;
  }
}

// A text that two numbers share exactly when Python calls them equal; empty for other values.
std::string NumberKey(const OrderedJson& value) {
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  if (!value.is_number_float()) {
    return value.is_number() || IsBigInteger(value) ? Repr(value) : std::string();
  }
  const double number = value.get<double>();
  if (number != std::trunc(number)) return FloatRepr(number);
  if (number == 0) return "0";
  std::array<char, 400> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.0f", number);
  return buffer.data();
}

}  // namespace

OrderedJson BigInteger(std::string_view digits) {
  return OrderedJson::binary({digits.begin(), digits.end()});
}

bool IsBigInteger(const OrderedJson& value) { return value.is_binary(); }

std::string Repr(const OrderedJson& value) {
  std::string out;
  AppendRepr(value, &out);
  return out;
}

std::string Str(const OrderedJson& value) {
  return value.is_string() ? value.get<std::string>() : Repr(value);
}

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  if (value == 0) return std::signbit(value) ? "-0.0" : "0.0";
  std::array<char, 40> buffer;
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(value),
                                    std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(result.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  const int exponent = std::stoi(std::string(text.substr(e + 1)));
  std::string out = value < 0 ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    const std::string size = std::to_string(std::abs(exponent));
    return out + (size.size() < 2 ? "0" : "") + size;
  }
  if (exponent < 0) {
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  if (count <= exponent + 1) {
    return out + digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  }
  const auto whole = static_cast<std::size_t>(exponent + 1);
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string Upper(std::string_view text) {
  return MapCharacters(
      text,
      [](char c, std::string* out) {
        *out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
      },
      [](char32_t code, std::size_t, std::size_t, std::string* out) {
        AppendCase(code, kUpperRuns, kUpperSpecials, out);
      });
}

std::string Lower(std::string_view text) {
  return MapCharacters(
      text,
      [](char c, std::string* out) {
        *out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      },
      [text](char32_t code, std::size_t at, std::size_t bytes, std::string* out) {
        if (code == kCapitalSigma) {
          *out += SigmaIsFinal(text, at, at + bytes) ? kFinalSigma : kSmallSigma;
        } else {
          AppendCase(code, kLowerRuns, kLowerSpecials, out);
        }
      });
}

int SpaceBytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) {
    return (lead >= 0x09 && lead <= 0x0d) || (lead >= 0x1c && lead <= 0x20) ? 1 : 0;
  }
  if (lead == 0xc2) {  // U+0085, U+00A0
    if (text.size() < 2) return kIncompleteSpace;
    return byte(1) == 0x85 || byte(1) == 0xa0 ? 2 : 0;
  }
  if (lead < 0xe1 || lead > 0xe3) return 0;
  if (text.size() < 2) return kIncompleteSpace;
  const unsigned second = byte(1);
  const bool known_second = (lead == 0xe1 && second == 0x9a) ||
                            (lead == 0xe2 && (second == 0x80 || second == 0x81)) ||
                            (lead == 0xe3 && second == 0x80);
  if (!known_second) return 0;
  if (text.size() < 3) return kIncompleteSpace;
  const unsigned third = byte(2);
  bool space = false;
  if (lead == 0xe1 || lead == 0xe3) {  // U+1680, U+3000
    space = third == 0x80;
  } else if (second == 0x80) {  // U+2000 … U+200A, U+2028, U+2029, U+202F
    space = (third >= 0x80 && third <= 0x8a) || third == 0xa8 || third == 0xa9 || third == 0xaf;
  } else {  // U+205F
    space = third == 0x9f;
  }
  return space ? 3 : 0;
}

std::string_view Strip(std::string_view text) {
  for (int bytes = SpaceBytes(text); bytes > 0; bytes = SpaceBytes(text)) {
    text.remove_prefix(static_cast<std::size_t>(bytes));
  }
  while (!text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && text.size() - start < 3 && IsContinuation(text[start])) --start;
    const int bytes = SpaceBytes(text.substr(start));
    if (bytes <= 0 || start + static_cast<std::size_t>(bytes) != text.size()) break;
    text.remove_suffix(static_cast<std::size_t>(bytes));
  }
  return text;
}

bool Truthy(const OrderedJson& value) {
  switch (value.type()) {
    case OrderedJson::value_t::null: return false;
    case OrderedJson::value_t::boolean: return value.get<bool>();
    case OrderedJson::value_t::string: return !value.get_ref<const std::string&>().empty();
    case OrderedJson::value_t::object:
    case OrderedJson::value_t::array: return !value.empty();
    case OrderedJson::value_t::number_integer:
    case OrderedJson::value_t::number_unsigned: return value.get<std::int64_t>() != 0;
    case OrderedJson::value_t::number_float: return value.get<double>() != 0;
    default: return true;  // a big integer
  }
}

bool Equal(const OrderedJson& a, const OrderedJson& b) {
  if (const std::string key = NumberKey(a); !key.empty()) return key == NumberKey(b);
  if (a.type() != b.type()) return false;
  if (a.is_object()) {
    if (a.size() != b.size()) return false;
    for (const auto& [key, member] : a.items()) {
      const auto other = b.find(key);
      if (other == b.end() || !Equal(member, *other)) return false;
    }
    return true;
  }
  if (a.is_array()) return std::equal(a.begin(), a.end(), b.begin(), b.end(), Equal);
  return a == b;
}

std::vector<Member> DictSort(const OrderedJson& object) {
  std::vector<std::pair<std::string, Member>> keyed;
  keyed.reserve(object.size());
  for (auto it = object.begin(); it != object.end(); ++it) {
    keyed.push_back({Lower(it.key()), Member(it.key(), &*it)});
  }
  std::stable_sort(keyed.begin(), keyed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Member> members;
  members.reserve(keyed.size());
  for (const auto& [lowered, member] : keyed) members.push_back(member);
  return members;
}

}  // namespace culet::python
