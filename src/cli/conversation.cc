#include "cli/conversation.h"

#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/model_options.h"

namespace culet::cli {
namespace {

constexpr std::uint64_t kMostFileBytes = 256u << 20;

std::string CallId(std::size_t message, std::size_t call) {
  return "call_" + std::to_string(message) + "_" + std::to_string(call);
}

std::string RoleOf(const OrderedJson& message) {
  return message.is_object() && message.contains("role") && message["role"].is_string()
             ? message["role"].get<std::string>()
             : "";
}

[[noreturn]] void RefuseFile(const std::filesystem::path& path, const std::string& finding) {
  throw Error(
      ErrorKind::kInvalidArgument,
      path.string() + ": " + finding +
          "; {\"system\": …, \"think\": …, \"messages\": […]} as /save writes it is expected, or a "
          "JSON array of messages with role and content");
}

// The template writes any role as it stands, so a misspelt one would be a turn that the model never
// saw in training.
void CheckRoles(const OrderedJson& messages, const std::filesystem::path& path) {
  for (std::size_t index = 0; index < messages.size(); ++index) {
    const std::string role = RoleOf(messages[index]);
    const std::string place = "messages[" + std::to_string(index) + "]";
    if (role.empty()) RefuseFile(path, place + " has no role");
    const bool known = role == "system" || role == "developer" || role == "user" ||
                       role == "assistant" || role == "model" || role == "tool";
    if (known) continue;
    RefuseFile(path, place + ".role is " + JsonExcerpt(Json(role)) +
                         ", which is none of \"system\", \"user\", \"assistant\" and \"tool\"");
  }
}

std::string RequestOf(const OrderedJson& messages, const std::string& tools, bool think) {
  JsonObject request;
  request.Add("messages", messages);
  if (!tools.empty()) request.AddText("tools", tools);
  request.Add("enable_thinking", think);
  request.Add("add_generation_prompt", true);
  return request.Text();
}

}  // namespace

void Conversation::AddUser(const std::string& text, std::vector<Media> media) {
  OrderedJson message = {{"role", "user"}};
  message["content"] = ParseOrderedJson(MessageContent(text, &media), "the message");
  auto medium = media.begin();
  for (OrderedJson& part : message["content"]) {
    if (part.is_object() && part["type"] != "text") {
      part["path"] = std::filesystem::absolute((medium++)->name()).lexically_normal().string();
    }
  }
  messages_.push_back(message);
}

void Conversation::AddAnswer(const GenerateResult& answer) {
  OrderedJson message = {{"role", "assistant"}, {"content", answer.text}};
  if (!answer.thinking.empty()) message["reasoning_content"] = answer.thinking;
  OrderedJson calls = OrderedJson::array();
  for (const CalledTool& call : answer.tool_calls) {
    calls.push_back(
        {{"id", CallId(messages_.size(), calls.size())},
         {"type", "function"},
         {"function",
          {{"name", call.name},
           {"arguments", ParseOrderedJson(call.arguments_json, "the call's arguments")}}}});
  }
  if (!calls.empty()) message["tool_calls"] = calls;
  messages_.push_back(message);
}

void Conversation::AddToolResponse(std::size_t call, const std::string& name,
                                   const std::string& response) {
  // The answer with the calls stands before the responses that there are already.
  messages_.push_back({{"role", "tool"},
                       {"tool_call_id", CallId(messages_.size() - 1 - call, call)},
                       {"name", name},
                       {"content", response}});
}

bool Conversation::Undo() {
  for (std::size_t index = messages_.size(); index > 0; --index) {
    if (RoleOf(messages_[index - 1]) != "user") continue;
    messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(index - 1), messages_.end());
    return true;
  }
  return false;
}

void Conversation::Clear() { messages_.clear(); }

std::size_t Conversation::turns() const {
  std::size_t count = 0;
  for (const OrderedJson& message : messages_) count += RoleOf(message) == "user" ? 1 : 0;
  return count;
}

std::string Conversation::RequestText() const {
  OrderedJson messages = OrderedJson::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  for (const OrderedJson& message : messages_) messages.push_back(message);
  return RequestOf(messages, tools, think);
}

void Conversation::SetKnownTokens(const Prompt& prompt, const GenerateResult& answer) {
  known_ = prompt.tokens;
  known_.insert(known_.end(), answer.tokens.begin(), answer.tokens.end());
}

void Conversation::Save(const std::filesystem::path& path) const {
  // Member by member: a list in braces loses memory where an allocation fails.
  OrderedJson file = OrderedJson::object();
  file["system"] = system;
  file["think"] = think;
  if (!tools.empty()) file["tools"] = ParseOrderedJson(tools, "the tools");
  file["messages"] = messages_;
  FileSystem::Real().WriteFileAtomically(
      path, file.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

void Conversation::Load(const std::filesystem::path& path, const TextProcessor& text) {
  const OrderedJson file =
      ParseOrderedJson(FileSystem::Real().ReadFile(path, kMostFileBytes), path.string());
  Conversation loaded;
  loaded.think = think;
  loaded.tools = tools;
  loaded.known_ = known_;
  loaded.messages_ = file;
  if (file.is_object()) {
    if (!file.contains("messages")) RefuseFile(path, "there are no messages in it");
    loaded.messages_ = file["messages"];
    if (file.contains("system")) {
      if (!file["system"].is_string())
        RefuseFile(path, "system is " + JsonTypeName(file["system"]));
      loaded.system = file["system"].get<std::string>();
    }
    if (file.contains("think")) {
      if (!file["think"].is_boolean()) RefuseFile(path, "think is " + JsonTypeName(file["think"]));
      loaded.think = file["think"].get<bool>();
    }
    if (file.contains("tools")) loaded.tools = ToolsText(file["tools"], path.string());
  }
  OrderedJson& messages = loaded.messages_;
  if (!messages.is_array()) RefuseFile(path, "the messages are " + JsonTypeName(messages));
  CheckRoles(messages, path);
  try {
    // The tokens, too, are what a turn would make of it: media parts are refused there.
    text.RenderTokens(RequestOf(messages, loaded.tools, loaded.think), path.string());
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(path.string())) throw;
    throw Error(error.kind(), path.string() + ": " + error.what());
  }
  if (!messages.empty() && RoleOf(messages[0]) == "system" && messages[0].contains("content") &&
      messages[0]["content"].is_string()) {
    loaded.system = messages[0]["content"].get<std::string>();
    messages.erase(messages.begin());
  }
  *this = std::move(loaded);
}

}  // namespace culet::cli
