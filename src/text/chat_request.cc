// Requests from JSON text. The parse is done twice: base/json.h checks everything, and only where
// the text holds integers that 64 bits cannot, a second pass puts them back digit by digit.
#include <array>
#include <cstddef>
#include <vector>

#include "base/error.h"
#include "text/chat_template.h"
#include "text/python_text.h"
#include "text/template_writer.h"

namespace culet {
namespace {

// Collects the text of every number that the library reads as a double, in the order of the file.
class FloatTexts : public nlohmann::json_sax<OrderedJson> {
 public:
  bool number_float(number_float_t, const string_t& text) override {
    texts.push_back(text);
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  std::vector<std::string> texts;
};

void RestoreBigIntegers(OrderedJson* value, const std::vector<std::string>& texts,
                        std::size_t* next) {
  if (value->is_structured()) {
    for (OrderedJson& item : *value) RestoreBigIntegers(&item, texts, next);
  } else if (value->is_number_float()) {
    const std::string& text = texts.at((*next)++);
    if (text.find_first_of(".eE") == std::string::npos) *value = python::BigInteger(text);
  }
}

bool ReadSwitch(const OrderedJson& root, const std::string& name, bool fallback,
                const std::string& place) {
  const MaybeValue value = Get(root, name);
  if (!value || value->is_null()) return fallback;
  if (!value->is_boolean()) FailField(place + ": " + name, value, "give true or false");
  return value->get<bool>();
}

}  // namespace

ChatRequest ParseChatRequest(std::string_view json_text, const std::string& place) {
  OrderedJson root = ParseOrderedJson(json_text, place);
  // 19 digits fit in 64 bits.
  std::size_t digits = 0;
  bool has_long_number = false;
  for (const char c : json_text) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    has_long_number |= digits > 18;
  }
  if (has_long_number) {
    FloatTexts floats;
    OrderedJson::sax_parse(json_text.begin(), json_text.end(), &floats);
    std::size_t next = 0;
    RestoreBigIntegers(&root, floats.texts, &next);
  }

  if (!root.is_object()) {
    FailField(place, &root, "a request is an object with the member \"messages\"");
  }
  constexpr std::array<std::string_view, 5> kMembers = {
      "messages", "tools", "enable_thinking", "preserve_thinking", "add_generation_prompt"};
  for (const auto& [key, value] : root.items()) {
    bool known = false;
    for (const std::string_view member : kMembers) known |= key == member;
    if (!known) {
      throw Error(ErrorKind::kInvalidArgument,
                  place + ": the member " + JsonExcerpt(Json(key)) +
                      " is not known; a request has \"messages\", \"tools\", \"enable_thinking\", "
                      "\"preserve_thinking\" and \"add_generation_prompt\"");
    }
  }
  ChatRequest request;
  const MaybeValue messages = Get(root, "messages");
  if (!messages || !messages->is_array()) {
    FailField(place + ": messages", messages,
              "give an array such as [{\"role\": \"user\", \"content\": \"Hello\"}]");
  }
  const MaybeValue tools = Get(root, "tools");
  if (tools && !tools->is_null() && !tools->is_array()) {
    FailField(place + ": tools", tools, "give an array of tools, or leave it out");
  }
  request.enable_thinking = ReadSwitch(root, "enable_thinking", false, place);
  request.preserve_thinking = ReadSwitch(root, "preserve_thinking", false, place);
  request.add_generation_prompt = ReadSwitch(root, "add_generation_prompt", false, place);
  request.messages = std::move(root["messages"]);
  if (root.contains("tools")) request.tools = std::move(root["tools"]);
  return request;
}

}  // namespace culet
