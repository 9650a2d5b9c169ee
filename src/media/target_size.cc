#include "media/target_size.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace culet {
namespace {

constexpr std::int64_t kMaxSide = std::int64_t{1} << 24;

// ⌊side / token_side⌋ whole tokens, in pixels.
std::int64_t WholeTokens(double side, std::int64_t token_side) {
  return static_cast<std::int64_t>(std::floor(side / static_cast<double>(token_side))) * token_side;
}

}  // namespace

bool IsSoftTokenBudget(std::int64_t tokens) {
  return std::find(kSoftTokenBudgets.begin(), kSoftTokenBudgets.end(), tokens) !=
         kSoftTokenBudgets.end();
}

void RequireSoftTokenBudget(const char* place, std::int64_t tokens) {
  if (IsSoftTokenBudget(tokens)) return;
  throw Error(ErrorKind::kInvalidArgument,
              std::string(place) + " is " + std::to_string(tokens) +
                  "; a picture has a budget of 70, 140, 280, 560 or 1120 soft tokens");
}

ImageSize TargetSize(ImageSize image, std::int64_t max_soft_tokens, const PatchSizes& sizes) {
  if (image.height < 1 || image.width < 1 || image.height > kMaxSide || image.width > kMaxSide) {
    throw Error(ErrorKind::kInvalidArgument, "a picture of " + std::to_string(image.width) + " × " +
                                                 std::to_string(image.height) +
                                                 " pixels; each side must be from 1 to " +
                                                 std::to_string(kMaxSide));
  }
  const std::int64_t side = sizes.token_side();
  const double budget_pixels = static_cast<double>(max_soft_tokens * side * side);
  const double height = static_cast<double>(image.height);
  const double width = static_cast<double>(image.width);
  // The order of these operations is the reference's: another rounds across a multiple of 48.
  const double factor = std::sqrt(budget_pixels / (height * width));
  ImageSize target{WholeTokens(factor * height, side), WholeTokens(factor * width, side)};
  const std::int64_t longest = max_soft_tokens * side;
  if (target.height == 0) {
    target.height = side;
    target.width = std::min(image.width / image.height * side, longest);
  } else if (target.width == 0) {
    target.width = side;
    target.height = std::min(image.height / image.width * side, longest);
  }
  return target;
}

std::int64_t ImageSoftTokens(ImageSize image, std::int64_t max_soft_tokens,
                             const PatchSizes& sizes) {
  const ImageSize target = TargetSize(image, max_soft_tokens, sizes);
  return (target.height / sizes.token_side()) * (target.width / sizes.token_side());
}

}  // namespace culet
