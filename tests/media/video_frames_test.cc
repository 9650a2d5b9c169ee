// If this fails, other frames of a clip are shown than the reference shows, or with other times.
#include "media/video_frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "media/patterns.h"

namespace culet {
namespace {

using testing::Checksum;
using ::testing::ElementsAre;
using testing::Goldens;

TEST(VideoFrames, EqualTheReferenceForEveryLengthAndCount) {
  std::vector<std::int32_t> chosen;
  for (std::int64_t total = 1; total <= 300; ++total) {
    for (std::int64_t wanted = 1; wanted <= std::min<std::int64_t>(total, 64); ++wanted) {
      for (const std::int64_t frame : ChooseFrames(total, wanted)) {
        chosen.push_back(static_cast<std::int32_t>(frame));
      }
    }
  }
  EXPECT_EQ(Checksum(chosen), Goldens().at("frames").at("chosen").get<std::string>());
}

TEST(VideoFrames, ByRateThereAreAsManyAsTheReferenceTakes) {
  std::vector<std::int32_t> counts;
  for (std::int64_t total = 1; total < 400; total += 7) {
    for (const double clip : {10.0, 24000.0 / 1001.0, 24.0, 25.0, 30000.0 / 1001.0, 30.0, 60.0}) {
      for (const double rate : {0.1, 0.5, 1.0, 2.0, 7.3}) {
        counts.push_back(static_cast<std::int32_t>(FramesAtRate(total, clip, rate)));
      }
    }
  }
  EXPECT_EQ(Checksum(counts), Goldens().at("frames").at("by_rate").get<std::string>());
}

TEST(VideoFrames, AShortClipIsShownWhole) {
  EXPECT_THAT(ChooseFrames(3, 32), ElementsAre(0, 1, 2));
  EXPECT_THAT(ChooseFramesByTime(std::vector<double>{0.0, 5.0, 5.1}, 6.0, 3), ElementsAre(0, 1, 2));
  EXPECT_EQ(FramesAtRate(10, 10.0, 60.0), 10);
}

TEST(VideoFrames, TimesAreWrittenAsTheReferenceWritesThem) {
  for (const auto& [name, text] : Goldens().at("frames").at("stamps").items()) {
    const double frame = std::stod(name);
    const double fps = std::stod(name.substr(name.find(' ')));
    EXPECT_EQ(TimestampText(frame / fps), text.get<std::string>()) << name;
  }
  EXPECT_EQ(TimestampText(59.999), "00:59");
  EXPECT_EQ(TimestampText(3725.9), "62:05");
  EXPECT_EQ(TimestampText(-0.04), "00:00");
}

TEST(VideoFrames, ByTimeAndByIndexAreTheSameWhereTheRateIsConstant) {
  for (const std::int64_t total : {7, 64, 100, 299}) {
    std::vector<double> times;
    for (std::int64_t i = 0; i < total; ++i) times.push_back(static_cast<double>(i) / 32.0);
    for (const std::int64_t wanted : {1, 2, 4, 8, 32}) {
      EXPECT_EQ(ChooseFramesByTime(times, static_cast<double>(total) / 32.0, wanted),
                ChooseFrames(total, wanted));
    }
  }
}

TEST(VideoFrames, AFrameThatStandsLongIsShownOnce) {
  // Ten frames in the first second, one that stays for nine.
  std::vector<double> times;
  for (int i = 0; i < 10; ++i) times.push_back(i / 10.0);
  times.push_back(1.0);
  EXPECT_THAT(ChooseFramesByTime(times, 10.0, 5), ElementsAre(0, 10));
  EXPECT_EQ(ConstantRate(times, 0.001), 10.0);
  times.push_back(3.0);
  EXPECT_EQ(ConstantRate(times, 0.001), std::nullopt);
}

TEST(VideoFrames, ARateIsConstantUpToTheRoundingOfTimes) {
  std::vector<double> times;
  for (int i = 0; i < 500; ++i) times.push_back(std::round(i * 1001.0 / 30.0) / 1000.0);
  const auto rate = ConstantRate(times, 0.001);
  ASSERT_TRUE(rate.has_value());
  EXPECT_NEAR(*rate, 29.97, 0.001);
  EXPECT_EQ(ConstantRate(std::vector<double>{0.0}, 0.001), std::nullopt);
  EXPECT_EQ(ConstantRate(std::vector<double>{1.0, 1.0}, 0.001), std::nullopt);
}

}  // namespace
}  // namespace culet
