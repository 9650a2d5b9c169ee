#include "cli/answer_json.h"

namespace culet::cli {

std::string JsonText(const OrderedJson& value) {
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

void JsonObject::Add(std::string_view key, const OrderedJson& value) {
  AddText(key, JsonText(value));
}

void JsonObject::AddText(std::string_view key, std::string_view json_text) {
  if (text_.size() > 1) text_ += ",";
  text_ += JsonText(OrderedJson(std::string(key)));
  text_ += ":";
  text_ += json_text;
}

std::string CallText(const CalledTool& call) {
  JsonObject object;
  object.Add("name", call.name);
  object.AddText("arguments", call.arguments_json);
  return object.Text();
}

std::string CallsText(const std::vector<CalledTool>& calls) {
  std::string text = "[";
  for (const CalledTool& call : calls) {
    if (text.size() > 1) text += ",";
    text += CallText(call);
  }
  return text + "]";
}

}  // namespace culet::cli
