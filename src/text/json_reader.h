// A strict JSON reader that walks over the text once and builds nothing: for the two members of a
// tokenizer.json that hold a million strings. Everything else goes to base/json.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace culet {

// Throws Error(kCorrupt) with `place`, line and column where the text is not JSON or is not what
// the caller asks for. Strings are checked to be UTF-8. Threads: one caller.
class JsonReader {
 public:
  // `text` must outlive the reader.
  JsonReader(std::string_view text, std::string place) : text_(text), place_(std::move(place)) {}

  // The next character that is not white space, not consumed; '\0' at the end of the text.
  char Peek();
  // Consumes `expected`; `what` says in messages what begins or ends there.
  void Expect(char expected, const char* what);
  // After an object's '{': true and *key where another member follows (its ':' is consumed), false
  // where the object ends (its '}' is consumed). `first` is true before the first member. The key
  // stays valid until the next string is read.
  bool NextMember(bool first, std::string_view* key);
  // The same for the elements of an array.
  bool NextElement(bool first);
  // A string; valid until the next one is read.
  std::string_view ReadString();
  // An integer from 0 to 2^31 − 1, written plainly.
  std::int32_t ReadIndex();
  // Skips one value and returns its text. Only strings and the nesting of brackets are checked:
  // parse the result before you believe it.
  std::string_view ReadRaw();
  // The text must end here.
  void ExpectEnd();

  std::size_t offset() const { return pos_; }
  void set_offset(std::size_t offset) { pos_ = offset; }

  [[noreturn]] void Fail(const std::string& what) const;

 private:
  std::string_view ReadEscapedString(std::size_t start);
  char32_t ReadHex4();

  std::string_view text_;
  std::string place_;
  std::size_t pos_ = 0;
  std::string scratch_;  // the last string that had escapes
};

}  // namespace culet
