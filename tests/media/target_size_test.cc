// If this fails, a picture has another number of soft tokens than the reference gives it.
#include "media/target_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/tiny_model.h"
#include "media/patterns.h"

namespace culet {
namespace {

using testing::Checksum;
using testing::ErrorOf;
using testing::Goldens;
using ::testing::HasSubstr;

// swept_sizes of the script that makes the goldens.
std::vector<ImageSize> SweptSizes() {
  std::vector<ImageSize> sizes;
  for (std::int64_t height = 1; height <= 100; ++height) {
    for (std::int64_t width = 1; width <= 100; ++width) sizes.push_back({height, width});
  }
  std::uint64_t state = 7;
  for (int i = 0; i < 95'000; ++i) {
    const auto height = static_cast<std::int64_t>(NextRandom(&state) % 30000) + 1;
    const auto width = static_cast<std::int64_t>(NextRandom(&state) % 30000) + 1;
    sizes.push_back({height, width});
  }
  for (const std::int64_t longer :
       {1, 47, 48, 49, 999, 3360, 6720, 13440, 26880, 53760, 100'000, 1'000'000}) {
    for (const std::int64_t shorter : {1, 2, 3, 10, 47, 48, 49, 100}) {
      sizes.push_back({shorter, longer});
      sizes.push_back({longer, shorter});
    }
  }
  return sizes;
}

TEST(TargetSize, EqualsTheReferenceOnAHundredThousandSizesAndEveryBudget) {
  const Json& golden = Goldens().at("sizes");
  const std::vector<ImageSize> sizes = SweptSizes();
  ASSERT_EQ(sizes.size(), golden.at("swept").get<std::size_t>());
  for (const std::int64_t budget : kSoftTokenBudgets) {
    std::vector<std::int32_t> targets;
    for (const ImageSize size : sizes) {
      const ImageSize target = TargetSize(size, budget);
      targets.push_back(static_cast<std::int32_t>(target.height));
      targets.push_back(static_cast<std::int32_t>(target.width));
      const std::int64_t tokens = ImageSoftTokens(size, budget);
      ASSERT_TRUE(tokens >= 1 && tokens <= budget);
      ASSERT_EQ(tokens, target.height / 48 * (target.width / 48));
    }
    EXPECT_EQ(Checksum(targets),
              golden.at("checksums").at(std::to_string(budget)).get<std::string>());
  }
}

TEST(TargetSize, IsAsTheReferenceHasItOnKnownShapes) {
  for (const auto& [name, targets] : Goldens().at("sizes").at("shown").items()) {
    SCOPED_TRACE(name);
    const std::size_t cross = name.find('x');
    const ImageSize size{std::stoll(name.substr(0, cross)), std::stoll(name.substr(cross + 1))};
    for (std::size_t i = 0; i < kSoftTokenBudgets.size(); ++i) {
      EXPECT_EQ(TargetSize(size, kSoftTokenBudgets[i]), testing::SizeOf(targets.at(i)));
    }
  }
}

TEST(TargetSize, ABudgetIsOneOfFive) {
  EXPECT_NO_THROW(RequireSoftTokenBudget("image_tokens", 560));
  EXPECT_THAT(
      ErrorOf(ErrorKind::kInvalidArgument, [] { RequireSoftTokenBudget("image_tokens", 281); }),
      HasSubstr("image_tokens is 281; a picture has a budget of 70, 140, 280, 560 or 1120"));
}

TEST(TargetSize, APictureWithoutPixelsIsRefused) {
  EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument,
                      [] {
                        TargetSize({0, 5}, 280);
                      }),
              HasSubstr("a picture of 5 × 0 pixels"));
}

}  // namespace
}  // namespace culet
