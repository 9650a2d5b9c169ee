#include "text/tool_declaration.h"

#include <array>

#include "base/error.h"
#include "text/python_text.h"

namespace culet {
namespace {

// Members of a property of type object that are no properties of its own.
bool IsStandardKey(std::string_view key) {
  constexpr std::array<std::string_view, 5> kStandardKeys = {"description", "type", "properties",
                                                             "required", "nullable"};
  for (const std::string_view known : kStandardKeys) {
    if (key == known) return true;
  }
  return false;
}

// [<|"|>a<|"|>,<|"|>b<|"|>]
void WriteNames(const OrderedJson& names, const std::string& path, TemplateWriter* out) {
  out->Template("[");
  bool first = true;
  for (const OrderedJson& name : Items(names, path)) {
    if (!first) out->Template(",");
    first = false;
    out->Quoted(python::Str(name));
  }
  out->Template("]");
}

// Writes a comma before every field but the first.
class FieldList {
 public:
  explicit FieldList(TemplateWriter* out) : out_(out) {}
  void Begin(std::string_view name) {
    if (!first_) out_->Template(",");
    first_ = false;
    out_->Template(name);
  }

 private:
  TemplateWriter* out_;
  bool first_ = true;
};

class DeclarationWriter {
 public:
  DeclarationWriter(std::string path, TemplateWriter* out) : path_(std::move(path)), out_(out) {}

  void Write(const OrderedJson& function) {
    out_->Template("declaration:");
    out_->Data(Text(Get(function, "name")));
    out_->Template("{description:");
    out_->Quoted(Text(Get(function, "description")));
    if (const MaybeValue parameters = Get(function, "parameters"); IsTruthy(parameters)) {
      WriteParameters(*parameters);
    }
    if (const MaybeValue response = Get(function, "response")) WriteResponse(*response);
    out_->Template("}");
  }

 private:
  void WriteParameters(const OrderedJson& parameters) {
    const std::string path = path_ + ".function.parameters";
    out_->Template(",parameters:{");
    if (const MaybeValue properties = Get(parameters, "properties"); IsTruthy(properties)) {
      out_->Template("properties:{");
      WriteProperties(*properties, false, path + ".properties", 0);
      out_->Template("},");
    }
    if (const MaybeValue required = Get(parameters, "required"); IsTruthy(required)) {
      out_->Template("required:");
      WriteNames(*required, path + ".required", out_);
      out_->Template(",");
    }
    if (const MaybeValue type = Get(parameters, "type"); IsTruthy(type)) {
      out_->Template("type:");
      out_->Quoted(UpperText(type));
      out_->Template("}");
    }
  }

  void WriteResponse(const OrderedJson& response) {
    out_->Template(",response:{");
    if (const MaybeValue description = Get(response, "description"); IsTruthy(description)) {
      out_->Template("description:");
      out_->Quoted(Text(description));
      out_->Template(",");
    }
    if (const std::string type = UpperText(Get(response, "type")); type == "OBJECT") {
      out_->Template("type:");
      out_->Quoted(type);
      out_->Template("}");
    }
  }

  void WriteProperties(const OrderedJson& properties, bool skip_standard_keys,
                       const std::string& path, int depth) {
    if (!properties.is_object()) FailField(path, &properties, "give an object of properties");
    if (depth > kMaxJsonDepth) {
      throw Error(ErrorKind::kInvalidArgument, path_ + " is nested deeper than " +
                                                   std::to_string(kMaxJsonDepth) +
                                                   " levels; make it flatter");
    }
    bool first = true;
    for (const auto& [key, value] : python::DictSort(properties)) {
      if (skip_standard_keys && IsStandardKey(key)) continue;
      if (!first) out_->Template(",");
      first = false;
      out_->Data(key);
      out_->Template(":{");
      WriteProperty(*value, path + "." + std::string(key), depth);
    }
  }

