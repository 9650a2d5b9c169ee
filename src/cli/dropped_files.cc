#include "cli/dropped_files.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace culet::cli {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kUrl = "file://";

bool IsSpace(char c) { return kSpace.find(c) != std::string_view::npos; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The path of a file:// URL of this machine; else "".
std::string PathOfUrl(std::string_view url) {
  url.remove_prefix(kUrl.size());
  if (url.starts_with("localhost/")) url.remove_prefix(std::string_view("localhost").size());
  std::string path;
  for (std::size_t at = 0; at < url.size(); ++at) {
    const bool coded = url[at] == '%' && at + 2 < url.size() && HexDigit(url[at + 1]) >= 0 &&
                       HexDigit(url[at + 2]) >= 0;
    path += coded ? static_cast<char>(HexDigit(url[at + 1]) * 16 + HexDigit(url[at + 2])) : url[at];
    if (coded) at += 2;
  }
  return path.starts_with('/') ? path : "";
}

bool IsFile(const std::string& path) {
  std::error_code error;
  return path.find('\0') == std::string::npos && std::filesystem::is_regular_file(path, error);
}

// The file that a word without quotes names; "": none.
std::string FileOf(const std::string& word) {
  std::string path = word;
  if (word.starts_with(kUrl)) {
    path = PathOfUrl(word);
  } else if (word.starts_with("~/")) {
    const char* home = std::getenv("HOME");
    path = (home != nullptr ? home : "~") + word.substr(1);
  } else if (!word.starts_with('/') && !word.starts_with("./") && !word.starts_with("../")) {
    return "";
  }
  return IsFile(path) ? path : "";
}

// Whether the quotation mark at `at` opens a quotation: not an apostrophe ("What's in …"), nor one
// that nothing closes.
bool Opens(std::string_view line, std::size_t begin, std::size_t at) {
  const bool within_word = at > begin && std::isalnum(static_cast<unsigned char>(line[at - 1]));
  return !within_word && line.find(line[at], at + 1) != std::string_view::npos;
}

// Takes quotes and backslashes off the word that begins at `*at`, as a shell does, and moves there.
std::string TakeWord(std::string_view line, std::size_t* at) {
  const std::size_t begin = *at;
  std::string word;
  char quote = 0;
  for (; *at < line.size() && (quote != 0 || !IsSpace(line[*at])); ++*at) {
    const char c = line[*at];
    if (quote != 0 ? c == quote : (c == '\'' || c == '"') && Opens(line, begin, *at)) {
      quote = quote != 0 ? '\0' : c;
    } else if (c == '\\' && quote != '\'' && *at + 1 < line.size()) {
      word += line[++*at];
    } else {
      word += c;
    }
  }
  return word;
}

}  // namespace

std::vector<DroppedFile> FindDroppedFiles(std::string_view line) {
  std::vector<DroppedFile> files;
  const auto add = [&](std::size_t begin, std::size_t end, const std::string& path) {
    files.push_back({begin, end, path, RecognizeMedia(path)});
  };
  const std::size_t first = line.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return files;
  const std::size_t last = line.find_last_not_of(kSpace) + 1;
  const std::string whole = FileOf(std::string(line.substr(first, last - first)));
  if (!whole.empty()) {
    add(first, last, whole);
    return files;
  }
  for (std::size_t at = first; at < line.size();) {
    if (IsSpace(line[at])) {
      ++at;
      continue;
    }
    // "Look (/tmp/cat.jpg)"
    constexpr std::string_view kOpening = "([<";
    while (at + 1 < line.size() && kOpening.find(line[at]) != std::string_view::npos) ++at;
    const std::size_t begin = at;
    std::string word = TakeWord(line, &at);
    std::size_t end = at;
    std::string path = FileOf(word);
    // "What is in /tmp/cat.jpg?"
    constexpr std::string_view kPunctuation = ".,;:!?)]>";
    while (path.empty() && !word.empty() && line[end - 1] == word.back() &&
           kPunctuation.find(word.back()) != std::string_view::npos) {
      word.pop_back();
      --end;
      path = FileOf(word);
    }
    if (!path.empty()) add(begin, end, path);
  }
  return files;
}

}  // namespace culet::cli
