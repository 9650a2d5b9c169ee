// If this fails, a model's own settings of pictures and sounds are not followed, or ones that culet
// does not do pass unseen.
#include "media/processor_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteText;

// As transformers 5.24.0 saves it for E2B.
constexpr const char* kPublished = R"({
  "audio_ms_per_token": 40, "audio_seq_length": 750, "image_seq_length": 280,
  "processor_class": "Gemma4Processor",
  "feature_extractor": {"dither": 0.0, "feature_extractor_type": "Gemma4AudioFeatureExtractor",
    "feature_size": 128, "fft_length": 512, "fft_overdrive": false, "frame_length": 320,
    "hop_length": 160, "input_scale_factor": 1.0, "max_frequency": 8000.0, "mel_floor": 0.001,
    "min_frequency": 0.0, "padding_side": "right", "padding_value": 0.0, "per_bin_mean": null,
    "per_bin_stddev": null, "preemphasis": 0.0, "preemphasis_htk_flavor": true,
    "return_attention_mask": true, "sampling_rate": 16000},
  "image_processor": {"do_convert_rgb": true, "do_normalize": false, "do_rescale": true,
    "do_resize": true, "image_mean": [0.0, 0.0, 0.0], "image_processor_type": "Gemma4ImageProcessor",
    "image_std": [1.0, 1.0, 1.0], "max_soft_tokens": 280, "patch_size": 16,
    "pooling_kernel_size": 3, "resample": 3, "rescale_factor": 0.00392156862745098},
  "video_processor": {"do_convert_rgb": true, "do_normalize": true, "do_rescale": true,
    "do_resize": true, "do_sample_frames": true, "image_mean": [0.0, 0.0, 0.0],
    "image_std": [1.0, 1.0, 1.0], "max_soft_tokens": 70, "num_frames": 32, "patch_size": 16,
    "pooling_kernel_size": 3, "resample": 3, "rescale_factor": 0.00392156862745098,
    "return_metadata": false, "video_processor_type": "Gemma4VideoProcessor"}})";

ProcessorConfig Parse(const Json& json) {
  return ParseProcessorConfig(json, "processor_config.json");
}

Json Changed(const char* part, const char* field, const Json& value) {
  Json json = Json::parse(kPublished);
  json[part][field] = value;
  return json;
}

TEST(ProcessorConfig, ThePublishedFileSaysWhatTheDefaultsAre) {
  const ProcessorConfig config = Parse(Json::parse(kPublished));
  const ProcessorConfig defaults;
  EXPECT_EQ(config.sound, SoundKind::kMel);
  EXPECT_EQ(config.image.max_soft_tokens, defaults.image.max_soft_tokens);
  EXPECT_EQ(config.image.max_soft_tokens, 280);
  EXPECT_FALSE(config.image.do_normalize);
  EXPECT_TRUE(defaults.video.frame.do_normalize);
  EXPECT_TRUE(config.video.frame.do_normalize);
  EXPECT_EQ(config.video.frame.max_soft_tokens, 70);
  EXPECT_EQ(defaults.video.frame.max_soft_tokens, 70);
  EXPECT_EQ(config.video.num_frames, 32);
  EXPECT_EQ(config.video.fps, std::nullopt);
}

TEST(ProcessorConfig, SettingsAreFollowed) {
  EXPECT_EQ(Parse(Changed("image_processor", "max_soft_tokens", 1120)).image.max_soft_tokens, 1120);
  EXPECT_EQ(Parse(Changed("image_processor", "patch_size", 8)).image.sizes.token_side(), 24);
  EXPECT_EQ(Parse(Changed("image_processor", "pooling_kernel_size", 2)).image.sizes.token_side(),
            32);
  EXPECT_EQ(Parse(Changed("video_processor", "num_frames", 8)).video.num_frames, 8);
  Json by_rate = Changed("video_processor", "num_frames", nullptr);
  EXPECT_EQ(Parse(by_rate).video.num_frames, std::nullopt);
  by_rate["video_processor"]["fps"] = 2;
  EXPECT_EQ(Parse(by_rate).video.fps, 2.0);
}

TEST(ProcessorConfig, TheTwelfthsHearsSamples) {
  Json json = Json::parse(kPublished);
  json["feature_extractor"] = Json::parse(R"({"audio_samples_per_token": 640,
    "feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor", "feature_size": 640,
    "padding_side": "right", "padding_value": 0.0, "return_attention_mask": true,
    "sampling_rate": 16000})");
  EXPECT_EQ(Parse(json).sound, SoundKind::kBlocks);
  json.erase("feature_extractor");
  EXPECT_EQ(Parse(json).sound, std::nullopt);
}

