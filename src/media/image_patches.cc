#include "media/image_patches.h"

#include <array>
#include <cstddef>

#include "base/error.h"

namespace culet {
namespace {

// The value of each level, rounded to float as the reference does: 255 · (1/255) is 1 both ways,
// but 126 levels differ in their last bit.
std::array<float, 256> Levels(bool divided) {
  std::array<float, 256> levels{};
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const float level = static_cast<float>(i);
    levels[i] = divided ? level / 255.0F : level * static_cast<float>(1.0 / 255.0);
  }
  return levels;
}

}  // namespace

RgbImage ResizeToBudget(const RgbImage& image, const ImageSettings& settings) {
  return ResizeBicubic(image, TargetSize(image.size, settings.max_soft_tokens, settings.sizes),
                       settings.resize);
}

Patches CutPatches(const RgbImage& image, const ImageSettings& settings, PatchKind kind) {
  const std::int64_t side =
      kind == PatchKind::kBlocks ? settings.sizes.token_side() : settings.sizes.patch_size;
  CULET_DCHECK(image.size.height % side == 0 && image.size.width % side == 0);
  const std::array<float, 256> levels = Levels(settings.do_normalize);
  Patches patches;
  patches.side = side;
  patches.grid_height = image.size.height / side;
  patches.grid_width = image.size.width / side;
  patches.values.resize(static_cast<std::size_t>(patches.count() * patches.width()));
  float* out = patches.values.data();
  const std::int64_t image_row = 3 * image.size.width;
  for (std::int64_t y = 0; y < patches.grid_height; ++y) {
    for (std::int64_t x = 0; x < patches.grid_width; ++x) {
      const std::uint8_t* row = image.pixels.data() + y * side * image_row + x * side * 3;
      for (std::int64_t r = 0; r < side; ++r, row += image_row) {
        for (std::int64_t i = 0; i < 3 * side; ++i) *out++ = levels[row[i]];
      }
    }
  }
  return patches;
}

Patches ImagePatches(const RgbImage& image, const ImageSettings& settings, PatchKind kind) {
  return CutPatches(ResizeToBudget(image, settings), settings, kind);
}

}  // namespace culet
