#include "text/chat_template.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "text/published_templates.h"
#include "text/python_text.h"
#include "text/template_writer.h"
#include "text/tool_declaration.h"

namespace culet {
namespace {

constexpr std::string_view kThoughtStart = "<|channel>thought\n";
constexpr std::string_view kThoughtEnd = "<channel|>";

bool IsText(MaybeValue value, std::string_view text) {
  return value && value->is_string() && value->get_ref<const std::string&>() == text;
}

// The media placeholder of a content part; empty for other parts.
std::string_view MediaToken(MaybeValue type) {
  if (IsText(type, "image") || IsText(type, "image_url")) return "<|image|>";
  if (IsText(type, "audio") || IsText(type, "input_audio")) return "<|audio|>";
  if (IsText(type, "video")) return "<|video|>";
  return {};
}

// Section 4.8: what stands outside of thoughts, without white space at the ends.
std::string StripThinking(std::string_view text) {
  std::string kept;
  while (true) {
    const std::size_t end = text.find(kThoughtEnd);
    const std::string_view part = text.substr(0, end);
    kept += part.substr(0, part.find("<|channel>"));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + kThoughtEnd.size());
  }
  return std::string(python::Strip(kept));
}

// A message with the parts of it that several rules need.
struct Message {
  const OrderedJson* value;
  std::string path;  // "messages[3]"
  std::string role;
  bool has_calls = false;
};

class Renderer {
 public:
  Renderer(TemplateVariant variant, const ChatRequest& request)
      : variant_(variant), request_(request) {}

  std::vector<PromptSegment> Render() {
    ReadMessages();
    out_.Template(request_.bos);
    WriteSystemTurn();
    for (std::size_t i = first_; i < messages_.size(); ++i) {
      if (messages_[i].role == "user") last_user_ = static_cast<std::ptrdiff_t>(i);
    }
    for (std::size_t i = first_; i < messages_.size(); ++i) {
      if (messages_[i].role != "tool") WriteMessage(i);
    }
    if (request_.add_generation_prompt) WriteGenerationPrompt();
    return out_.Take();
  }

 private:
  // How the last turn stands.
  enum class Turn { kPlain, kCalled, kAnswered };

  void ReadMessages() {
    if (!request_.messages.is_array()) {
      FailField("messages", &request_.messages, "give an array of messages");
    }
    for (const OrderedJson& value : request_.messages) {
      Message message{&value, "messages[" + std::to_string(messages_.size()) + "]", "", false};
      if (!value.is_object()) {
        FailField(message.path, &value, "a message is an object with role and content");
      }
      const MaybeValue role = Get(value, "role");
      if (!role || !role->is_string()) {
        FailField(message.path + ".role", role,
                  "give \"system\", \"user\", \"assistant\" or \"tool\"");
      }
      message.role = role->get<std::string>();
      message.has_calls = IsTruthy(Get(value, "tool_calls"));
      messages_.push_back(std::move(message));
    }
  }

  void WriteSystemTurn() {
    const bool has_system =
        !messages_.empty() && (messages_[0].role == "system" || messages_[0].role == "developer");
    const bool has_tools = IsTruthy(&request_.tools);
    if (!request_.enable_thinking && !has_tools && !has_system) return;
    out_.Template("<|turn>system\n");
    if (request_.enable_thinking) out_.Template("<|think|>\n");
    if (has_system) {
      WriteSystemContent(Get(*messages_[0].value, "content"));
      first_ = 1;
    }
    if (has_tools) {
      if (!request_.tools.is_array()) {
        FailField("tools", &request_.tools, "give an array of tools, or leave it out");
      }
      std::size_t index = 0;
      for (const OrderedJson& tool : request_.tools) {
        out_.Template("<|tool>");
        WriteToolDeclaration(tool, "tools[" + std::to_string(index++) + "]", &out_);
        out_.Template("<tool|>");
      }
    }
    out_.Template("<turn|>\n");
  }

  void WriteSystemContent(MaybeValue content) {
    if (!content) return;
    if (content->is_string()) {
      out_.Data(python::Strip(content->get_ref<const std::string&>()));
    } else if (content->is_structured()) {
      // The keys of an object have no text, like every item that is no object.
      for (const OrderedJson& item : *content) {
        if (content->is_array()) out_.Data(python::Strip(Text(Get(item, "text"))));
        out_.Template(" ");
      }
    }
  }

