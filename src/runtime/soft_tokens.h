// Soft tokens: rows of the residual stream that a tower made of a picture, a frame or a sound.
//
// In a sequence they stand as tokens do, with ids of their own below zero. No two blocks share an
// id, so whatever compares tokens (the longest common beginning, shared prefixes) tells one picture
// from another without knowing of pictures.
//
//   "<bos> See <|image>" picture "<image|> …"      2 3121 255999 −1 −2 … −266 258882 …
//
// Threads: a block never changes; SoftPlaces has one caller at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace culet {

// The soft tokens of one picture, one frame or one sound.
class SoftBlock {
 public:
  // `rows` [count, hidden]; `placeholder`: the id that stands for each of them outside, in prompts
  // and in what a session tells. `visual`: rows may see each other (use_bidirectional_attention).
  // Throws Error(kResource) where ids run out: after 2³¹ soft tokens of one process.
  SoftBlock(std::vector<float> rows, std::int64_t hidden, std::int32_t placeholder, bool visual);

  std::int64_t count() const { return count_; }
  std::int64_t hidden() const { return hidden_; }
  bool visual() const { return visual_; }
  std::int32_t placeholder() const { return placeholder_; }
  std::int32_t id(std::int64_t index) const { return first_id_ - static_cast<std::int32_t>(index); }
  // Which of its tokens an id is, −1: none.
  std::int64_t IndexOf(std::int32_t id) const {
    const std::int64_t index = static_cast<std::int64_t>(first_id_) - id;
    return index >= 0 && index < count_ ? index : -1;
  }
  const float* row(std::int64_t index) const { return rows_.data() + index * hidden_; }

 private:
  std::vector<float> rows_;
  std::int64_t hidden_;
  std::int64_t count_;
  std::int32_t placeholder_;
  bool visual_;
  std::int32_t first_id_;  // the ids fall from here
};

using SoftBlocks = std::vector<std::shared_ptr<const SoftBlock>>;

// `tokens` with the soft tokens of `blocks` in place of placeholders: each run belongs to the next
// block of its id. `placeholders`: every id that is one. Throws Error(kInvalidArgument) where they
// do not fit each other.
std::vector<std::int32_t> PlaceSoftTokens(std::span<const std::int32_t> tokens,
                                          std::span<const std::int32_t> placeholders,
                                          const SoftBlocks& blocks);

// Where soft tokens stand in one sequence; keeps their blocks.
class SoftPlaces {
 public:
  struct Place {
    std::int64_t begin = 0;
    std::shared_ptr<const SoftBlock> block;
    std::int64_t end() const { return begin + block->count(); }
  };

  // The places of the soft tokens in `tokens`, which come to stand at `position`. Throws
  // Error(kInvalidArgument) where one is of none of `blocks`, or a block does not stand whole.
  static std::vector<Place> Find(std::span<const std::int32_t> tokens, std::int64_t position,
                                 const SoftBlocks& blocks);

  void Append(const std::vector<Place>& places) {
    places_.insert(places_.end(), places.begin(), places.end());
  }
  // Forgets the places from `position` on; none may lie around it.
  void Rewind(std::int64_t position);
  bool empty() const { return places_.empty(); }
  // The place that `position` lies in, null: none.
  const Place* At(std::int64_t position) const;

 private:
  std::vector<Place> places_;  // rising
};

}  // namespace culet
