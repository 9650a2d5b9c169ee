#include "text/tool_call_parser.h"

#include <cmath>
#include <cstdlib>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/python_text.h"

namespace culet {
namespace {

constexpr std::string_view kDelimiter = "<|\"|>";
constexpr std::string_view kCallPrefix = "call:";

std::string JsonString(std::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// JSON's number grammar, and a value that a double holds.
bool IsNumber(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t start = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at - start;
  };
  if (at < text.size() && text[at] == '-') ++at;
  const std::size_t first = at;
  const std::size_t whole = digits();
  if (whole == 0 || (whole > 1 && text[first] == '0')) return false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (digits() == 0) return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size() && std::isfinite(std::strtod(std::string(text).c_str(), nullptr));
}

bool HasSpace(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (python::SpaceBytes(text.substr(i)) > 0) return true;
  }
  return false;
}

std::string BareValue(std::string_view text) {
  text = python::Strip(text);
  if (text == "true" || text == "false") return std::string(text);
  if (text == "null" || text == "None" || text == "none" || text == "nil") return "null";
  return IsNumber(text) ? std::string(text) : JsonString(text);
}

// An object or array that is not closed yet.
struct Open {
  bool is_object;
  std::string key;  // of the member whose value comes next (as JSON text)
  bool has_key = false;
  bool has_value = false;                                    // since the last comma
  std::vector<std::pair<std::string, std::string>> members;  // key and value as JSON text
  std::unordered_map<std::string, std::size_t> places;       // key to its index in members

  void Add(std::string value) {
    // What follows a whole value up to the next comma is not read.
    if (has_value || (is_object && !has_key)) return;
    has_value = true;
    if (!is_object) {
      members.emplace_back(std::string(), std::move(value));
      return;
    }
    has_key = false;
    const auto [place, is_new] = places.try_emplace(key, members.size());
    if (is_new) {
      members.emplace_back(std::move(key), std::move(value));
    } else {
      members[place->second].second = std::move(value);
    }
  }

  std::string ToJson() const {
    std::string text(1, is_object ? '{' : '[');
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (i > 0) text += ',';
      if (is_object) text += members[i].first + ":";
      text += members[i].second;
    }
    text += is_object ? '}' : ']';
    return text;
  }
};

class ArgumentsParser {
 public:
  // `text` begins after the first `{`.
  explicit ArgumentsParser(std::string_view text) : text_(text) {}

  // Nothing if it is nested too deep.
  std::optional<std::string> Parse() {
    stack_.push_back(Open{true, {}, false, false, {}, {}});
    while (!stack_.empty() && at_ < text_.size()) {
      if (stack_.size() > kMaxCallDepth) return std::nullopt;
      SkipSpace();
      if (at_ < text_.size()) Step();
    }
    while (!stack_.empty()) Close();
    return std::move(result_);
  }

 private:
  void SkipSpace() {
    for (int bytes = Space(); bytes > 0; bytes = Space()) at_ += static_cast<std::size_t>(bytes);
  }
  int Space() const { return python::SpaceBytes(text_.substr(at_)); }
  bool AtDelimiter() const { return text_.substr(at_).starts_with(kDelimiter); }

  void Step() {
    Open& open = stack_.back();
    const char c = text_[at_];
    if (c == '}' || c == ']') {
      ++at_;
      CloseTo(c == '}');
    } else if (c == ',') {
      ++at_;
      EndMember(&open);
    } else if (open.is_object && !open.has_key && !open.has_value) {
      ReadKey(&open);
    } else if (c == '{' || c == '[') {
      ++at_;
      stack_.push_back(Open{c == '{', {}, false, false, {}, {}});
    } else if (AtDelimiter()) {
      open.Add(JsonString(ReadDelimited()));
    } else {
      open.Add(BareValue(ReadBare()));
    }
  }

  // `key:` with nothing behind it is an empty string, like any other bare text.
  static void EndMember(Open* open) {
    if (open->has_key) open->Add("\"\"");
    open->has_key = false;
    open->has_value = false;
  }

  void ReadKey(Open* open) {
    std::string_view key;
    if (AtDelimiter()) {
      key = ReadDelimited();
      SkipSpace();
    } else {
      const std::size_t start = at_;
      // Nothing but its `:` ends a key, except what shows that it is no key.
      while (at_ < text_.size() && !IsOneOf(":,}]")) ++at_;
      key = python::Strip(text_.substr(start, at_ - start));
    }
    if (at_ < text_.size() && text_[at_] == ':') {
      ++at_;
      open->key = JsonString(key);
      open->has_key = true;
    } else {
      open->has_value = true;  // a key without a value: skip to the comma
    }
  }

  std::string_view ReadDelimited() {
    at_ += kDelimiter.size();
    const std::size_t start = at_;
    const std::size_t end = text_.find(kDelimiter, at_);
    at_ = end == std::string_view::npos ? text_.size() : end + kDelimiter.size();
    return text_.substr(start, end == std::string_view::npos ? end : end - start);
  }

  std::string_view ReadBare() {
    const std::size_t start = at_;
    while (at_ < text_.size() && !IsOneOf(",}]")) ++at_;
    return text_.substr(start, at_ - start);
  }

  bool IsOneOf(std::string_view characters) const {
    return characters.find(text_[at_]) != std::string_view::npos;
  }

  // Closes up to the innermost object (or array); where none is open the bracket is stray.
  void CloseTo(bool is_object) {
    std::size_t wanted = stack_.size();
    while (wanted > 0 && stack_[wanted - 1].is_object != is_object) --wanted;
    if (wanted == 0) return;
    EndMember(&stack_.back());
    while (stack_.size() >= wanted) Close();
  }

  void Close() {
    std::string json = stack_.back().ToJson();
    stack_.pop_back();
    if (stack_.empty()) {
      result_ = std::move(json);
    } else {
      stack_.back().Add(std::move(json));
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Open> stack_;
  std::string result_;
};

}  // namespace

std::optional<ToolCall> ParseToolCall(std::string_view body, bool cut_off) {
  body = python::Strip(body);
  if (body.starts_with(kCallPrefix)) body.remove_prefix(kCallPrefix.size());
  const std::size_t brace = body.find('{');
  const std::string_view name = python::Strip(body.substr(0, brace));
  if (name.empty() || HasSpace(name) || (brace == std::string_view::npos && cut_off))
    return std::nullopt;
  ToolCall call{std::string(name), "{}"};
  if (brace != std::string_view::npos) {
    std::optional<std::string> arguments = ArgumentsParser(body.substr(brace + 1)).Parse();
    if (!arguments) return std::nullopt;
    call.arguments_json = std::move(*arguments);
  }
  return call;
}

}  // namespace culet