  void WriteMessage(std::size_t index) {
    const Message& message = messages_[index];
    const bool is_model = message.role == "assistant" || message.role == "model";
    if (!is_model || previous_role_ != "assistant") {
      out_.Template("<|turn>");
      if (message.role == "assistant") {
        out_.Template("model");
      } else {
        out_.Data(message.role);
      }
      out_.Template("\n");
    }
    WriteThought(index);
    if (message.has_calls) WriteCalls(message);
    const bool answered = WriteResponses(index);
    turn_ = answered ? Turn::kAnswered : message.has_calls ? Turn::kCalled : Turn::kPlain;

    TemplateWriter content;
    WriteContent(message, is_model, &content);
    const std::string joined = JoinSegments(content.segments());
    const bool has_content = !python::Strip(joined).empty();
    out_.Append(content.segments());

    const Message* next = NextSpeaker(index);
    const bool continues =
        is_model && next && next->role == "assistant" && (!message.has_calls || answered);
    if (turn_ == Turn::kCalled) {
      out_.Template("<|tool_response>");
    } else if (!continues && !(answered && !has_content && !next)) {
      out_.Template("<turn|>\n");
    }
    previous_role_ = message.role;
  }

  void WriteThought(std::size_t index) {
    const Message& message = messages_[index];
    std::string name = "reasoning";
    MaybeValue thought = Get(*message.value, name);
    if (!IsTruthy(thought)) {
      name = "reasoning_content";
      thought = Get(*message.value, name);
    }
    const bool shown = static_cast<std::ptrdiff_t>(index) > last_user_ ||
                       (request_.preserve_thinking && message.has_calls);
    if (!IsTruthy(thought) || !shown) return;
    if (!thought->is_string()) FailField(message.path + "." + name, thought, "give a string");
    out_.Template(kThoughtStart);
    out_.Data(thought->get_ref<const std::string&>());
    out_.Template("\n<channel|>");
  }

  void WriteCalls(const Message& message) {
    const OrderedJson& calls = *Get(*message.value, "tool_calls");
    const std::string expected =
        "give {\"type\": \"function\", \"function\": {\"name\": …, \"arguments\": {…}}}";
    if (!calls.is_array())
      FailField(message.path + ".tool_calls", &calls, "give an array of calls");
    std::size_t index = 0;
    for (const OrderedJson& call : calls) {
      const std::string path = message.path + ".tool_calls[" + std::to_string(index++) + "]";
      if (!call.is_object()) FailField(path, &call, expected);
      const MaybeValue function = Get(call, "function");
      if (!function || !function->is_object()) FailField(path + ".function", function, expected);
      const MaybeValue name = Get(*function, "name");
      if (!name || !name->is_string()) FailField(path + ".function.name", name, "give a string");
      const MaybeValue arguments = Get(*function, "arguments");
      if (!arguments || !(arguments->is_object() || arguments->is_null())) {
        FailField(path + ".function.arguments", arguments,
                  "give a JSON object (or null); text that holds JSON must be parsed first");
      }
      out_.Template("<|tool_call>call:");
      out_.Data(name->get_ref<const std::string&>());
      out_.Template("{");
      if (arguments->is_object()) WriteMembers(*arguments, false, &out_);
      out_.Template("}<tool_call|>");
    }
  }

  // True if at least one response was written.
  bool WriteResponses(std::size_t index) {
    const Message& message = messages_[index];
    if (const MaybeValue own = Get(*message.value, "tool_responses"); IsTruthy(own)) {
      return WriteOwnResponses(*own, message.path + ".tool_responses");
    }
    if (!message.has_calls) return false;
    bool answered = false;
    for (std::size_t k = index + 1; k < messages_.size() && messages_[k].role == "tool"; ++k) {
      WriteToolMessage(message, messages_[k]);
      answered = true;
    }
    return answered;
  }

  // Gemma's own form: responses inside the assistant's message.
  bool WriteOwnResponses(const OrderedJson& responses, const std::string& path) {
    std::size_t index = 0;
    for (const OrderedJson& response : Items(responses, path)) {
      const std::string item_path = path + "[" + std::to_string(index++) + "]";
      const MaybeValue name = Get(response, "name");
      if (IsTruthy(name) && !name->is_string()) {
        FailField(item_path + ".name", name, "give a string");
      }
      // jinja2 takes what is missing for an empty list.
      static const OrderedJson kEmptyList = OrderedJson::array();
      const MaybeValue body = Get(response, "response");
      WriteResponse(IsTruthy(name) ? Text(name) : "unknown", body ? *body : kEmptyList);
    }
    return true;
  }

