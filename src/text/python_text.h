// Text of JSON values as Python writes it: what chat templates, which run on Python elsewhere,
// print. Checked against Python by tests/text/template_compare.py.
//
// Unicode rules are those of the Python that made unicode_tables.inc (3.11, Unicode 14). Bytes that
// are not UTF-8 pass through unchanged. Nothing here throws.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace culet::python {

// JSON integers that 64 bits cannot hold are kept as `binary` values with their digits (no JSON
// text can give a binary value). See ParseChatRequest.
OrderedJson BigInteger(std::string_view digits);
bool IsBigInteger(const OrderedJson& value);

// str(value): strings as they are, everything else as Repr.
std::string Str(const OrderedJson& value);
// repr(value): 'text', 1.5, True, None, [1, 'a'], {'k': 1}.
std::string Repr(const OrderedJson& value);
// repr of a float: the shortest digits that read back equal, exponents from 1e16 and below 1e-4.
std::string FloatRepr(double value);

// str.upper, str.lower and str.strip.
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string_view Strip(std::string_view text);

// How many bytes at the front of `text` are one white space character of Python's; 0 if none, and
// kIncompleteSpace if more bytes could make one.
inline constexpr int kIncompleteSpace = -1;
int SpaceBytes(std::string_view text);

// bool(value) and a == b (so 1 == 1.0 == True).
bool Truthy(const OrderedJson& value);
bool Equal(const OrderedJson& a, const OrderedJson& b);

// jinja2's dictsort: members by lower-cased key, equal ones in the object's order.
using Member = std::pair<std::string_view, const OrderedJson*>;
std::vector<Member> DictSort(const OrderedJson& object);

}  // namespace culet::python
