// config.json as a file: its size limit and the overrides of a command line.
#include <utility>

#include "base/config_fields.h"
#include "base/error.h"
#include "checkpoint/config.h"

namespace culet {
namespace {

// config.json of 4 MB is a thousand times the largest published one.
constexpr std::uint64_t kMaxConfigBytes = 4 << 20;

// What is no JSON is a plain string ("gelu").
Json OverrideValue(const std::string& text) {
  try {
    return ParseJson(text, "the override");
  } catch (const Error&) {
    return text;
  }
}

// Writes an override into `config` at its dotted way; objects on the way must be there.
void ApplyOverride(Json* config, const ConfigOverride& override_, const std::string& place) {
  const std::string option = "the override " + override_.key + "=" + override_.value;
  std::string way = override_.key;
  constexpr std::string_view kText = "text_config.";
  // In a text-only file the fields are at the top, under the same names for the user.
  if (way.starts_with(kText) && !config->contains("text_config")) way.erase(0, kText.size());
  Json* object = config;
  for (;;) {
    const std::size_t dot = way.find('.');
    const std::string key = way.substr(0, dot);
    if (key.empty() || !object->is_object()) {
      throw Error(ErrorKind::kInvalidArgument,
                  option + ": " + place +
                      " has no such field; expected "
                      "text_config.KEY=VALUE with a field of config.json");
    }
    if (dot == std::string::npos) {
      (*object)[key] = OverrideValue(override_.value);
      return;
    }
    if (!object->contains(key)) {
      throw Error(ErrorKind::kInvalidArgument, option + ": " + place + " has no object " +
                                                   DisplayName(key) + " to change a field of");
    }
    object = &(*object)[key];
    way.erase(0, dot + 1);
  }
}

}  // namespace

ModelConfig LoadModelConfig(FileSystem& files, const std::filesystem::path& config_json,
                            const std::vector<ConfigOverride>& overrides) {
  const std::string place = config_json.string();
  Json json = ParseJson(files.ReadFile(config_json, kMaxConfigBytes), place);
  if (json.is_object()) {
    for (const ConfigOverride& override_ : overrides) ApplyOverride(&json, override_, place);
  }
  return ParseModelConfig(json, place);
}

}  // namespace culet
