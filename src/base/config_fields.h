// Checked reading of the fields of a JSON object: type and range of each, and at the end no field
// that nobody read. Every error names the file, the field, what was found and what was expected.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace culet {

class ConfigFields {
 public:
  // `object` outlives this; it must be an object (else Error). `place` is the file, `prefix` the
  // way to the object inside it: "" or "text_config." with the dot.
  ConfigFields(const Json& object, std::string place, std::string prefix);

  const std::string& place() const { return place_; }
  // "FILE: PREFIXkey".
  std::string Name(const std::string& key) const;

  // The field with a null counted as there / as absent. Both mark it as read.
  const Json* FindOrNull(const std::string& key);
  const Json* Find(const std::string& key);

  // Absent and null are errors.
  std::int64_t RequiredInt(const std::string& key, std::int64_t min, std::int64_t max);
  // Absent or null: the default.
  std::int64_t Int(const std::string& key, std::int64_t fallback, std::int64_t min,
                   std::int64_t max);
  std::optional<std::int64_t> OptionalInt(const std::string& key, std::int64_t min,
                                          std::int64_t max);
  bool Bool(const std::string& key, bool fallback);
  std::optional<std::string> OptionalString(const std::string& key);
  // Inclusive bounds; never NaN or infinite.
  double Number(const std::string& key, double fallback, double min, double max);
  std::optional<double> OptionalNumber(const std::string& key, double min, double max);

  // Marks fields as known and without effect.
  void Ignore(std::span<const std::string_view> keys);
  // Throws Error(kUnsupported) for the first field that was neither read nor ignored and is not
  // null. `what` says what the object is: "a Gemma 4 text config".
  void RefuseUnknown(const std::string& what) const;

  // Throws `kind` with "FILE: PREFIXkey is FOUND; expected EXPECTED".
  [[noreturn]] void Refuse(const std::string& key, const std::string& expected,
                           ErrorKind kind = ErrorKind::kCorrupt) const;

 private:
  const Json& object_;
  std::string place_;
  std::string prefix_;
  std::set<std::string, std::less<>> read_;
};

// Refuses fields that transformers writes into every config with a value that means "off", where
// they say something else: that would change the model.
void RefuseSwitches(ConfigFields& fields);

// What transformers writes into every config, and what says nothing about a model's shape.
std::span<const std::string_view> HarmlessFields();

// `value` as an integer in [min, max]; nothing if it is of another type (2.0 included) or outside.
std::optional<std::int64_t> JsonInt(const Json& value, std::int64_t min, std::int64_t max);

// A name from a file as messages show it: as it is, or quoted and escaped as JSON, and cut, where
// it is long or has control characters.
std::string DisplayName(std::string_view name);

}  // namespace culet
