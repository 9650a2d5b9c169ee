#include "runtime/answer_stream.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace culet {
namespace {

// Ordinary text on its way through the parser, so that a model that quotes "<turn|>" or
// "<|tool_call>" letter by letter has written text and nothing else: "<" is two characters there,
// U+10FFFF and U+10FFFE, and a U+10FFFF of the text is doubled.
constexpr std::string_view kMark = "\xf4\x8f\xbf\xbf";
constexpr std::string_view kLess = "\xf4\x8f\xbf\xbe";

std::string Replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at = 0;;) {
    const std::size_t found = text.find(from, at);
    result += text.substr(at, found - at);
    if (found == std::string_view::npos) return result;
    result += to;
    at = found + from.size();
  }
}

std::string Quoted(std::string_view text) {
  static const std::string mark_twice = std::string(kMark) + std::string(kMark);
  static const std::string less = std::string(kMark) + std::string(kLess);
  return Replaced(Replaced(text, kMark, mark_twice), "<", less);
}

// The parser never parts the two characters of a pair: they came to it in one piece.
std::string Unquoted(std::string_view text) {
  std::string result;
  for (std::size_t at = 0;;) {
    const std::size_t mark = text.find(kMark, at);
    result += text.substr(at, mark - at);
    if (mark == std::string_view::npos) return result;
    at = mark + kMark.size();
    const bool is_less = text.substr(at).starts_with(kLess);
    result += is_less ? "<" : kMark;
    if (is_less || text.substr(at).starts_with(kMark)) at += kMark.size();
  }
}

}  // namespace

StopTexts::StopTexts(std::vector<std::string> texts) : texts_(std::move(texts)) {
  std::erase(texts_, std::string());
}

std::string StopTexts::Feed(std::string_view text) {
  if (found_) return {};
  held_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : texts_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    found_ = true;
    held_.resize(first);
    return std::exchange(held_, {});
  }
  // The longest end of what is held that may be the beginning of a stop text.
  std::size_t keep = 0;
  for (const std::string& stop : texts_) {
    for (std::size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (held_.compare(held_.size() - length, length, stop, 0, length) == 0) keep = length;
    }
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return certain;
}

std::string StopTexts::Finish() { return std::exchange(held_, {}); }

AnswerStream::AnswerStream(const Tokenizer& tokenizer, bool starts_in_thought,
                           std::vector<std::string> stop)
    : tokenizer_(tokenizer),
      detokenizer_(tokenizer),
      parser_(starts_in_thought),
      stop_(std::move(stop)) {}

std::vector<OutputEvent> AnswerStream::Push(TokenId token) {
  if (!tokenizer_.IsControl(token)) return Filter(parser_.Feed(Quoted(detokenizer_.Push(token))));
  // A control token ends a run of byte tokens.
  std::string text = Quoted(detokenizer_.Finish());
  text += tokenizer_.TokenText(token);
  return Filter(parser_.Feed(text));
}

std::vector<OutputEvent> AnswerStream::Finish() {
  std::vector<OutputEvent> events = Filter(parser_.Feed(Quoted(detokenizer_.Finish())));
  for (OutputEvent& event : Filter(parser_.Finish())) events.push_back(std::move(event));
  if (!stop_.found()) {
    const std::string rest = stop_.Finish();
    if (!rest.empty()) events.push_back({OutputEvent::Kind::kContent, rest, {}});
  }
  return events;
}

// Stop texts count in the answer alone, not in thoughts or calls.
std::vector<OutputEvent> AnswerStream::Filter(std::vector<OutputEvent> events) {
  std::vector<OutputEvent> kept;
  for (OutputEvent& event : events) {
    if (stop_.found()) break;
    event.text = Unquoted(event.text);
    event.call.name = Unquoted(event.call.name);
    event.call.arguments_json = Unquoted(event.call.arguments_json);
    if (event.kind == OutputEvent::Kind::kContent) {
      event.text = stop_.Feed(event.text);
      if (event.text.empty()) continue;
    }
    kept.push_back(std::move(event));
  }
  return kept;
}

}  // namespace culet
