// Media in the messages of a request, and their places in the prompt.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "api/prompt_media.h"
#include "base/error.h"

namespace culet {
namespace {

constexpr std::array kKinds = {MediaKind::kImage, MediaKind::kAudio, MediaKind::kVideo};

std::optional<MediaKind> KindFromName(std::string_view name) {
  for (const MediaKind kind : kKinds) {
    if (MediaKindName(kind) == name) return kind;
  }
  return std::nullopt;
}

// Of a part of a message's content; none: a text, or what only the template can judge.
std::optional<MediaKind> KindOf(const OrderedJson& part) {
  if (!part.is_object()) return std::nullopt;
  const auto type = part.find("type");
  if (type == part.end() || !type->is_string()) return std::nullopt;
  return KindFromName(type->get<std::string>());
}

std::string Marker(MediaKind kind) {
  return std::string("<").append(MediaKindName(kind)).append(">");
}
// What the chat template writes for a part.
std::string Placeholder(MediaKind kind) {
  return std::string("<|").append(MediaKindName(kind)).append("|>");
}

// The first of the texts that `name_of` gives for the kinds (empty: none), from `begin` on.
template <typename NameOf>
std::optional<std::pair<std::size_t, MediaKind>> FindNext(std::string_view text, std::size_t begin,
                                                          NameOf name_of) {
  std::optional<std::pair<std::size_t, MediaKind>> first;
  for (const MediaKind kind : kKinds) {
    const std::string name = name_of(kind);
    const std::size_t at = name.empty() ? std::string_view::npos : text.find(name, begin);
    if (at != std::string_view::npos && (!first || at < first->first)) first = {at, kind};
  }
  return first;
}

// Member by member: a list in braces loses memory where an allocation fails.
OrderedJson TextPart(std::string_view text) {
  OrderedJson part = OrderedJson::object();
  part["type"] = "text";
  part["text"] = std::string(text);
  return part;
}
OrderedJson MediaPart(MediaKind kind) {
  OrderedJson part = OrderedJson::object();
  part["type"] = std::string(MediaKindName(kind));
  return part;
}

Media TakePart(OrderedJson* part, MediaKind kind, std::span<const Media>* given,
               const std::string& path) {
  for (const auto& [key, value] : part->items()) {
    if (key == "type" || key == "path") continue;
    throw Error(ErrorKind::kInvalidArgument,
                path + " has the member " + JsonExcerpt(Json(key)) +
                    "; a part of a medium has \"path\", the file that it is in, and nothing else");
  }
  const auto file = part->find("path");
  if (file != part->end()) {
    if (!file->is_string()) {
      throw Error(ErrorKind::kInvalidArgument,
                  path + ".path is " + JsonTypeName(Json(*file)) + "; give the name of a file");
    }
    Media medium = Media::File(kind, file->get<std::string>());
    part->erase("path");
    return medium;
  }
  if (given->empty() || given->front().kind() != kind) {
    throw Error(
        ErrorKind::kInvalidArgument,
        path + " is of type \"" + std::string(MediaKindName(kind)) + "\" and has no file; " +
            (given->empty()
                 ? std::string("none is given beside the messages")
                 : "next of those that are given beside the messages is " + given->front().name()) +
            ". Add \"path\" to the part");
  }
  Media medium = given->front();
  *given = given->subspan(1);
  return medium;
}

// Calls body(part, its kind, its path) for every part of a medium.
template <typename Body>
void OverMediaParts(OrderedJson& messages, const std::string& place, Body body) {
  std::size_t number = 0;
  for (OrderedJson& message : messages) {
    const std::string path = place + ": messages[" + std::to_string(number++) + "].content[";
    if (!message.is_object() || !message.contains("content")) continue;
    OrderedJson& content = message["content"];
    if (!content.is_array()) continue;
    std::size_t part_number = 0;
    for (OrderedJson& part : content) {
      const std::string part_path = path + std::to_string(part_number++) + "]";
      const std::optional<MediaKind> kind = KindOf(part);
      if (kind) body(part, *kind, part_path);
    }
  }
}

// Bare parts for `given` in the last user message; `given` in the order of the parts.
std::vector<Media> GiveToLastUser(OrderedJson* messages, std::span<const Media> given,
                                  const std::string& place) {
  std::size_t number = messages->size();
  while (number > 0) {
    OrderedJson& message = (*messages)[--number];
    if (!message.is_object() || !message.contains("role") || message["role"] != "user") continue;
    OrderedJson& content = message["content"];
    if (content.is_string()) {
      content = ContentWithMedia(content.get<std::string>(), given,
                                 place + ": messages[" + std::to_string(number) + "]");
      return InOrderOf(content, given);
    }
    if (!content.is_array()) break;
    OrderedJson parts = OrderedJson::array();
    for (const Media& medium : given) parts.push_back(MediaPart(medium.kind()));
    for (const OrderedJson& part : content) parts.push_back(part);
    content = std::move(parts);
    return {given.begin(), given.end()};
  }
  throw Error(ErrorKind::kInvalidArgument,
              place + ": there is no user message for " + given.front().name() + " to be in");
}

}  // namespace

std::vector<Media> InOrderOf(const OrderedJson& content, std::span<const Media> media) {
  std::vector<Media> left(media.begin(), media.end());
  std::vector<Media> ordered;
  for (const OrderedJson& part : content) {
    const std::optional<MediaKind> kind = KindOf(part);
    const auto medium = std::ranges::find_if(
        left, [&](const Media& candidate) { return kind && candidate.kind() == *kind; });
    if (medium == left.end()) continue;
    ordered.push_back(*medium);
    left.erase(medium);
  }
  return ordered;
}

std::vector<Media> TakeMedia(OrderedJson* messages, std::span<const Media> given,
                             const std::string& place) {
  std::vector<Media> media, ordered;
  if (!messages->is_array()) return media;
  bool has_bare_parts = false;
  OverMediaParts(*messages, place, [&](OrderedJson& part, MediaKind, const std::string&) {
    has_bare_parts |= !part.contains("path");
  });
  if (!given.empty() && !has_bare_parts) {
    ordered = GiveToLastUser(messages, given, place);
    given = ordered;
  }
  OverMediaParts(*messages, place, [&](OrderedJson& part, MediaKind kind, const std::string& path) {
    media.push_back(TakePart(&part, kind, &given, path));
  });
  if (!given.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                place + ": " + std::to_string(given.size()) +
                    " of the media that are given beside the messages have no part in them, the "
                    "first is " +
                    given.front().name() + ". Add a part {\"type\": \"" +
                    std::string(MediaKindName(given.front().kind())) + "\"} where it belongs");
  }
  return media;
}

