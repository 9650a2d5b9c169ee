// One tool call as Gemma 4 writes it, to a name and JSON arguments.
// Source: docs/spec/03-tokenizer-and-chat.md, section 6.3.
#pragma once

#include <optional>
#include <string_view>

#include "text/output_parser.h"

namespace culet {

// Deeper calls are not read: readers of the JSON need not survive them.
inline constexpr std::size_t kMaxCallDepth = 200;

// `body` is what stands between `<|tool_call>` and `<tool_call|>`: `call:NAME{key:value,…}`.
//
// Values: strings between `<|"|>` verbatim (to the end of the body where unterminated), {…}, […],
// JSON numbers as written, true, false, null (also None, none, nil); anything else up to the next
// comma or closing bracket is a string without white space at its ends, and so is a number that no
// double holds. Tolerated: white space between items, keys wrapped in `<|"|>`, a missing `call:`,
// stray commas, brackets not closed. A key that stands twice keeps its place and its last value. A
// member without `:` is dropped.
//
// Nothing if there is no name or one with white space in it, if it is nested deeper than
// kMaxCallDepth, or if it was `cut_off` before its `{`; a member cut off before its value is
// dropped. Iterative; time linear in the body for each level of nesting.
std::optional<ToolCall> ParseToolCall(std::string_view body, bool cut_off);

}  // namespace culet
