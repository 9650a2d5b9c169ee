#include "text/template_writer.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/python_text.h"

namespace culet {
namespace {

void WriteValueAtDepth(const OrderedJson& value, bool quote_keys, int depth, TemplateWriter* out);

void WriteMembersAtDepth(const OrderedJson& object, bool quote_keys, int depth,
                         TemplateWriter* out) {
  bool first = true;
  for (const auto& [key, member] : python::DictSort(object)) {
    if (!first) out->Template(",");
    first = false;
    if (quote_keys) {
      out->Quoted(key);
    } else {
      out->Data(key);
    }
    out->Template(":");
    WriteValueAtDepth(*member, quote_keys, depth, out);
  }
}

void WriteValueAtDepth(const OrderedJson& value, bool quote_keys, int depth, TemplateWriter* out) {
  // Parsed requests are within this; one built in memory might not be.
  if (depth > kMaxJsonDepth) {
    throw Error(ErrorKind::kInvalidArgument, "a value of the request is nested deeper than " +
                                                 std::to_string(kMaxJsonDepth) +
                                                 " levels; make it flatter");
  }
  switch (value.type()) {
    case OrderedJson::value_t::null: out->Template("null"); return;
    case OrderedJson::value_t::boolean: out->Template(value.get<bool>() ? "true" : "false"); return;
    case OrderedJson::value_t::string: out->Quoted(value.get_ref<const std::string&>()); return;
    case OrderedJson::value_t::object:
      out->Template("{");
      WriteMembersAtDepth(value, quote_keys, depth + 1, out);
      out->Template("}");
      return;
    case OrderedJson::value_t::array: {
      out->Template("[");
      bool first = true;
      for (const OrderedJson& item : value) {
        if (!first) out->Template(",");
        first = false;
        WriteValueAtDepth(item, quote_keys, depth + 1, out);
      }
      out->Template("]");
      return;
    }
    default: out->Data(python::Str(value)); return;
  }
}

}  // namespace

void TemplateWriter::Append(std::string_view text, bool control) {
  if (text.empty()) return;
  if (segments_.empty() || segments_.back().control != control) {
    segments_.push_back({std::string(text), control});
  } else {
    segments_.back().text += text;
  }
}

void TemplateWriter::Quoted(std::string_view text) {
  Template(kStringDelimiter);
  Data(text);
  Template(kStringDelimiter);
}

void TemplateWriter::Append(const std::vector<PromptSegment>& segments) {
  for (const PromptSegment& segment : segments) Append(segment.text, segment.control);
}

MaybeValue Get(const OrderedJson& value, std::string_view key) {
  if (!value.is_object()) return nullptr;
  const auto member = value.find(std::string(key));
  return member == value.end() ? nullptr : &*member;
}

bool IsTruthy(MaybeValue value) { return value && python::Truthy(*value); }

std::string Text(MaybeValue value) { return value ? python::Str(*value) : std::string(); }

std::string UpperText(MaybeValue value) { return python::Upper(Text(value)); }

std::string FoundName(MaybeValue value) {
  if (!value) return "missing";
  switch (value->type()) {
    case OrderedJson::value_t::null: return "null";
    case OrderedJson::value_t::object: return "an object";
    case OrderedJson::value_t::array: return "an array";
    case OrderedJson::value_t::string: return "a string";
    case OrderedJson::value_t::boolean: return "a boolean";
    default: return "a number";
  }
}

void FailField(const std::string& path, MaybeValue found, const std::string& expected) {
  throw Error(ErrorKind::kInvalidArgument, path + " is " + FoundName(found) + "; " + expected);
}

std::vector<OrderedJson> Items(const OrderedJson& value, const std::string& path) {
  std::vector<OrderedJson> items;
  if (value.is_array()) {
    items.assign(value.begin(), value.end());
  } else if (value.is_object()) {
    for (auto it = value.begin(); it != value.end(); ++it) items.emplace_back(it.key());
  } else if (value.is_string()) {
    std::string_view rest = value.get_ref<const std::string&>();
    while (!rest.empty()) {
      const std::size_t bytes = NextUtf8(rest).bytes;
      items.emplace_back(std::string(rest.substr(0, bytes)));
      rest.remove_prefix(bytes);
    }
  } else {
    FailField(path, &value, "give an array");
  }
  return items;
}

void WriteValue(const OrderedJson& value, bool quote_keys, TemplateWriter* out) {
  WriteValueAtDepth(value, quote_keys, 0, out);
}

void WriteMembers(const OrderedJson& object, bool quote_keys, TemplateWriter* out) {
  WriteMembersAtDepth(object, quote_keys, 0, out);
}

}  // namespace culet
