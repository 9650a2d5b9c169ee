#include "cli/text_input.h"

#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/file.h"
#include "cli/interrupt.h"

namespace culet::cli {
namespace {

constexpr std::size_t kReadBytes = 1u << 18;
constexpr std::uint64_t kMostFileBytes = 1u << 30;

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

// Bytes of the character at text[0], 0 where there is none.
std::size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto more = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return more(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!more(1) || !more(2)) return 0;
    if (first == 0xe0 && byte(1) < 0xa0) return 0;   // overlong
    if (first == 0xed && byte(1) >= 0xa0) return 0;  // a surrogate
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!more(1) || !more(2) || !more(3)) return 0;
    if (first == 0xf0 && byte(1) < 0x90) return 0;   // overlong
    if (first == 0xf4 && byte(1) >= 0x90) return 0;  // beyond U+10FFFF
    return 4;
  }
  return 0;
}

}  // namespace

void CheckUtf8(std::string_view text, const std::string& place) {
  std::size_t offset = 0;
  while (offset < text.size()) {
    const std::size_t bytes = CharacterBytes(text.substr(offset));
    if (bytes == 0) {
      throw Error(ErrorKind::kInvalidArgument,
                  place + " is not UTF-8 at byte offset " + std::to_string(offset) +
                      "; convert it first, for example with iconv -t UTF-8");
    }
    offset += bytes;
  }
}

std::string ReadStandardInput() {
  std::string text;
  while (ReadSome(&text)) {
  }
  return text;
}

std::string ReadTextFile(const std::string& path) {
  if (path == "-") return ReadStandardInput();
  return FileSystem::Real().ReadFile(path, kMostFileBytes);
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
}

}  // namespace culet::cli
