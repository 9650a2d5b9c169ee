// Whole answers, parsed at once.
#include <utility>

#include "api/boundary.h"
#include "culet/text.h"
#include "text/output_parser.h"

namespace culet {

ParsedAnswer ParseAnswer(std::string_view text, bool starts_in_thought) try {
  ParsedOutput output = ParseOutput(text, starts_in_thought);
  ParsedAnswer answer;
  answer.thinking = std::move(output.thinking);
  answer.content = std::move(output.content);
  for (ToolCall& call : output.tool_calls) {
    answer.tool_calls.push_back({std::move(call.name), std::move(call.arguments_json)});
  }
  return answer;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
