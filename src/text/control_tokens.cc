#include "text/control_tokens.h"

#include <algorithm>

namespace culet {

ControlTokens::ControlTokens() : nodes_(1) {}

std::uint32_t ControlTokens::Child(std::uint32_t node, unsigned char byte) const {
  const auto& next = nodes_[node].next;
  const auto place = std::lower_bound(next.begin(), next.end(), std::pair(byte, std::uint32_t{0}));
  return place != next.end() && place->first == byte ? place->second : 0;
}

bool ControlTokens::Add(std::string_view text, TokenId id) {
  std::uint32_t node = 0;
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    std::uint32_t child = Child(node, byte);
    if (child == 0) {
      child = static_cast<std::uint32_t>(nodes_.size());
      nodes_.emplace_back();
      auto& next = nodes_[node].next;
      next.insert(std::lower_bound(next.begin(), next.end(), std::pair(byte, std::uint32_t{0})),
                  {byte, child});
    }
    node = child;
  }
  if (nodes_[node].id >= 0) return false;
  nodes_[node].id = id;
  begins_[static_cast<unsigned char>(text[0])] = true;
  return true;
}

std::optional<ControlTokens::Match> ControlTokens::Find(std::string_view text,
                                                        std::size_t from) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<unsigned char>(text[begin])]) continue;
    std::optional<Match> longest;
    std::uint32_t node = 0;
    for (std::size_t pos = begin; pos < text.size(); ++pos) {
      node = Child(node, static_cast<unsigned char>(text[pos]));
      if (node == 0) break;
      if (nodes_[node].id >= 0) longest = Match{begin, pos + 1, nodes_[node].id};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

std::size_t ControlTokens::memory_bytes() const {
  std::size_t bytes = sizeof(*this) + nodes_.capacity() * sizeof(Node);
  for (const Node& node : nodes_) bytes += node.next.capacity() * sizeof(node.next[0]);
  return bytes;
}

}  // namespace culet
