// JSON from untrusted text: the library behind one door, with limits and errors that name the
// place.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace culet {

using Json = nlohmann::json;
// Keeps the order in which members stand in the file.
using OrderedJson = nlohmann::ordered_json;

// Deeper nesting is refused: nothing that culet reads needs it, and recursive readers of the
// result must not run out of stack.
inline constexpr int kMaxJsonDepth = 256;

// Parses `text`. Throws Error(kCorrupt) naming `place` (a file, "standard input"), line and column;
// also for nesting beyond kMaxJsonDepth, invalid UTF-8 and members that stand twice in one object
// (two readers could choose differently). Numbers keep 64 bits.
Json ParseJson(std::string_view text, const std::string& place);
OrderedJson ParseOrderedJson(std::string_view text, const std::string& place);

// "a string", "an object", … for messages.
std::string JsonTypeName(const Json& value);

// `value` as JSON text on one line, invalid UTF-8 replaced by U+FFFD, cut to about `max_bytes`: for
// messages.
std::string JsonExcerpt(const Json& value, std::size_t max_bytes = 80);

}  // namespace culet
