#include "runtime/soft_tokens.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"

namespace culet {
namespace {

// The first of `count` ids that no block has.
std::int32_t TakeIds(std::int64_t count) {
  static std::atomic<std::int64_t> taken = 0;
  const std::int64_t begin = taken.fetch_add(count);
  if (begin + count > std::numeric_limits<std::int32_t>::max()) {
    throw Error(
        ErrorKind::kResource,
        "this process has read as many pictures and sounds as it can tell apart (2147483647 "
        "soft tokens); start it again");
  }
  return static_cast<std::int32_t>(-1 - begin);
}

}  // namespace

SoftBlock::SoftBlock(std::vector<float> rows, std::int64_t hidden, std::int32_t placeholder,
                     bool visual)
    : rows_(std::move(rows)),
      hidden_(hidden),
      count_(static_cast<std::int64_t>(rows_.size()) / hidden),
      placeholder_(placeholder),
      visual_(visual),
      first_id_(TakeIds(count_)) {}

std::vector<std::int32_t> PlaceSoftTokens(std::span<const std::int32_t> tokens,
                                          std::span<const std::int32_t> placeholders,
                                          const SoftBlocks& blocks) {
  std::vector<std::int32_t> placed(tokens.begin(), tokens.end());
  std::vector<bool> used(blocks.size(), false);
  for (std::size_t at = 0; at < placed.size();) {
    const std::int32_t placeholder = placed[at];
    if (std::ranges::find(placeholders, placeholder) == placeholders.end()) {
      ++at;
      continue;
    }
    std::size_t next = 0;
    while (next < blocks.size() && (used[next] || blocks[next]->placeholder() != placeholder)) {
      ++next;
    }
    const std::size_t begin = at;
    const std::int64_t count = next < blocks.size() ? blocks[next]->count() : 0;
    while (static_cast<std::int64_t>(at - begin) < count && at < placed.size() &&
           placed[at] == placeholder) {
      placed[at] = blocks[next]->id(static_cast<std::int64_t>(at - begin));
      ++at;
    }
    if (count > 0 && static_cast<std::int64_t>(at - begin) == count) {
      used[next] = true;
      continue;
    }
    throw Error(
        ErrorKind::kInvalidArgument,
        "position " + std::to_string(begin) + " of the prompt has " + std::to_string(at - begin) +
            " placeholders (token " + std::to_string(placeholder) + ") " +
            (count == 0
                 ? "and more of them than all media have soft tokens"
                 : "in a row, and the medium there has " + std::to_string(count) + " soft tokens"));
  }
  const auto left = std::ranges::find(used, false);
  if (left != used.end()) {
    const SoftBlock& block = *blocks[static_cast<std::size_t>(left - used.begin())];
    throw Error(ErrorKind::kInvalidArgument,
                "medium " + std::to_string(left - used.begin() + 1) +
                    " has no place in the prompt: " + std::to_string(block.count()) +
                    " placeholders (token " + std::to_string(block.placeholder()) +
                    ") in a row are missing");
  }
  return placed;
}

std::vector<SoftPlaces::Place> SoftPlaces::Find(std::span<const std::int32_t> tokens,
                                                std::int64_t position, const SoftBlocks& blocks) {
  std::vector<Place> places;
  std::size_t at = 0;
  while (at < tokens.size()) {
    if (tokens[at] >= 0) {
      ++at;
      continue;
    }
    const auto block = std::ranges::find_if(
        blocks, [&](const auto& candidate) { return candidate->IndexOf(tokens[at]) == 0; });
    std::int64_t length = 0;
    if (block != blocks.end()) {
      while (length < (*block)->count() && at + static_cast<std::size_t>(length) < tokens.size() &&
             (*block)->IndexOf(tokens[at + static_cast<std::size_t>(length)]) == length) {
        ++length;
      }
    }
    if (block == blocks.end() || length < (*block)->count()) {
      throw Error(ErrorKind::kInvalidArgument,
                  "token " + std::to_string(tokens[at]) + " at position " +
                      std::to_string(position + static_cast<std::int64_t>(at)) +
                      (block == blocks.end() ? " begins no picture or sound of this prompt"
                                             : " begins a picture or sound that is cut off") +
                      "; ids are 0 and more, and media stand whole");
    }
    places.push_back({position + static_cast<std::int64_t>(at), *block});
    at += static_cast<std::size_t>(length);
  }
  return places;
}

void SoftPlaces::Rewind(std::int64_t position) {
  while (!places_.empty() && places_.back().begin >= position) places_.pop_back();
}

const SoftPlaces::Place* SoftPlaces::At(std::int64_t position) const {
  const auto behind = std::ranges::upper_bound(places_, position, {}, &Place::begin);
  if (behind == places_.begin()) return nullptr;
  const Place& place = *(behind - 1);
  return position < place.end() ? &place : nullptr;
}

}  // namespace culet
