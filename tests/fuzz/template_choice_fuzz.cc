// Which chat template a folder has: chat_template.jinja or what tokenizer_config.json holds. The
// first byte says which of the two the rest is.
#include "api/text_processor_impl.h"
#include "base/error.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_files.h"
#include "text/chat_template.h"

namespace culet::fuzz {

void FuzzOne(std::string_view input) {
  const unsigned choice = TakeByte(&input);
  MemoryFiles files;
  files.Add((choice & 1) != 0 ? "m/chat_template.jinja" : "m/tokenizer_config.json", input);
  try {
    const std::optional<std::string> text = ReadChatTemplate(files, "m");
    if (!text) return;
    const TemplateVariant fallback =
        (choice & 2) != 0 ? TemplateVariant::kLarge : TemplateVariant::kSmall;
    const ChatTemplate chosen = ChatTemplate::FromText(*text, fallback);
    Require(chosen.known() || chosen.variant() == fallback, "an unknown text takes the fallback");
    Require(chosen.warning().find('\n') == std::string::npos, "a warning is one line");
    ChatRequest request;
    request.messages = OrderedJson::array({{{"role", "user"}, {"content", "hi"}}});
    request.add_generation_prompt = true;
    Require(JoinSegments(chosen.Render(request)) ==
                JoinSegments(ChatTemplate::Published(chosen.variant()).Render(request)),
            "it renders as the published one");
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
