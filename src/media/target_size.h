// How large a picture is made before it is cut into patches, and how many soft tokens it becomes.
// Source: transformers, get_aspect_ratio_preserving_size (the same for pictures and frames).
#pragma once

#include <array>
#include <cstdint>

#include "media/image.h"

namespace culet {

// What a request may ask for; the largest picture has at most so many soft tokens.
inline constexpr std::array<std::int64_t, 5> kSoftTokenBudgets = {70, 140, 280, 560, 1120};
bool IsSoftTokenBudget(std::int64_t tokens);

// Throws Error(kInvalidArgument) where `tokens` is not one of them; `place` is the option or field.
void RequireSoftTokenBudget(const char* place, std::int64_t tokens);

// Sides of patches, in pixels and in patches: one soft token stands for a square of
// patch_size · pooling_kernel_size pixels (48).
struct PatchSizes {
  std::int64_t patch_size = 16;
  std::int64_t pooling_kernel_size = 3;
  std::int64_t token_side() const { return patch_size * pooling_kernel_size; }
};

// The size that fills the budget as nearly as whole tokens allow, the aspect ratio kept up to
// rounding down. Small pictures grow. Throws Error(kInvalidArgument) where a side is not from 1 to
// 2^24.
ImageSize TargetSize(ImageSize image, std::int64_t max_soft_tokens, const PatchSizes& sizes = {});

// Soft tokens of a picture of that size: those of its TargetSize.
std::int64_t ImageSoftTokens(ImageSize image, std::int64_t max_soft_tokens,
                             const PatchSizes& sizes = {});

}  // namespace culet
