// Conversations to prompts: the two published Gemma 4 chat templates, stated natively.
// Source: docs/spec/03-tokenizer-and-chat.md, section 4; the texts are in templates/. Equal to
// jinja2 on both, also for odd content (tests/text/template_compare.py), with these exceptions:
//   - members that stand twice in a JSON object, numbers beyond what a double can hold (1e999,
//     integers of more than 308 digits), lone surrogates and nesting beyond 256 are refused when
//     the request is parsed;
//   - letters that are newer than Unicode 14 have no upper and lower case (python_text.h).
//
// Errors: Error(kInvalidArgument) names the message's index and field, with a way out, wherever
// jinja2 raises. Threads: const members may be called from any number of threads.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/prompt_segment.h"

namespace culet {

// The published templates differ only in the generation prompt: with thinking off, the large models
// get an empty thought written for them.
enum class TemplateVariant {
  kSmall,  // E2B, E4B
  kLarge,  // 12B, 26B-A4B, 31B
};

// Messages and tools as JSON in the form of OpenAI and Hugging Face.
struct ChatRequest {
  OrderedJson messages;  // an array
  OrderedJson tools;     // an array or null
  bool enable_thinking = false;
  bool preserve_thinking = false;  // keep the thoughts of finished turns that called tools
  bool add_generation_prompt = false;
  std::string bos = "<bos>";
};

// Reads {"messages": …, "tools": …, "enable_thinking": …, "preserve_thinking": …,
// "add_generation_prompt": …}; all but messages may be left out, and null counts as left out.
// `place` names the text in messages. Throws Error: kCorrupt where it is not JSON, kInvalidArgument
// for an unknown member or a wrong type. Integers that 64 bits cannot hold are kept
// (python_text.h).
ChatRequest ParseChatRequest(std::string_view json_text, const std::string& place);

class ChatTemplate {
 public:
  // Recognises the published templates by their bytes (a newline at the very end is ignored, as
  // jinja2 does). Anything else: known() is false, the variant is `fallback`, and warning() says
  // how the text differs and what is used.
  static ChatTemplate FromText(std::string_view template_text, TemplateVariant fallback);
  static ChatTemplate Published(TemplateVariant variant);

  TemplateVariant variant() const { return variant_; }
  bool known() const { return warning_.empty(); }
  // One line; empty for a known template.
  const std::string& warning() const { return warning_; }

  // The prompt in pieces: control is true for the template's own text, false for everything that
  // came from the request. Neighbours differ in control; none is empty. An image, audio or video
  // part gives one `<|image|>`, `<|audio|>`, `<|video|>`.
  std::vector<PromptSegment> Render(const ChatRequest& request) const;

 private:
  explicit ChatTemplate(TemplateVariant variant) : variant_(variant) {}

  TemplateVariant variant_;
  std::string warning_;
};

// The control tokens that a published template may write, media placeholders apart.
std::span<const std::string_view> TemplateTokens();

std::string JoinSegments(std::span<const PromptSegment> segments);

// Whether the prompt ends inside a thought that the template opened: generation starts there, and
// OutputParser must know.
bool EndsInsideThought(std::span<const PromptSegment> segments);

}  // namespace culet