TEST(ProcessorConfig, WhatCuletDoesNotDoIsRefusedByName) {
  struct Refusal {
    const char* part;
    const char* field;
    const char* value;
    const char* expected;
  };
  const Refusal refusals[] = {
      {"image_processor", "max_soft_tokens", "281", "70, 140, 280, 560 or 1120"},
      {"image_processor", "max_soft_tokens", "\"all\"", "an integer"},
      {"image_processor", "patch_size", "0", "an integer from 1 to 256"},
      {"image_processor", "pooling_kernel_size", "17", "an integer from 1 to 16"},
      {"image_processor", "resample", "2", "3"},
      {"image_processor", "rescale_factor", "0.5", "0.00392156862745098"},
      {"image_processor", "do_resize", "false", "1"},
      {"image_processor", "do_normalize", "1", "true or false"},
      {"image_processor", "image_mean", "[0.5, 0.5, 0.5]", "0.0 for every channel"},
      {"image_processor", "image_std", "[0.5, 1, 1]", "1.0 for every channel"},
      {"image_processor", "do_pan_and_scan", "true", "culet knows no such field"},
      {"video_processor", "max_soft_tokens", "71", "70, 140, 280, 560 or 1120"},
      {"video_processor", "num_frames", "0", "an integer from 1"},
      {"video_processor", "fps", "1", "null while num_frames is 32"},
      {"video_processor", "do_sample_frames", "false", "1"},
      {"feature_extractor", "sampling_rate", "22050", "16000"},
      {"feature_extractor", "feature_size", "80", "128"},
      {"feature_extractor", "mel_floor", "1e-5", "0.001"},
      {"feature_extractor", "preemphasis", "0.97", "0.0"},
      {"feature_extractor", "dither", "0.0001", "0.0"},
      {"feature_extractor", "per_bin_mean", "[0]", "null"},
      {"feature_extractor", "frame_length", "400", "320"},
      {"feature_extractor", "feature_extractor_type", "\"WhisperFeatureExtractor\"",
       "\"Gemma4AudioFeatureExtractor\""},
      {"feature_extractor", "chunk_length", "30", "culet knows no such field"},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.field);
    std::string message;
    try {
      Parse(Changed(refusal.part, refusal.field, Json::parse(refusal.value)));
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_THAT(message, HasSubstr("processor_config.json: " + std::string(refusal.part) + "." +
                                   refusal.field + " is "));
    EXPECT_THAT(message, HasSubstr(refusal.expected));
  }
  EXPECT_THAT(
      ErrorOf(ErrorKind::kUnsupported, [] { Parse(Json::parse(R"({"depth_processor": 1})")); }),
      HasSubstr("depth_processor is 1; culet knows no such field of a processor config"));
}

TEST(ProcessorConfig, OlderFoldersHaveAFileForEachPart) {
  TemporaryFolder folder;
  const ProcessorConfig none = LoadProcessorConfig(FileSystem::Real(), folder.path());
  EXPECT_EQ(none.image.max_soft_tokens, 280);
  EXPECT_EQ(none.sound, std::nullopt);

  const Json published = Json::parse(kPublished);
  Json flat = published["image_processor"];
  flat["max_soft_tokens"] = 560;
  WriteText(folder.path() / "preprocessor_config.json", flat.dump());
  Json video = published["video_processor"];
  video["num_frames"] = 5;
  WriteText(folder.path() / "video_preprocessor_config.json", video.dump());
  ProcessorConfig config = LoadProcessorConfig(FileSystem::Real(), folder.path());
  EXPECT_EQ(config.image.max_soft_tokens, 560);
  EXPECT_EQ(config.video.num_frames, 5);
  EXPECT_EQ(config.sound, std::nullopt);

  flat.update(published["feature_extractor"]);
  WriteText(folder.path() / "preprocessor_config.json", flat.dump());
  EXPECT_EQ(LoadProcessorConfig(FileSystem::Real(), folder.path()).sound, SoundKind::kMel);

  // What processor_config.json has comes first.
  WriteText(folder.path() / "processor_config.json", kPublished);
  config = LoadProcessorConfig(FileSystem::Real(), folder.path());
  EXPECT_EQ(config.image.max_soft_tokens, 280);
  EXPECT_EQ(config.video.num_frames, 32);
}

}  // namespace
}  // namespace culet
