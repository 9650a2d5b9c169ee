// Answers as JSON text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "culet/text.h"

namespace culet::cli {

// One JSON object, member by member. Arguments of tool calls go in as the text that they are, so
// that numbers stay as the model wrote them.
class JsonObject {
 public:
  void Add(std::string_view key, const OrderedJson& value);
  void AddText(std::string_view key, std::string_view json_text);
  std::string Text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

// {"name": …, "arguments": {…}}
std::string CallText(const CalledTool& call);
std::string CallsText(const std::vector<CalledTool>& calls);

// On one line, invalid UTF-8 replaced.
std::string JsonText(const OrderedJson& value);

}  // namespace culet::cli
