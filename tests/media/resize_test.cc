// If this fails, pictures are resized otherwise than Pillow or torchvision do, and every soft token
// behind them is off.
#include "media/resize.h"

#include <gtest/gtest.h>

#include "media/patterns.h"

namespace culet {
namespace {

using testing::Checksum;
using testing::Goldens;
using testing::Picture;
using testing::SizeOf;

TEST(Resize, EqualsPillowAndTorchvisionBitForBit) {
  ASSERT_GE(Goldens().at("resize").size(), 60u);
  for (const Json& golden : Goldens().at("resize")) {
    SCOPED_TRACE(golden.dump());
    const RgbImage image =
        Picture(golden.at("pattern").get<std::string>(), golden.at("seed").get<std::uint64_t>(),
                SizeOf(golden.at("from")));
    const ImageSize target = SizeOf(golden.at("to"));
    const RgbImage pillow = ResizeBicubic(image, target, ResizeRule::kPillow);
    EXPECT_EQ(pillow.size, target);
    EXPECT_EQ(Checksum(pillow.pixels), golden.at("pillow").get<std::string>());
    // Of one picture torch itself makes nothing.
    const std::string torchvision = golden.at("torchvision").get<std::string>();
    if (torchvision.empty()) continue;
    EXPECT_EQ(Checksum(ResizeBicubic(image, target, ResizeRule::kTorchvision).pixels), torchvision);
  }
}

TEST(Resize, APlainPictureStaysPlain) {
  for (const ImageSize target : {ImageSize{48, 48}, {3, 1000}, {1, 1}, {97, 13}}) {
    const RgbImage resized = ResizeBicubic(Picture("plain", 0, {31, 77}), target);
    EXPECT_EQ(resized.pixels, Picture("plain", 0, target).pixels);
  }
}

TEST(Resize, TheSameSizeIsTheSamePicture) {
  const RgbImage image = Picture("noise", 3, {20, 30});
  EXPECT_EQ(ResizeBicubic(image, {20, 30}).pixels, image.pixels);
}

}  // namespace
}  // namespace culet
