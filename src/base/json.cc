#include "base/json.h"

#include <set>
#include <vector>

#include "base/error.h"

namespace culet {
namespace {

// Where `offset` is in `text`, as "line L, column C".
std::string LineAndColumn(std::string_view text, std::size_t offset) {
  std::size_t line = 1;
  std::size_t column = 1;
  for (std::size_t i = 0; i < offset && i < text.size(); ++i) {
    if (text[i] == '\n') {
      ++line;
      column = 1;
    } else {
      ++column;
    }
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

// Tells a check what parse() would tell its callback. That callback is not for files of strangers:
// at the end of each object the library then walks over the whole list or object around it, which
// for a list of n objects is n·n/2 steps.
template <typename JsonType, typename Check>
class Events : public nlohmann::json_sax<JsonType> {
 public:
  using Event = typename JsonType::parse_event_t;
  using Text = typename JsonType::string_t;
  explicit Events(const Check& check) : check_(check) {}

  bool null() override { return Tell(Event::value); }
  bool boolean(bool) override { return Tell(Event::value); }
  bool number_integer(typename JsonType::number_integer_t) override { return Tell(Event::value); }
  bool number_unsigned(typename JsonType::number_unsigned_t) override { return Tell(Event::value); }
  bool number_float(typename JsonType::number_float_t, const Text&) override {
    return Tell(Event::value);
  }
  bool string(Text&) override { return Tell(Event::value); }
  bool binary(typename JsonType::binary_t&) override { return Tell(Event::value); }
  bool key(Text& text) override { return Tell(Event::key, JsonType(text)); }
  bool start_object(std::size_t) override { return Tell(Event::object_start) && ++depth_ > 0; }
  bool start_array(std::size_t) override { return Tell(Event::array_start) && ++depth_ > 0; }
  bool end_object() override { return --depth_ >= 0 && Tell(Event::object_end); }
  bool end_array() override { return --depth_ >= 0 && Tell(Event::array_end); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;  // parse() finds the same and says it
  }

 private:
  bool Tell(Event event, JsonType value = {}) { return check_(depth_, event, value); }

  const Check& check_;
  int depth_ = 0;
};

template <typename JsonType>
JsonType Parse(std::string_view text, const std::string& place) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  std::size_t values = 0;
  const auto check = [&](int depth, typename JsonType::parse_event_t event, JsonType& value) {
    using Event = typename JsonType::parse_event_t;
    // The outermost opens at depth 0.
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= kMaxJsonDepth) {
      throw Error(ErrorKind::kCorrupt,
                  place + ": JSON nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
    }
    if ((opens || event == Event::value) && ++values > kMaxJsonValues) {
      throw Error(ErrorKind::kCorrupt,
                  place + ": JSON with more than " + std::to_string(kMaxJsonValues) + " values");
    }
    if (event == Event::object_start) {
      keys.emplace_back();
    } else if (event == Event::object_end) {
      keys.pop_back();
    } else if (event == Event::key) {
      const std::string& key = value.template get_ref<const std::string&>();
      if (!keys.back().insert(key).second) {
        throw Error(ErrorKind::kCorrupt, place + ": the member " + JsonExcerpt(Json(key)) +
                                             " stands twice in one object; keep one of them");
      }
    }
    return true;
  };
  try {
    Events<JsonType, decltype(check)> events(check);
    JsonType::sax_parse(text.begin(), text.end(), &events);
    return JsonType::parse(text.begin(), text.end());
  } catch (const nlohmann::json::out_of_range& error) {  // a number that no double holds
    throw Error(ErrorKind::kCorrupt, place + ": not valid JSON: " + error.what());
  } catch (const nlohmann::json::parse_error& error) {
    const std::size_t offset = error.byte > 0 ? error.byte - 1 : 0;
    std::string what = error.what();
    // The library's text: "[json.exception…] parse error at line 1, column 2: reason".
    const std::size_t reason = what.find(": ");
    throw Error(ErrorKind::kCorrupt, place + ": not valid JSON at " + LineAndColumn(text, offset) +
                                         (reason == std::string::npos ? "" : what.substr(reason)));
  }
}

// `value` is the library's union; the type says which member counts.
template <typename Value>
void Destroy(Json::value_t type, const Value& value) {
  switch (type) {
    case Json::value_t::object: delete value.object; break;
    case Json::value_t::array: delete value.array; break;
    case Json::value_t::string: delete value.string; break;
    case Json::value_t::binary: delete value.binary; break;
    default: break;
  }
}

}  // namespace

Json ParseJson(std::string_view text, const std::string& place) { return Parse<Json>(text, place); }

OrderedJson ParseOrderedJson(std::string_view text, const std::string& place) {
  return Parse<OrderedJson>(text, place);
}

std::string JsonTypeName(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "an array";
    case Json::value_t::string: return "a string";
    case Json::value_t::boolean: return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned: return "an integer";
    case Json::value_t::number_float: return "a number";
    default: return "unknown";
  }
}

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

void JsonObject::AddMembers(std::string_view object_text) {
  const std::string_view members = object_text.substr(1, object_text.size() - 2);
  if (members.empty()) return;
  if (text_.size() > 1) text_ += ",";
  text_ += members;
}

std::string JsonExcerpt(const Json& value, std::size_t max_bytes) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= max_bytes) return text;
  std::size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

}  // namespace culet

template <>
void culet::Json::json_value::destroy(culet::Json::value_t type) {
  culet::Destroy(type, *this);
}
template <>
void culet::OrderedJson::json_value::destroy(culet::OrderedJson::value_t type) {
  culet::Destroy(type, *this);
}
