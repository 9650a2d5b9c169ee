#include "media/processor_config.h"

#include <cmath>
#include <string_view>

#include "base/config_fields.h"
#include "base/error.h"
#include "media/mel.h"

namespace culet {
namespace {

constexpr std::uint64_t kMaxFileBytes = 1 << 20;

// What has no effect on the arrays: names, what callers of the reference override, padding.
constexpr std::string_view kHarmless[] = {"processor_class",
                                          "image_processor_type",
                                          "video_processor_type",
                                          "feature_extractor_type",
                                          "auto_map",
                                          "image_seq_length",
                                          "audio_seq_length",
                                          "audio_ms_per_token",
                                          "model_input_names",
                                          "data_format",
                                          "input_data_format",
                                          "default_to_square",
                                          "size",
                                          "device",
                                          "disable_grouping",
                                          "return_tensors",
                                          "return_metadata",
                                          "video_metadata",
                                          "return_attention_mask",
                                          "padding_side",
                                          "preemphasis_htk_flavor"};

// A field of which culet does one value. null means it too, as does its absence.
struct Only {
  const char* key;
  double value;  // booleans as 0 and 1
};
constexpr Only kOnlyOfPictures[] = {
    {"do_convert_rgb", 1}, {"do_resize", 1}, {"do_rescale", 1},     {"rescale_factor", 1.0 / 255.0},
    {"resample", 3},       {"do_pad", 0},    {"do_center_crop", 0}, {"do_sample_frames", 1},
};
constexpr Only kOnlyOfSounds[] = {
    {"sampling_rate", kSampleRate}, {"padding_value", 0}, {"dither", 0},
    {"fft_overdrive", 0},           {"preemphasis", 0},   {"input_scale_factor", 1},
};
constexpr Only kOnlyOfMel[] = {
    {"feature_size", kMelBins}, {"frame_length", 320}, {"frame_length_ms", 20},
    {"hop_length", kMelHop},    {"hop_length_ms", 10}, {"fft_length", 512},
    {"mel_floor", 0.001},       {"min_frequency", 0},  {"max_frequency", 8000},
};
constexpr Only kOnlyOfBlocks[] = {
    {"feature_size", kSamplesPerBlock},
    {"audio_samples_per_token", kSamplesPerBlock},
};

bool IsNumber(const Json& value, double number) {
  if (value.is_boolean()) return (value.get<bool>() ? 1.0 : 0.0) == number;
  return value.is_number() && std::fabs(value.get<double>() - number) <= 1e-9 * std::fabs(number);
}

void Require(ConfigFields& fields, std::span<const Only> only) {
  for (const Only& field : only) {
    const Json* value = fields.Find(field.key);
    if (value == nullptr || IsNumber(*value, field.value)) continue;
    fields.Refuse(field.key, JsonExcerpt(Json(field.value)) + ", the only value that culet does",
                  ErrorKind::kUnsupported);
  }
}

// One number for all channels, or one for each.
void RequireEach(ConfigFields& fields, const char* key, double number) {
  const Json* value = fields.Find(key);
  if (value == nullptr) return;
  bool fine = IsNumber(*value, number);
  if (value->is_array()) {
    fine = !value->empty();
    for (const Json& item : *value) fine = fine && IsNumber(item, number);
  }
  if (fine) return;
  fields.Refuse(key,
                JsonExcerpt(Json(number)) + " for every channel, the only value that culet does",
                ErrorKind::kUnsupported);
}

void ReadImage(ConfigFields& fields, ImageSettings* settings) {
  Require(fields, kOnlyOfPictures);
  RequireEach(fields, "image_mean", 0.0);
  RequireEach(fields, "image_std", 1.0);
  settings->do_normalize = fields.Bool("do_normalize", settings->do_normalize);
  settings->sizes.patch_size = fields.Int("patch_size", settings->sizes.patch_size, 1, 256);
  settings->sizes.pooling_kernel_size =
      fields.Int("pooling_kernel_size", settings->sizes.pooling_kernel_size, 1, 16);
  const std::int64_t budget =
      fields.Int("max_soft_tokens", settings->max_soft_tokens, 1, std::int64_t{1} << 20);
  if (!IsSoftTokenBudget(budget)) fields.Refuse("max_soft_tokens", "70, 140, 280, 560 or 1120");
  settings->max_soft_tokens = budget;
}

void ReadVideo(ConfigFields& fields, VideoSettings* settings) {
  ReadImage(fields, &settings->frame);
  const Json* frames = fields.FindOrNull("num_frames");
  if (frames != nullptr && frames->is_null()) settings->num_frames.reset();
  if (const auto count = fields.OptionalInt("num_frames", 1, 1 << 20)) settings->num_frames = count;
  settings->fps = fields.OptionalNumber("fps", 1e-6, 1000.0);
  if (settings->fps && settings->num_frames) {
    fields.Refuse("fps", "null while num_frames is " + std::to_string(*settings->num_frames) +
                             ": the one excludes the other. Set num_frames to null to go by fps");
  }
}

SoundKind ReadSound(ConfigFields& fields) {
  const std::string type = fields.OptionalString("feature_extractor_type").value_or("");
  const bool blocks = fields.Find("audio_samples_per_token") != nullptr ||
                      type == "Gemma4UnifiedAudioFeatureExtractor";
  if (!type.empty() && !blocks && type != "Gemma4AudioFeatureExtractor") {
    fields.Refuse("feature_extractor_type",
                  "\"Gemma4AudioFeatureExtractor\" or \"Gemma4UnifiedAudioFeatureExtractor\"",
                  ErrorKind::kUnsupported);
  }
  Require(fields, kOnlyOfSounds);
  if (blocks) {
    Require(fields, kOnlyOfBlocks);
    return SoundKind::kBlocks;
  }
  Require(fields, kOnlyOfMel);
  for (const char* key : {"per_bin_mean", "per_bin_stddev"}) {
    if (fields.Find(key) != nullptr) {
      fields.Refuse(key, "null, the only value that culet does", ErrorKind::kUnsupported);
    }
  }
  return SoundKind::kMel;
}

// The parts that have been found so far.
struct Parts {
  bool image = false;
  bool video = false;
  bool sound = false;
};

void ReadNested(const Json& json, const std::string& place, ProcessorConfig* config, Parts* parts) {
  ConfigFields fields(json, place, "");
  if (const Json* part = fields.Find("image_processor")) {
    ConfigFields image(*part, place, "image_processor.");
    ReadImage(image, &config->image);
    image.Ignore(kHarmless);
    image.RefuseUnknown("an image processor");
    parts->image = true;
  }
  if (const Json* part = fields.Find("video_processor")) {
    ConfigFields video(*part, place, "video_processor.");
    ReadVideo(video, &config->video);
    video.Ignore(kHarmless);
    video.RefuseUnknown("a video processor");
    parts->video = true;
  }
  if (const Json* part = fields.Find("feature_extractor")) {
    ConfigFields sound(*part, place, "feature_extractor.");
    config->sound = ReadSound(sound);
    sound.Ignore(kHarmless);
    sound.RefuseUnknown("a feature extractor");
    parts->sound = true;
  }
  fields.Ignore(kHarmless);
  fields.RefuseUnknown("a processor config");
}

// preprocessor_config.json: pictures, sound, or both in one object.
void ReadFlat(const Json& json, const std::string& place, ProcessorConfig* config,
              const Parts& parts) {
  ConfigFields fields(json, place, "");
  ProcessorConfig read;
  ReadImage(fields, &read.image);
  if (fields.Find("feature_size") != nullptr || fields.Find("feature_extractor_type") != nullptr) {
    read.sound = ReadSound(fields);
  }
  fields.Ignore(kHarmless);
  fields.RefuseUnknown("a preprocessor config");
  if (!parts.image) config->image = read.image;
  if (!parts.sound) config->sound = read.sound;
}

}  // namespace

ProcessorConfig ParseProcessorConfig(const Json& json, const std::string& place) {
  ProcessorConfig config;
  Parts parts;
  ReadNested(json, place, &config, &parts);
  return config;
}

ProcessorConfig LoadProcessorConfig(FileSystem& files, const std::filesystem::path& folder) {
  ProcessorConfig config;
  Parts parts;
  const auto read = [&](const char* name, const auto& use) {
    const std::filesystem::path path = folder / name;
    if (!files.Exists(path)) return;
    const std::string place = path.string();
    use(ParseJson(files.ReadFile(path, kMaxFileBytes), place), place);
  };
  read("processor_config.json", [&](const Json& json, const std::string& place) {
    ReadNested(json, place, &config, &parts);
  });
  if (!parts.image || !parts.sound) {
    read("preprocessor_config.json", [&](const Json& json, const std::string& place) {
      ReadFlat(json, place, &config, parts);
    });
  }
  if (!parts.video) {
    read("video_preprocessor_config.json", [&](const Json& json, const std::string& place) {
      ConfigFields fields(json, place, "");
      ReadVideo(fields, &config.video);
      fields.Ignore(kHarmless);
      fields.RefuseUnknown("a video preprocessor config");
    });
  }
  return config;
}

}  // namespace culet
