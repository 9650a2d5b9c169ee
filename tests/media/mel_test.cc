// If this fails, a model hears something else than the reference does.
#include "media/mel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "checkpoint/safetensors.h"
#include "checkpoint/tiny_model.h"
#include "media/patterns.h"

namespace culet {
namespace {

using testing::Checksum;
using testing::ErrorOf;
using testing::Goldens;
using ::testing::HasSubstr;

class GoldenSounds {
 public:
  GoldenSounds()
      : file_(SafetensorsFile::Open(FileSystem::Real(), testing::MediaGolden("mel.safetensors"))) {}
  std::vector<float> Values(const std::string& name) const {
    const TensorView tensor = file_.tensors().at(name);
    std::vector<float> values(tensor.bytes.size() / sizeof(float));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

 private:
  SafetensorsFile file_;
};

// Pure tones are loud in one bin: the reference's transform in float is the noise of the others.
double Limit(const std::string& name) {
  return name == "tone" || name == "high tone" ? 1e-3 : 1e-4;
}

double Largest(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return largest;
}

TEST(Mel, FeaturesEqualTheReferenceFrameForFrame) {
  const GoldenSounds sounds;
  for (const auto& [name, counts] : Goldens().at("sound").at("counts").items()) {
    if (name.find("30 s") != std::string::npos || name == "a sample more" || name == "37 s")
      continue;
    SCOPED_TRACE(name);
    const std::vector<float> samples = sounds.Values("samples." + name);
    const MelFeatures mel = Mel(samples, name);
    EXPECT_EQ(mel.frames, counts.at(0).get<std::int64_t>());
    EXPECT_EQ(MelSoftTokens(static_cast<std::int64_t>(samples.size())),
              counts.at(1).get<std::int64_t>());
    EXPECT_EQ(mel.samples_cut, 0);
    const std::vector<float> expected = sounds.Values("features." + name);
    ASSERT_EQ(mel.values.size(), expected.size());
    const double largest = Largest(mel.values, expected);
    EXPECT_LE(largest, Limit(name));
    RecordProperty(name, std::to_string(1e9 * largest));  // in 1e-9
  }
}

TEST(Mel, HearsThirtySecondsAndSaysWhatItDoesNot) {
  const GoldenSounds sounds;
  for (const std::int64_t length : {480'000, 480'001, 592'000}) {
    const std::string name = length == 480'000   ? "exactly 30 s"
                             : length == 480'001 ? "a sample more"
                                                 : "37 s";
    SCOPED_TRACE(name);
    std::vector<float> samples;
    std::uint64_t state = 9;
    for (std::int64_t i = 0; i < length; ++i) {
      samples.push_back(static_cast<float>(NextRandom(&state) >> 48) / 65536.0F - 0.5F);
    }
    const MelFeatures mel = Mel(samples, name);
    EXPECT_EQ(mel.frames, Goldens().at("sound").at("counts").at(name).at(0).get<std::int64_t>());
    EXPECT_EQ(mel.samples_cut, length - 480'000);
    std::vector<float> ends(mel.values.begin(), mel.values.begin() + 256);
    ends.insert(ends.end(), mel.values.end() - 256, mel.values.end());
    EXPECT_LE(Largest(ends, sounds.Values("first and last." + name)), 1e-4);
  }
}

TEST(Mel, FramesAndSoftTokensAreTheReferencesForEveryLength) {
  std::vector<std::int32_t> counts;
  const auto add = [&](std::int64_t samples) {
    counts.push_back(static_cast<std::int32_t>(MelFrames(samples)));
    counts.push_back(static_cast<std::int32_t>(MelSoftTokens(samples)));
  };
  for (std::int64_t samples = 1; samples < 3000; ++samples) add(samples);
  for (std::int64_t samples = 479'000; samples < 480'700; samples += 13) add(samples);
  EXPECT_EQ(Checksum(counts), Goldens().at("sound").at("table").get<std::string>());
}

TEST(Mel, ASoundWithoutAFrameIsRefused) {
  EXPECT_THAT(
      ErrorOf(ErrorKind::kInvalidArgument, [] { Mel(std::vector<float>(160), "blip.wav"); }),
      HasSubstr("blip.wav: the sound has 160 samples at 16 kHz; one that a model can hear"));
  EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument, [] { CutSampleBlocks({}, "void.wav"); }),
              HasSubstr("void.wav: the sound has no samples"));
}

TEST(SampleBlocks, KeepEverySampleAndEndInZeros) {
  std::vector<float> samples(1281);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<float>(i + 1);
  const SampleBlocks blocks = CutSampleBlocks(samples, "sound");
  EXPECT_EQ(blocks.steps, 3);
  EXPECT_EQ(blocks.steps, SampleBlockCount(1281));
  ASSERT_EQ(blocks.values.size(), 1920u);
  for (std::size_t i = 0; i < blocks.values.size(); ++i) {
    ASSERT_EQ(blocks.values[i], i < 1281 ? static_cast<float>(i + 1) : 0.0F);
  }
  EXPECT_EQ(SampleBlockCount(1), 1);
  EXPECT_EQ(SampleBlockCount(640), 1);
  EXPECT_EQ(SampleBlockCount(512'000), 800);
}

}  // namespace
}  // namespace culet
