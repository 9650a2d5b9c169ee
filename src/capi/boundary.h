// The edge between C and C++: objects behind the handles, and errors in place of exceptions.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "culet.h"
#include "culet/culet.h"

// The types that culet.h leaves open.
struct culet_text {
  std::shared_ptr<const culet::TextProcessor> text;
};
struct culet_model {
  std::shared_ptr<culet::Model> model;
  culet_text text;  // the model's own
};
struct culet_prompt {
  culet::Prompt prompt;
};

namespace culet::capi {

// The status of the exception that is being handled; where `error` is not null, an object for it.
culet_status FailWith(culet_error** error) noexcept;

// Runs body(): no exception leaves. Outputs must be cleared before.
template <typename Body>
culet_status Guard(culet_error** error, const Body& body) noexcept {
  if (error != nullptr) *error = nullptr;
  try {
    body();
    return CULET_OK;
  } catch (...) {
    return FailWith(error);
  }
}

// Throws Error(kInvalidArgument) where `pointer` is null; `name` is "culet_start: model".
template <typename Type>
Type& Need(Type* pointer, const char* name) {
  if (pointer != nullptr) return *pointer;
  throw Error(ErrorKind::kInvalidArgument,
              std::string(name) + " is NULL; it must point to something");
}

// What the caller gave as a pointer and a count; the pointer may be null where the count is 0.
template <typename Type>
std::span<const Type> Span(const Type* items, std::size_t count, const char* name) {
  if (count > 0) Need(items, name);
  return {items, count};
}

// Options as text; null stands for none.
inline std::string_view OptionsText(const char* options) {
  return options == nullptr ? std::string_view() : std::string_view(options);
}

// A copy that the caller frees with culet_free; of text with a NUL behind it.
template <typename Type>
Type* Copy(std::span<const Type> items) {
  auto* copy = static_cast<Type*>(std::malloc(std::max<std::size_t>(1, items.size_bytes())));
  if (copy == nullptr) throw std::bad_alloc();
  if (!items.empty()) std::memcpy(copy, items.data(), items.size_bytes());
  return copy;
}
inline char* Copy(const std::string& text) {
  return Copy(std::span<const char>(text.c_str(), text.size() + 1));
}

// Sets an output that the caller may not want.
template <typename Type, typename Value>
void Set(Type* output, Value value) {
  if (output != nullptr) *output = static_cast<Type>(value);
}

}  // namespace culet::capi
