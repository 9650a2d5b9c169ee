#include "text/output_parser.h"

#include <optional>
#include <span>
#include <utility>

#include "text/python_text.h"
#include "text/tool_call_parser.h"

namespace culet {
namespace {

constexpr std::string_view kTurnEnd = "<turn|>";
constexpr std::string_view kEos = "<eos>";
constexpr std::string_view kToolResponse = "<|tool_response>";
constexpr std::string_view kThoughtBegin = "<|channel>";
constexpr std::string_view kThoughtEnd = "<channel|>";
constexpr std::string_view kCallBegin = "<|tool_call>";
constexpr std::string_view kCallEnd = "<tool_call|>";
constexpr std::string_view kLabel = "thought";

constexpr std::string_view kAnswerTokens[] = {kTurnEnd,    kEos,       kToolResponse, kThoughtBegin,
                                              kThoughtEnd, kCallBegin, kCallEnd};
constexpr std::string_view kThinkingTokens[] = {kTurnEnd, kEos, kToolResponse, kThoughtEnd};
constexpr std::string_view kThoughtStartTokens[] = {kTurnEnd, kEos, kToolResponse, kThoughtEnd,
                                                    kThoughtBegin};
constexpr std::string_view kCallTokens[] = {kTurnEnd, kEos, kToolResponse, kCallBegin, kCallEnd};
// A label without its newline, before what ends a thought, is one too.
constexpr std::string_view kLabels[] = {"thought\n", "thought<turn|>", "thought<eos>",
                                        "thought<|tool_response>", "thought<channel|>"};

enum class MatchKind { kNone, kPartial, kFull };
struct Match {
  MatchKind kind;
  std::string_view token;
};

// Which of `tokens` stands at the front of `text`, or may once more of it is there. None of the
// tokens begins another.
Match MatchToken(std::string_view text, std::span<const std::string_view> tokens) {
  bool partial = false;
  for (const std::string_view token : tokens) {
    if (text.starts_with(token)) return {MatchKind::kFull, token};
    partial |= token.starts_with(text);
  }
  return {partial ? MatchKind::kPartial : MatchKind::kNone, {}};
}

// Whether a white space character may begin with this byte.
bool MayBeSpace(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte <= 0x20 || byte == 0xc2 || (byte >= 0xe1 && byte <= 0xe3);
}

}  // namespace

OutputParser::OutputParser(bool starts_in_thought)
    : state_(starts_in_thought ? State::kThoughtStart : State::kAnswer) {}

std::vector<OutputEvent> OutputParser::Feed(std::string_view bytes) {
  if (state_ == State::kEnd) return {};
  std::string input = std::move(tail_);
  input += bytes;
  tail_ = input.substr(Consume(input));
  return std::exchange(events_, {});
}

std::vector<OutputEvent> OutputParser::Finish() {
  const std::string tail = std::exchange(tail_, {});
  if (state_ == State::kCall) {
    call_ += tail;
    EndCall(true);
  } else if (state_ == State::kLabel) {
    state_ = State::kThinking;
    if (tail != kLabel) EmitText(tail);
  } else if (state_ != State::kEnd && state_ != State::kAfterResponse) {
    EmitText(tail);
  }
  state_ = State::kEnd;
  space_.clear();
  return std::exchange(events_, {});
}

std::size_t OutputParser::Consume(std::string_view input) {
  std::size_t at = 0;
  while (at < input.size()) {
    const State before = state_;
    const std::string_view rest = input.substr(at);
    std::size_t bytes = 0;
    switch (state_) {
      case State::kEnd: return input.size();
      case State::kLabel: bytes = ConsumeLabel(rest); break;
      case State::kCall: bytes = ConsumeCall(rest); break;
      default: bytes = ConsumeText(rest); break;
    }
    if (bytes == 0 && state_ == before) break;
    at += bytes;
  }
  return at;
}

std::size_t OutputParser::ConsumeText(std::string_view input) {
  std::span<const std::string_view> tokens = kAnswerTokens;
  if (state_ == State::kThinking) tokens = kThinkingTokens;
  if (state_ == State::kThoughtStart) tokens = kThoughtStartTokens;
  std::size_t begin = 0;  // of text that is not given out yet
  std::size_t at = 0;
  while (at < input.size()) {
    const std::string_view rest = input.substr(at);
    if (input[at] == '<') {
      const Match match = MatchToken(rest, tokens);
      if (match.kind != MatchKind::kNone) {
        EmitText(input.substr(begin, at - begin));
        if (match.kind == MatchKind::kPartial) return at;
        OnToken(match.token);
        return at + match.token.size();
      }
    } else if (MayBeSpace(input[at])) {
      if (const int space = python::SpaceBytes(rest); space != 0) {
        EmitText(input.substr(begin, at - begin));
        if (space == python::kIncompleteSpace) return at;
        const auto bytes = static_cast<std::size_t>(space);
        if (!skip_space_) space_ += rest.substr(0, bytes);
        at += bytes;
        begin = at;
        continue;
      }
    }
    // Text.
    if (state_ == State::kAfterResponse) {
      state_ = State::kEnd;
      return input.size();
    }
    if (state_ == State::kThoughtStart) {
      state_ = State::kThinking;
      tokens = kThinkingTokens;
    }
    ++at;
  }
  EmitText(input.substr(begin));
  return input.size();
}

std::size_t OutputParser::ConsumeLabel(std::string_view input) {
  const Match match = MatchToken(input, kLabels);
  if (match.kind == MatchKind::kPartial) return 0;
  state_ = State::kThinking;
  if (match.kind == MatchKind::kNone) return 0;
  return match.token.ends_with('\n') ? match.token.size() : kLabel.size();
}

std::size_t OutputParser::ConsumeCall(std::string_view input) {
  std::size_t at = 0;
  while (true) {
    const std::size_t next = input.find('<', at);
    if (next == std::string_view::npos) {
      call_ += input;
      return input.size();
    }
    const Match match = MatchToken(input.substr(next), kCallTokens);
    if (match.kind == MatchKind::kNone) {
      at = next + 1;
      continue;
    }
    call_ += input.substr(0, next);
    if (match.kind == MatchKind::kPartial) return next;
    if (match.token == kCallEnd) {
      EndCall(false);
    } else if (match.token == kCallBegin) {
      EndCall(false);
      space_.clear();
      state_ = State::kCall;
    } else {
      EndCall(true);
      state_ = State::kEnd;
    }
    return next + match.token.size();
  }
}

void OutputParser::OnToken(std::string_view token) {
  const bool after_call = state_ == State::kAfterCall || state_ == State::kAfterResponse;
  if (token == kToolResponse && after_call) {
    state_ = State::kAfterResponse;
  } else if (token == kTurnEnd || token == kEos || token == kToolResponse) {
    space_.clear();
    state_ = State::kEnd;
  } else if (token == kCallBegin) {
    space_.clear();
    state_ = State::kCall;
  } else if (token == kCallEnd) {
    // Stray.
  } else if (state_ == State::kAfterResponse) {
    state_ = State::kEnd;
  } else if (token == kThoughtBegin) {
    space_.clear();
    skip_space_ = false;
    state_ = State::kLabel;
  } else if (state_ == State::kThinking || state_ == State::kThoughtStart) {  // kThoughtEnd
    space_.clear();
    skip_space_ = true;
    state_ = State::kAnswer;
  }
}

void OutputParser::EmitText(std::string_view text) {
  if (text.empty()) return;
  if (state_ == State::kThoughtStart) state_ = State::kThinking;
  if (state_ == State::kAfterCall) state_ = State::kAnswer;
  skip_space_ = false;
  const OutputEvent::Kind kind =
      state_ == State::kThinking ? OutputEvent::Kind::kThinking : OutputEvent::Kind::kContent;
  if (events_.empty() || events_.back().kind != kind) events_.push_back({kind, {}, {}});
  events_.back().text += space_;
  events_.back().text += text;
  space_.clear();
}

void OutputParser::EndCall(bool cut_off) {
  const std::string body = std::exchange(call_, {});
  std::optional<ToolCall> call = ParseToolCall(body, cut_off);
  state_ = State::kAfterCall;
  skip_space_ = true;
  if (call) {
    events_.push_back({OutputEvent::Kind::kToolCall, {}, std::move(*call)});
  } else if (cut_off ? body.find('{') != std::string::npos : !python::Strip(body).empty()) {
    EmitText(std::string(kCallBegin) + body + std::string(cut_off ? "" : kCallEnd));
  }
}

ParsedOutput ParseOutput(std::string_view text, bool starts_in_thought) {
  OutputParser parser(starts_in_thought);
  ParsedOutput output;
  const auto take = [&output](std::vector<OutputEvent> events) {
    for (OutputEvent& event : events) {
      switch (event.kind) {
        case OutputEvent::Kind::kThinking: output.thinking += event.text; break;
        case OutputEvent::Kind::kContent: output.content += event.text; break;
        case OutputEvent::Kind::kToolCall:
          output.tool_calls.push_back(std::move(event.call));
          break;
      }
    }
  };
  take(parser.Feed(text));
  take(parser.Finish());
  return output;
}

}  // namespace culet
