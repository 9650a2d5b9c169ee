// What the pieces of the chat template share: the prompt being written, values that may be missing,
// and the value rule. Internal to src/text.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/prompt_segment.h"

namespace culet {

inline constexpr std::string_view kStringDelimiter = "<|\"|>";

// Neighbouring pieces of one kind are joined.
class TemplateWriter {
 public:
  void Template(std::string_view text) { Append(text, true); }
  void Data(std::string_view text) { Append(text, false); }
  // A delimited string.
  void Quoted(std::string_view text);
  void Append(const std::vector<PromptSegment>& segments);
  const std::vector<PromptSegment>& segments() const { return segments_; }
  std::vector<PromptSegment> Take() { return std::move(segments_); }

 private:
  void Append(std::string_view text, bool control);

  std::vector<PromptSegment> segments_;
};

// A value of the request; null pointer: undefined, as jinja2 calls a member that is not there.
using MaybeValue = const OrderedJson*;

// value[key]: undefined where `value` is no object or lacks the member. `value` itself is defined.
MaybeValue Get(const OrderedJson& value, std::string_view key);
bool IsTruthy(MaybeValue value);
// str(value), undefined gives nothing.
std::string Text(MaybeValue value);
// value | upper.
std::string UpperText(MaybeValue value);
// "missing", "null", "a string", … for messages.
std::string FoundName(MaybeValue value);

// Throws Error(kInvalidArgument): "`path` is `found`; `expected`".
[[noreturn]] void FailField(const std::string& path, MaybeValue found, const std::string& expected);

// What `for item in value` gives as text: elements of an array, keys of an object, characters of a
// string. Throws with `path` for anything else.
std::vector<OrderedJson> Items(const OrderedJson& value, const std::string& path);

// The value rule (section 4.5): keys wrapped in string delimiters only if `quote_keys`.
void WriteValue(const OrderedJson& value, bool quote_keys, TemplateWriter* out);
// `key:value` of every member, sorted, joined by commas.
void WriteMembers(const OrderedJson& object, bool quote_keys, TemplateWriter* out);

}  // namespace culet
