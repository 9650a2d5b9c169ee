// Renders requests line by line, for template_compare.py.
//
// Standard input: `small REQUEST` or `large REQUEST` a line, REQUEST as ParseChatRequest reads it.
// Standard output, a line each: the prompt as a JSON string, or {"error": message}.
#include <cstdio>
#include <iostream>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "text/chat_template.h"

namespace culet {
namespace {

Json RenderLine(const std::string& line) {
  const std::size_t space = line.find(' ');
  const std::string variant = line.substr(0, space);
  try {
    const ChatRequest request = ParseChatRequest(line.substr(space + 1), "request");
    const ChatTemplate chat_template = ChatTemplate::Published(
        variant == "small" ? TemplateVariant::kSmall : TemplateVariant::kLarge);
    return JoinSegments(chat_template.Render(request));
  } catch (const Error& error) {
    return Json{{"error", error.what()}};
  }
}

}  // namespace
}  // namespace culet

int main() {
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) std::cout << culet::RenderLine(line).dump() << '\n';
  return 0;
}
