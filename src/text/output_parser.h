// What a model wrote, split into thinking, answer and tool calls.
// Source: docs/spec/03-tokenizer-and-chat.md, section 6.
//
// One state machine over bytes, control tokens as text. However the stream is split, the events are
// the same once neighbours of one kind are joined, and text is given out as soon as it is certain:
// only white space that may turn out to stand at an end, and what may begin a control token, wait.
//
//   answer     the start. `<|channel>` begins a thought, `<|tool_call>` a call. White space before
//              these and at the end is nobody's; so is white space after `<channel|>` and after a
//              call. A stray `<channel|>` or `<tool_call|>` is dropped.
//   thinking   up to `<channel|>`; the label "thought" and its newline are dropped, any other label
//              is text. White space at the end is dropped.
//   call       up to `<tool_call|>` (or the next `<|tool_call>`); see tool_call_parser.h. One that
//              cannot be read is given as answer text with its delimiters, so that nothing
//              vanishes.
//   end        `<turn|>`, `<eos>` and `<|tool_response>` end the output, and everything after them
//   is
//              ignored; only calls that follow a `<|tool_response>` after a call are still read. A
//              call cut off by an end is read as far as it goes, once its `{` was there.
//
// White space is Python's (all of Unicode). Nothing throws. Memory is linear in what is held back.
// Threads: one caller.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace culet {

struct ToolCall {
  std::string name;
  std::string arguments_json;  // one JSON object, members in the order written
};

struct OutputEvent {
  enum class Kind { kThinking, kContent, kToolCall };
  Kind kind;
  std::string text;  // kThinking, kContent: the next piece
  ToolCall call;     // kToolCall
};

class OutputParser {
 public:
  // `starts_in_thought`: the prompt ended inside one (EndsInsideThought).
  explicit OutputParser(bool starts_in_thought);

  std::vector<OutputEvent> Feed(std::string_view bytes);
  // The output ends here: what was held back. Feed has no effect afterwards.
  std::vector<OutputEvent> Finish();

 private:
  enum class State {
    kAnswer,
    kThoughtStart,  // an opening that the prompt already made may be repeated
    kLabel,
    kThinking,
    kCall,
    kAfterCall,
    kAfterResponse,  // a `<|tool_response>` came after a call
    kEnd,
  };

  // Consumes what is certain of `input`; returns how many bytes.
  std::size_t Consume(std::string_view input);
  std::size_t ConsumeText(std::string_view input);
  std::size_t ConsumeLabel(std::string_view input);
  std::size_t ConsumeCall(std::string_view input);
  void OnToken(std::string_view token);
  // `text` as a piece of the thought or the answer, with the white space that waited before it.
  void EmitText(std::string_view text);
  void EndCall(bool cut_off);

  State state_;
  bool skip_space_ = false;  // nothing but white space since an end of a thought or a call
  std::string tail_;         // not consumed yet: at most a control token or a character, incomplete
  std::string space_;        // white space that is text only if text follows
  std::string call_;         // of the call that is open
  std::vector<OutputEvent> events_;
};

struct ParsedOutput {
  std::string thinking;
  std::string content;
  std::vector<ToolCall> tool_calls;
};

// The whole at once.
ParsedOutput ParseOutput(std::string_view text, bool starts_in_thought);

}  // namespace culet
