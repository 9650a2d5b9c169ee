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