  void WriteProperty(const OrderedJson& property, const std::string& path, int depth) {
    FieldList fields(out_);
    if (const MaybeValue description = Get(property, "description"); IsTruthy(description)) {
      fields.Begin("description:");
      out_->Quoted(Text(description));
    }
    const std::string type = UpperText(Get(property, "type"));
    if (type == "STRING") {
      if (const MaybeValue choices = Get(property, "enum"); IsTruthy(choices)) {
        fields.Begin("enum:");
        WriteValue(*choices, true, out_);
      }
    } else if (type == "ARRAY") {
      const MaybeValue items = Get(property, "items");
      if (IsTruthy(items) && items->is_object()) {
        fields.Begin("items:{");
        WriteItems(*items, path + ".items", depth);
        out_->Template("}");
      }
    }
    if (IsTruthy(Get(property, "nullable"))) fields.Begin("nullable:true");
    if (type == "OBJECT") WriteObjectFields(property, path, depth, &fields);
    fields.Begin("type:");
    out_->Quoted(type);
    out_->Template("}");
  }

  void WriteObjectFields(const OrderedJson& property, const std::string& path, int depth,
                         FieldList* fields) {
    fields->Begin("properties:{");
    const MaybeValue properties = Get(property, "properties");
    if (properties && properties->is_object()) {
      WriteProperties(*properties, false, path + ".properties", depth + 1);
    } else {
      WriteProperties(property, true, path, depth + 1);
    }
    out_->Template("}");
    if (const MaybeValue required = Get(property, "required"); IsTruthy(required)) {
      fields->Begin("required:");
      WriteNames(*required, path + ".required", out_);
    }
  }

  void WriteItems(const OrderedJson& items, const std::string& path, int depth) {
    FieldList fields(out_);
    for (const auto& [key, value] : python::DictSort(items)) {
      if (value->is_null()) continue;
      fields.Begin("");
      out_->Data(key);
      out_->Template(":");
      if (key == "properties") {
        out_->Template("{");
        if (value->is_object()) WriteProperties(*value, false, path + ".properties", depth + 1);
        out_->Template("}");
      } else if (key == "required") {
        WriteNames(*value, path + ".required", out_);
      } else if (key == "type") {
        WriteItemType(*value, path + ".type");
      } else {
        WriteValue(*value, true, out_);
      }
    }
  }

  void WriteItemType(const OrderedJson& type, const std::string& path) {
    if (type.is_string()) {
      out_->Quoted(UpperText(&type));
      return;
    }
    OrderedJson upper = OrderedJson::array();
    if (!python::Truthy(type)) {  // jinja2's map gives nothing for these, also for false and 0
      WriteValue(upper, true, out_);
      return;
    }
    for (const OrderedJson& item : Items(type, path)) upper.push_back(UpperText(&item));
    WriteValue(upper, true, out_);
  }

  std::string path_;
  TemplateWriter* out_;
};

}  // namespace

void WriteToolDeclaration(const OrderedJson& tool, const std::string& path, TemplateWriter* out) {
  const MaybeValue function = Get(tool, "function");
  const std::string expected =
      "give {\"type\": \"function\", \"function\": {\"name\": …, \"description\": …, "
      "\"parameters\": …}}";
  if (!tool.is_object()) FailField(path, &tool, expected);
  if (!function) FailField(path + ".function", function, expected);
  // jinja2 renders some things that declare nothing; whatever it raises for is refused.
  if (!function->is_object() && !function->is_string() && !function->is_array()) {
    FailField(path + ".function", function, expected);
  }
  if (function->is_string() &&
      function->get_ref<const std::string&>().find("response") != std::string::npos) {
    FailField(path + ".function", function, expected);
  }
  if (function->is_array()) {
    for (const OrderedJson& item : *function) {
      if (IsString(item, "response")) FailField(path + ".function", function, expected);
    }
  }
  DeclarationWriter(path, out).Write(*function);
}

}  // namespace culet
