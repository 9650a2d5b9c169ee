// JSON from untrusted text: the library behind one door, with limits and errors that name the
// place.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace culet {

// std::allocator under a name of our own, so that the types below are ours to specialise.
template <typename T>
struct JsonAllocator : std::allocator<T> {
  JsonAllocator() = default;
  template <typename U>
  JsonAllocator(const JsonAllocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor)
  template <typename U>
  struct rebind {
    using other = JsonAllocator<U>;
  };
};

using Json = nlohmann::basic_json<std::map, std::vector, std::string, bool, std::int64_t,
                                  std::uint64_t, double, JsonAllocator>;
// Keeps the order in which members stand in the file.
using OrderedJson = nlohmann::basic_json<nlohmann::ordered_map, std::vector, std::string, bool,
                                         std::int64_t, std::uint64_t, double, JsonAllocator>;

// Deeper nesting is refused: nothing that culet reads needs it, and recursive readers of the
// result must not run out of stack.
inline constexpr int kMaxJsonDepth = 256;

// More values in one text are refused: as a tree a value takes many times its two bytes of text.
// The largest files that are read this way, headers and indexes of weights, have some ten thousand.
inline constexpr std::size_t kMaxJsonValues = std::size_t{1} << 22;

// Parses `text`. Throws Error(kCorrupt) naming `place` (a file, "standard input"), line and column;
// also for nesting beyond kMaxJsonDepth, more than kMaxJsonValues values, invalid UTF-8 and members
// that stand twice in one object (two readers could choose differently). Numbers keep 64 bits.
Json ParseJson(std::string_view text, const std::string& place);
OrderedJson ParseOrderedJson(std::string_view text, const std::string& place);

// Whether `value` is exactly the string `text`. The library's own == between the two allocates
// where it must not fail.
template <typename JsonType>
bool IsString(const JsonType& value, std::string_view text) {
  return value.is_string() && value.template get_ref<const std::string&>() == text;
}

// "a string", "an object", … for messages.
std::string JsonTypeName(const Json& value);

// On one line, invalid UTF-8 replaced by U+FFFD.
std::string JsonText(const OrderedJson& value);

// One object, written member by member. Arguments of tool calls go in as the text that they are, so
// that numbers stay as the model wrote them.
class JsonObject {
 public:
  void Add(std::string_view key, const OrderedJson& value);
  void AddText(std::string_view key, std::string_view json_text);
  // The members of another object's text.
  void AddMembers(std::string_view object_text);
  std::string Text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

// `value` as JSON text on one line, invalid UTF-8 replaced by U+FFFD, cut to about `max_bytes`: for
// messages.
std::string JsonExcerpt(const Json& value, std::size_t max_bytes = 80);

}  // namespace culet

// The library's own destructor allocates, which ends the program where memory has run out. These go
// down level by level: nothing that is parsed is deeper than kMaxJsonDepth.
template <>
void culet::Json::json_value::destroy(culet::Json::value_t type);
template <>
void culet::OrderedJson::json_value::destroy(culet::OrderedJson::value_t type);