OrderedJson ContentWithMedia(const std::string& text, std::span<const Media> media,
                             const std::string& place) {
  if (media.empty()) return text;
  std::vector<MediaKind> marked;
  for (const MediaKind kind : kKinds) {
    const auto given = std::ranges::count(media, kind, &Media::kind);
    if (given == 0) continue;  // then "<image>" is only text
    std::ptrdiff_t markers = 0;
    for (std::size_t at = text.find(Marker(kind)); at != std::string::npos;
         at = text.find(Marker(kind), at + 1)) {
      ++markers;
    }
    if (markers == 0) continue;
    if (markers != given) {
      throw Error(ErrorKind::kInvalidArgument,
                  place + " has " + std::to_string(markers) + " markers " + Marker(kind) + " for " +
                      std::to_string(given) + "; give one for each, or none to have them first");
    }
    marked.push_back(kind);
  }
  const auto is_marked = [&](MediaKind kind) { return std::ranges::count(marked, kind) > 0; };
  OrderedJson parts = OrderedJson::array();
  for (const Media& medium : media) {
    if (!is_marked(medium.kind())) parts.push_back(MediaPart(medium.kind()));
  }
  std::size_t done = 0;
  const auto marker = [&](MediaKind kind) { return is_marked(kind) ? Marker(kind) : ""; };
  while (const auto next = FindNext(text, done, marker)) {
    if (next->first > done)
      parts.push_back(TextPart(std::string_view(text).substr(done, next->first - done)));
    parts.push_back(MediaPart(next->second));
    done = next->first + Marker(next->second).size();
  }
  if (done < text.size()) parts.push_back(TextPart(std::string_view(text).substr(done)));
  return parts;
}

std::vector<PromptSegment> ExpandMedia(std::span<const PromptSegment> segments,
                                       std::span<const std::shared_ptr<const PreparedMedia>> media,
                                       const std::string& place) {
  std::vector<PromptSegment> expanded;
  std::size_t used = 0;
  for (const PromptSegment& segment : segments) {
    if (!segment.control) {
      expanded.push_back(segment);
      continue;
    }
    PromptSegment out{"", true};
    std::size_t done = 0;
    while (const auto next = FindNext(segment.text, done, Placeholder)) {
      if (used == media.size() || media[used]->kind != next->second) {
        throw Error(ErrorKind::kInvalidArgument,
                    place + ": the prompt has a place for a medium of type \"" +
                        std::string(MediaKindName(next->second)) + "\" that is not given");
      }
      out.text.append(segment.text, done, next->first - done);
      out.text += media[used++]->text;
      done = next->first + Placeholder(next->second).size();
    }
    out.text.append(segment.text, done);
    expanded.push_back(std::move(out));
  }
  if (used != media.size()) {
    throw Error(ErrorKind::kInvalidArgument,
                place + ": the chat template has left out " + std::to_string(media.size() - used) +
                    " of the media; media belong into the "
                    "content of messages whose text the template writes");
  }
  return expanded;
}

}  // namespace culet
