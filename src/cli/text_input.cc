#include "cli/text_input.h"

#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "cli/interrupt.h"

namespace culet::cli {
namespace {

constexpr std::size_t kReadBytes = 1u << 18;
// Of a file, of standard input, and of one line: four times what the longest context (2^24 tokens)
// holds of English.
constexpr std::uint64_t kMostTextBytes = 256u << 20;

void CheckSize(std::size_t bytes, const std::string& place) {
  if (bytes <= kMostTextBytes) return;
  throw Error(ErrorKind::kResource, place + " has more than " + std::to_string(kMostTextBytes) +
                                        " bytes, the most that is read as one text; no context "
                                        "holds as much. Give a part of it");
}

// Appends what one read gives; false at the end.
bool ReadSome(std::string* text) {
  const std::size_t have = text->size();
  text->resize(have + kReadBytes);
  ssize_t count = 0;
  do {
    if (!InterruptGuard::WaitForInput()) throw Interrupted();
    count = ::read(STDIN_FILENO, text->data() + have, kReadBytes);
  } while (count < 0 && errno == EINTR);
  const int error_number = errno;
  text->resize(have + (count > 0 ? static_cast<std::size_t>(count) : 0));
  if (count < 0) throw Error(ErrorKind::kIo, "standard input: " + ErrnoText(error_number));
  return count > 0;
}

}  // namespace

void CheckUtf8(std::string_view text, const std::string& place) {
  const std::size_t offset = FindInvalidUtf8(text);
  if (offset == text.size()) return;
  throw Error(ErrorKind::kInvalidArgument,
              place + " is not UTF-8 at byte offset " + std::to_string(offset) +
                  "; convert it first, for example with iconv -t UTF-8");
}

std::string ReadStandardInput() {
  std::string text;
  while (ReadSome(&text)) CheckSize(text.size(), "standard input");
  return text;
}

std::string ReadTextFile(const std::string& path) {
  if (path == "-") return ReadStandardInput();
  return FileSystem::Real().ReadFile(path, kMostTextBytes);
}

bool LineInput::TakeLine(std::string_view* line) {
  const std::size_t end = buffer_.find('\n', searched_);
  if (end == std::string::npos) {
    searched_ = buffer_.size();
    return false;
  }
  *line = std::string_view(buffer_).substr(begin_, end - begin_);
  begin_ = searched_ = end + 1;
  ++number_;
  return true;
}

bool LineInput::TakeRest(std::string_view* line) {
  if (begin_ == buffer_.size()) return false;
  *line = std::string_view(buffer_).substr(begin_);
  begin_ = searched_ = buffer_.size();
  ++number_;
  return true;
}

void LineInput::Fill() {
  buffer_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  at_end_ = !ReadSome(&buffer_);
  // All but the last read belongs to one line.
  CheckSize(buffer_.size(), "standard input, line " + std::to_string(number_ + 1));
}

}  // namespace culet::cli