  void WriteToolMessage(const Message& caller, const Message& answer) {
    const MaybeValue body = Get(*answer.value, "content");
    const std::string name = ResponderName(caller, answer);
    if (!body || !body->is_structured()) {
      static const OrderedJson kNull;
      WriteResponse(name, body ? *body : kNull);
      return;
    }
    const std::string path = answer.path + ".content";
    if (body->is_object() && !body->empty()) {
      FailField(path, body, "give a string or an array of parts (JSON as text)");
    }
    std::string text;
    TemplateWriter media;
    for (std::size_t i = 0; i < body->size() && body->is_array(); ++i) {
      const OrderedJson& part = (*body)[i];
      const std::string part_path = path + "[" + std::to_string(i) + "]";
      if (!part.is_object()) FailField(part_path, &part, "a part is an object with a type");
      const MaybeValue type = Get(part, "type");
      media.Template(MediaToken(type));
      if (!IsText(type, "text")) continue;
      const MaybeValue part_text = Get(part, "text");
      if (!part_text || !part_text->is_string()) {
        FailField(part_path + ".text", part_text, "give a string");
      }
      text += part_text->get_ref<const std::string&>();
    }
    WriteResponse(name, OrderedJson(text));
    out_.Append(media.segments());
  }

  // The function whose call the message answers.
  std::string ResponderName(const Message& caller, const Message& answer) {
    static const OrderedJson kNull;
    const auto or_null = [](MaybeValue value) -> const OrderedJson& {
      return value ? *value : kNull;
    };
    const OrderedJson& wanted = or_null(Get(*answer.value, "tool_call_id"));
    const OrderedJson& calls = *Get(*caller.value, "tool_calls");
    for (auto call = calls.rbegin(); call != calls.rend(); ++call) {
      if (python::Equal(or_null(Get(*call, "id")), wanted)) {
        return Text(Get(*Get(*call, "function"), "name"));
      }
    }
    const MaybeValue name = Get(*answer.value, "name");
    if (!IsTruthy(name)) return "unknown";
    if (!name->is_string()) FailField(answer.path + ".name", name, "give a string");
    return name->get<std::string>();
  }

  void WriteResponse(const std::string& name, const OrderedJson& body) {
    out_.Template("<|tool_response>response:");
    out_.Data(name);
    out_.Template("{");
    if (body.is_object()) {
      WriteMembers(body, false, &out_);
    } else {
      out_.Template("value:");
      WriteValue(body, false, &out_);
    }
    out_.Template("}<tool_response|>");
  }

  void WriteContent(const Message& message, bool is_model, TemplateWriter* out) {
    const MaybeValue content = Get(*message.value, "content");
    const std::string path = message.path + ".content";
    if (!content) return;
    if (content->is_string()) {
      WriteContentText(content, is_model, path, out);
      return;
    }
    if (content->is_object() && !content->empty()) {
      FailField(path, content, "give a string or an array of parts");
    }
    for (std::size_t i = 0; content->is_array() && i < content->size(); ++i) {
      const OrderedJson& part = (*content)[i];
      const std::string part_path = path + "[" + std::to_string(i) + "]";
      if (!part.is_object()) FailField(part_path, &part, "a part is an object with a type");
      const MaybeValue type = Get(part, "type");
      if (IsText(type, "text")) {
        WriteContentText(Get(part, "text"), is_model, part_path + ".text", out);
      } else {
        out->Template(MediaToken(type));
      }
    }
  }

  void WriteContentText(MaybeValue text, bool is_model, const std::string& path,
                        TemplateWriter* out) {
    if (!is_model) {
      out->Data(python::Strip(Text(text)));
      return;
    }
    if (!text || !text->is_string()) FailField(path, text, "give a string");
    out->Data(StripThinking(text->get_ref<const std::string&>()));
  }

  // The next message that is no tool's; null if none.
  const Message* NextSpeaker(std::size_t index) const {
    for (std::size_t k = index + 1; k < messages_.size(); ++k) {
      if (messages_[k].role != "tool") return &messages_[k];
    }
    return nullptr;
  }

