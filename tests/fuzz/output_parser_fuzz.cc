// What a model wrote: the events are the same however the text is split, and a call's arguments are
// one JSON object. The first byte chooses where the text starts and how it is split.
#include <algorithm>
#include <vector>

#include "base/json.h"
#include "fuzz/fuzz.h"
#include "text/output_parser.h"

namespace culet::fuzz {
namespace {

// Neighbours of one kind joined.
void Add(std::vector<OutputEvent> events, std::vector<OutputEvent>* all) {
  for (OutputEvent& event : events) {
    const bool call = event.kind == OutputEvent::Kind::kToolCall;
    Require(call || !event.text.empty(), "no empty piece");
    if (!call && !all->empty() && all->back().kind == event.kind) {
      all->back().text += event.text;
    } else {
      all->push_back(std::move(event));
    }
  }
}

// Pieces of 1 … `most` bytes.
std::vector<OutputEvent> Split(std::string_view text, bool in_thought, std::size_t most,
                               unsigned seed) {
  OutputParser parser(in_thought);
  std::vector<OutputEvent> events;
  while (!text.empty()) {
    seed = seed * 1664525u + 1013904223u;
    const std::size_t length = std::min(text.size(), 1 + (seed >> 16) % most);
    Add(parser.Feed(text.substr(0, length)), &events);
    text.remove_prefix(length);
  }
  Add(parser.Finish(), &events);
  Require(parser.Feed("more").empty() && parser.Finish().empty(), "the end is the end");
  return events;
}

bool Equal(const std::vector<OutputEvent>& a, const std::vector<OutputEvent>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].kind != b[i].kind || a[i].text != b[i].text || a[i].call.name != b[i].call.name ||
        a[i].call.arguments_json != b[i].call.arguments_json) {
      return false;
    }
  }
  return true;
}

}  // namespace

void FuzzOne(std::string_view input) {
  const unsigned choice = TakeByte(&input);
  const bool in_thought = (choice & 1) != 0;
  const std::vector<OutputEvent> whole = Split(input, in_thought, SIZE_MAX / 2, 0);
  Require(Equal(whole, Split(input, in_thought, 1, 0)), "byte by byte is the same");
  Require(Equal(whole, Split(input, in_thought, 9, choice)), "in pieces is the same");
  for (const OutputEvent& event : whole) {
    if (event.kind != OutputEvent::Kind::kToolCall) continue;
    Require(!event.call.name.empty(), "a call has a name");
    const Json arguments = Json::parse(event.call.arguments_json, nullptr, false);
    Require(arguments.is_object(), "the arguments are one JSON object");
  }
}

}  // namespace culet::fuzz
