// A picture of any format: it is refused, or upright RGB of the size that it says, which every
// budget of soft tokens can take.
#include <span>

#include "base/error.h"
#include "fuzz/fuzz.h"
#include "media/image_file.h"
#include "media/image_patches.h"

namespace culet::fuzz {

void FuzzOne(std::string_view input) {
  MediaLimits limits;
  limits.image_pixels = 1 << 18;  // more only takes longer
  try {
    MediaSource source = MediaSource::Of(std::as_bytes(std::span(input)), "picture");
    const RgbImage image = LoadImage(source, limits);
    Require(image.size.height >= 1 && image.size.width >= 1, "a picture has pixels");
    Require(image.size.height * image.size.width <= limits.image_pixels, "the limit holds");
    Require(
        image.pixels.size() == static_cast<std::size_t>(3 * image.size.height * image.size.width),
        "as many as it says");
    ImageSettings settings;
    settings.max_soft_tokens = 70;
    const Patches patches = ImagePatches(image, settings, PatchKind::kBlocks);
    Require(patches.count() >= 1 && patches.count() <= 70, "the budget holds");
    for (const float value : patches.values) {
      Require(value >= 0.0F && value <= 1.0F, "values are from 0 to 1");
    }
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