  void WriteGenerationPrompt() {
    if (turn_ == Turn::kPlain) {
      out_.Template("<|turn>model\n");
      if (variant_ == TemplateVariant::kLarge && !request_.enable_thinking) {
        out_.Template("<|channel>thought\n<channel|>");
      }
    } else if (turn_ == Turn::kAnswered && request_.enable_thinking) {
      out_.Template(kThoughtStart);
    }
  }

  TemplateVariant variant_;
  const ChatRequest& request_;
  std::vector<Message> messages_;
  std::size_t first_ = 0;  // the first message after the system turn
  std::ptrdiff_t last_user_ = -1;
  std::string previous_role_;  // of the last message written
  Turn turn_ = Turn::kPlain;
  TemplateWriter out_;
};

std::string_view WithoutLastNewline(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

std::string LineExcerpt(const std::vector<std::string_view>& lines, std::size_t index) {
  if (index >= lines.size()) return "the end of the text";
  return JsonExcerpt(Json(std::string(lines[index])));
}

std::string_view VariantName(TemplateVariant variant) {
  return variant == TemplateVariant::kSmall ? "the one of E2B and E4B"
                                            : "the one of 12B, 26B-A4B and 31B";
}

std::string DifferenceWarning(std::string_view text, TemplateVariant used) {
  const std::vector<std::string_view> lines = Lines(WithoutLastNewline(text));
  TemplateVariant closest = used;
  std::vector<std::string_view> closest_lines;
  std::size_t most_common = 0;
  const TemplateVariant other =
      used == TemplateVariant::kSmall ? TemplateVariant::kLarge : TemplateVariant::kSmall;
  for (const TemplateVariant variant : {used, other}) {
    std::vector<std::string_view> published =
        Lines(WithoutLastNewline(PublishedTemplateText(variant)));
    std::unordered_map<std::string_view, std::size_t> counts;
    for (const std::string_view line : lines) ++counts[line];
    std::size_t common = 0;
    for (const std::string_view line : published) {
      if (const auto it = counts.find(line); it != counts.end() && it->second > 0) {
        --it->second;
        ++common;
      }
    }
    if (closest_lines.empty() || common > most_common) {
      closest = variant;
      closest_lines = std::move(published);
      most_common = common;
    }
  }
  std::size_t line = 0;
  while (line < lines.size() && line < closest_lines.size() && lines[line] == closest_lines[line]) {
    ++line;
  }
  std::string warning =
      "the chat template is neither of the two that Google published for Gemma 4 (2026-07-09). It "
      "differs from " +
      std::string(VariantName(closest)) + " first at line " + std::to_string(line + 1) + ": " +
      LineExcerpt(lines, line) + ", published " + LineExcerpt(closest_lines, line) + "; " +
      std::to_string(most_common) + " of the published " + std::to_string(closest_lines.size()) +
      " lines are in it. culet runs no foreign template and uses " +
      std::string(VariantName(used)) + ".";
  return warning;
}

}  // namespace

ChatTemplate ChatTemplate::Published(TemplateVariant variant) { return ChatTemplate(variant); }

ChatTemplate ChatTemplate::FromText(std::string_view template_text, TemplateVariant fallback) {
  for (const TemplateVariant variant : {TemplateVariant::kSmall, TemplateVariant::kLarge}) {
    if (WithoutLastNewline(template_text) == WithoutLastNewline(PublishedTemplateText(variant))) {
      return ChatTemplate(variant);
    }
  }
  ChatTemplate result(fallback);
  result.warning_ = DifferenceWarning(template_text, fallback);
  return result;
}

std::vector<PromptSegment> ChatTemplate::Render(const ChatRequest& request) const {
  return Renderer(variant_, request).Render();
}

std::span<const std::string_view> TemplateTokens() {
  static constexpr std::string_view kTokens[] = {
      "<bos>",       "<|turn>", "<turn|>", "<|think|>",        "<|channel>",       "<channel|>",
      "<|tool>",     "<tool|>", "<|\"|>",  "<|tool_response>", "<tool_response|>", "<|tool_call>",
      "<tool_call|>"};
  return kTokens;
}

std::string JoinSegments(std::span<const PromptSegment> segments) {
  std::string text;
  for (const PromptSegment& segment : segments) text += segment.text;
  return text;
}

bool EndsInsideThought(std::span<const PromptSegment> segments) {
  return !segments.empty() && segments.back().control &&
         segments.back().text.ends_with(kThoughtStart);
}

}  // namespace culet
