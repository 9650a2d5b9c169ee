#include "cli/conversation.h"

#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "cli/answer_json.h"

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

}  // namespace

void Conversation::AddUser(const std::string& text) {
  messages_.push_back({{"role", "user"}, {"content", text}});
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
  JsonObject request;
  request.Add("messages", messages);
  if (!tools.empty()) request.AddText("tools", tools);
  request.Add("enable_thinking", think);
  request.Add("add_generation_prompt", true);
  return request.Text();
}

void Conversation::SetKnownTokens(const Prompt& prompt, const GenerateResult& answer) {
  known_ = prompt.tokens;
  known_.insert(known_.end(), answer.tokens.begin(), answer.tokens.end());
}

void Conversation::Save(const std::filesystem::path& path) const {
  OrderedJson file = {{"system", system}, {"think", think}, {"messages", messages_}};
  FileSystem::Real().WriteFileAtomically(
      path, file.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

void Conversation::Load(const std::filesystem::path& path) {
  const OrderedJson file =
      ParseOrderedJson(FileSystem::Real().ReadFile(path, kMostFileBytes), path.string());
  OrderedJson messages = file;
  std::string new_system;
  bool new_think = think;
  if (file.is_object()) {
    if (!file.contains("messages")) RefuseFile(path, "there are no messages in it");
    messages = file["messages"];
    if (file.contains("system")) {
      if (!file["system"].is_string())
        RefuseFile(path, "system is " + JsonTypeName(file["system"]));
      new_system = file["system"].get<std::string>();
    }
    if (file.contains("think")) {
      if (!file["think"].is_boolean()) RefuseFile(path, "think is " + JsonTypeName(file["think"]));
      new_think = file["think"].get<bool>();
    }
  }
  if (!messages.is_array()) RefuseFile(path, "the messages are " + JsonTypeName(messages));
  for (std::size_t index = 0; index < messages.size(); ++index) {
    if (RoleOf(messages[index]).empty()) {
      RefuseFile(path, "message " + std::to_string(index) + " has no role");
    }
  }
  if (!messages.empty() && RoleOf(messages[0]) == "system" && messages[0].contains("content") &&
      messages[0]["content"].is_string()) {
    new_system = messages[0]["content"].get<std::string>();
    messages.erase(messages.begin());
  }
  messages_ = std::move(messages);
  system = std::move(new_system);
  think = new_think;
}

}  // namespace culet::cli
