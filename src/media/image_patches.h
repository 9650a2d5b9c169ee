// A resized picture → the numbers that a vision tower takes.
// Source: transformers, Gemma4ImageProcessor, Gemma4UnifiedImageProcessor and the video processors.
#pragma once

#include <cstdint>
#include <vector>

#include "media/image.h"
#include "media/resize.h"
#include "media/target_size.h"

namespace culet {

// How a picture becomes patches. Initial values are the published ones.
struct ImageSettings {
  std::int64_t max_soft_tokens = 280;  // one of kSoftTokenBudgets
  PatchSizes sizes;
  // Whether the processor normalises by mean 0 and deviation 1: pixels are then divided by 255
  // instead of multiplied by 1/255, which differs in the last bit. Video has it, pictures not.
  bool do_normalize = false;
  ResizeRule resize = ResizeRule::kPillow;
};

// What the model takes: patches of 16 × 16 pixels for a vision tower (E2B, E4B, 26B-A4B, 31B), or
// blocks of 48 × 48 for a projection without one (12B).
enum class PatchKind { kPatches, kBlocks };

struct Patches {
  std::int64_t grid_width = 0;   // position of patch i: x = i mod grid_width
  std::int64_t grid_height = 0;  //                      y = i div grid_width
  std::int64_t side = 0;         // in pixels: 16 or 48
  std::vector<float> values;     // [grid_height · grid_width, side · side · 3], in 0 … 1;
                                 // inside a patch: row, column, channel
  std::int64_t count() const { return grid_width * grid_height; }
  std::int64_t width() const { return side * side * 3; }
};

// The picture in its TargetSize.
RgbImage ResizeToBudget(const RgbImage& image, const ImageSettings& settings);

// Cuts a picture of whole tokens, such as ResizeToBudget gives, into patches.
Patches CutPatches(const RgbImage& image, const ImageSettings& settings, PatchKind kind);

// Both. Soft tokens: count() for blocks, count() / pooling_kernel_size² for patches.
Patches ImagePatches(const RgbImage& image, const ImageSettings& settings, PatchKind kind);

}  // namespace culet
