#include "hub/reference.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "base/json.h"

namespace culet::hub {
namespace {

constexpr std::size_t kMaxPart = 96;       // the hub's own limit
constexpr std::size_t kMaxRevision = 200;  // leaves room in a file name of 255 bytes

constexpr std::array<ShortName, 10> kShortNames = {{
    {"e2b", "google/gemma-4-E2B-it", "e2b", false, true},
    {"e4b", "google/gemma-4-E4B-it", "e4b", false, true},
    {"12b", "google/gemma-4-12B-it", "12b", false, true},
    {"26b-a4b", "google/gemma-4-26B-A4B-it", "26b-a4b", false, false},
    {"31b", "google/gemma-4-31B-it", "31b", false, false},
    {"e2b-base", "google/gemma-4-E2B", "e2b", true, true},
    {"e4b-base", "google/gemma-4-E4B", "e4b", true, true},
    {"12b-base", "google/gemma-4-12B", "12b", true, true},
    {"26b-a4b-base", "google/gemma-4-26B-A4B", "26b-a4b", true, false},
    {"31b-base", "google/gemma-4-31B", "31b", true, false},
}};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool IsIdCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

std::string ProblemOfPart(std::string_view part, const char* what) {
  if (part.empty()) return std::string("its ") + what + " is empty";
  if (part.size() > kMaxPart) return std::string("its ") + what + " is longer than 96 characters";
  if (!std::all_of(part.begin(), part.end(), IsIdCharacter)) {
    return std::string("its ") + what + " has a character other than letters, digits, -, _ and .";
  }
  const auto edge = [](char c) { return c == '-' || c == '.'; };
  if (edge(part.front()) || edge(part.back())) {
    return std::string("its ") + what + " begins or ends with - or .";
  }
  return "";
}

}  // namespace

std::string ModelReference::Text() const {
  return revision == "main" ? repository : repository + "@" + revision;
}

std::span<const ShortName> ShortNames() { return kShortNames; }

bool IsHex(std::string_view text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool IsCommit(std::string_view text) { return IsHex(text, 40); }

std::string ProblemOfRepository(std::string_view repository) {
  const std::size_t slash = repository.find('/');
  if (slash == std::string_view::npos) return "an id of the hub is owner/name";
  for (const auto& [part, what] : {std::pair(repository.substr(0, slash), "owner"),
                                   std::pair(repository.substr(slash + 1), "name")}) {
    const std::string problem = ProblemOfPart(part, what);
    if (!problem.empty()) return problem;
  }
  if (repository.find("--") != std::string_view::npos ||
      repository.find("..") != std::string_view::npos) {
    return "an id of the hub has no \"--\" and no \"..\"";
  }
  if (repository.ends_with(".git")) return "an id of the hub does not end with .git";
  return "";
}

std::string ProblemOfRevision(std::string_view revision) {
  if (revision.empty()) return "the revision behind @ is empty";
  if (revision.size() > kMaxRevision) return "the revision is longer than 200 characters";
  std::size_t begin = 0;
  while (begin <= revision.size()) {
    const std::size_t end = std::min(revision.find('/', begin), revision.size());
    const std::string_view part = revision.substr(begin, end - begin);
    if (part.empty() || part.front() == '.' || part.ends_with(".lock") || part.ends_with(".tmp")) {
      return "the revision is no name of a branch, tag or commit";
    }
    begin = end + 1;
  }
  const auto allowed = [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f &&
           std::string_view("\\~^:?*[@\"<>|").find(c) == std::string_view::npos;
  };
  if (revision.find("..") != std::string_view::npos || revision.front() == '-' ||
      !std::all_of(revision.begin(), revision.end(), allowed)) {
    return "the revision is no name of a branch, tag or commit";
  }
  return "";
}

std::optional<ModelReference> ParseReference(const std::string& name, std::string* why) {
  ModelReference reference;
  const std::size_t at = name.find('@');
  const std::string model = name.substr(0, at);
  if (at != std::string::npos) {
    reference.revision = name.substr(at + 1);
    *why = ProblemOfRevision(reference.revision);
    if (!why->empty()) return std::nullopt;
  }
  std::string lower = Lower(model);
  constexpr std::string_view kFamily = "gemma-4-";
  if (lower == "26b") lower = "26b-a4b";
  if (lower == "26b-base") lower = "26b-a4b-base";
  for (const ShortName& known : kShortNames) {
    const std::string_view published = known.repository.substr(known.repository.find('/') + 1);
    // "e2b-it" is a slip that can mean one thing only.
    const bool slip = !known.base && lower == std::string(known.name) + "-it";
    if (lower == known.name || slip || lower == Lower(published)) {
      reference.repository = known.repository;
      return reference;
    }
  }
  // Other names of the family lie with the same owner.
  reference.repository = lower.starts_with(kFamily) && model.find('/') == std::string::npos
                             ? "google/" + model
                             : model;
  *why = ProblemOfRepository(reference.repository);
  if (!why->empty()) return std::nullopt;
  return reference;
}

ModelReference RequireReference(const std::string& name) {
  std::string why;
  const std::optional<ModelReference> reference = ParseReference(name, &why);
  if (reference) return *reference;
  std::string known;
  for (const ShortName& entry : kShortNames) {
    if (!entry.base) known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw Error(ErrorKind::kInvalidArgument,
              JsonExcerpt(Json(name)) + " names no model of the hub: " + why +
                  ". Expected owner/name or owner/name@revision, or one of " + known +
                  " (each also with -base)");
}

}  // namespace culet::hub
