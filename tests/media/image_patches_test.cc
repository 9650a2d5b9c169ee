// If this fails, pixels reach the model in another order or with other values than the reference's.
#include "media/image_patches.h"

#include <gtest/gtest.h>

#include "media/patterns.h"

namespace culet {
namespace {

using testing::Checksum;
using testing::Goldens;
using testing::Picture;
using testing::SizeOf;

TEST(ImagePatches, EqualTheReferenceProcessorsBitForBit) {
  for (const Json& golden : Goldens().at("patches")) {
    SCOPED_TRACE(golden.dump());
    const RgbImage image =
        Picture(golden.at("pattern").get<std::string>(), golden.at("seed").get<std::uint64_t>(),
                SizeOf(golden.at("from")));
    const ImageSize grid = SizeOf(golden.at("grid"));
    for (const ResizeRule rule : {ResizeRule::kPillow, ResizeRule::kTorchvision}) {
      const Json& expected = golden.at(rule == ResizeRule::kPillow ? "pillow" : "torchvision");
      ImageSettings settings;
      settings.max_soft_tokens = golden.at("budget").get<std::int64_t>();
      settings.resize = rule;
      const Patches patches = ImagePatches(image, settings, PatchKind::kPatches);
      EXPECT_EQ((ImageSize{patches.grid_height, patches.grid_width}), grid);
      EXPECT_EQ(patches.width(), 768);
      EXPECT_EQ(Checksum(patches.values), expected.at("patches").get<std::string>());

      const Patches blocks = ImagePatches(image, settings, PatchKind::kBlocks);
      EXPECT_EQ((ImageSize{blocks.grid_height * 3, blocks.grid_width * 3}), grid);
      EXPECT_EQ(blocks.width(), 6912);
      EXPECT_EQ(blocks.count(), ImageSoftTokens(image.size, settings.max_soft_tokens));
      EXPECT_EQ(Checksum(blocks.values), expected.at("blocks").get<std::string>());

      settings.do_normalize = true;  // as processors of video do
      EXPECT_EQ(Checksum(ImagePatches(image, settings, PatchKind::kPatches).values),
                expected.at("divided").get<std::string>());
    }
  }
}

TEST(ImagePatches, APatchHasItsPixelsRowByRowAndItsPlaceInTheGrid) {
  RgbImage image{{48, 96}, std::vector<std::uint8_t>(48 * 96 * 3)};
  const std::size_t y = 17, x = 35;  // patch (2, 1), row 1, column 3
  image.pixels[(y * 96 + x) * 3 + 2] = 255;
  const Patches patches = CutPatches(image, {}, PatchKind::kPatches);
  ASSERT_EQ(patches.count(), 18);
  const std::size_t at = (1 * 6 + 2) * 768 + (1 * 16 + 3) * 3 + 2;
  for (std::size_t i = 0; i < patches.values.size(); ++i) {
    ASSERT_EQ(patches.values[i], i == at ? 1.0F : 0.0F) << i;
  }
}

}  // namespace
}  // namespace culet
