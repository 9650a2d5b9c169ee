// processor_config.json → how a model's pictures, clips and sounds are prepared.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "media/image_patches.h"

namespace culet {

struct VideoSettings {
  ImageSettings frame{.max_soft_tokens = 70, .sizes = {}, .do_normalize = true};
  // One of the two at most: so many frames of a clip, or so many a second. Neither: all.
  std::optional<std::int64_t> num_frames = 32;
  std::optional<double> fps;
};

// What a model hears: mel features (E2B, E4B) or blocks of samples (12B).
enum class SoundKind { kMel, kBlocks };

// Initial values are the published ones of every size.
struct ProcessorConfig {
  ImageSettings image;
  VideoSettings video;
  std::optional<SoundKind> sound;  // as the file says; models that hear nothing have none
};

// Of a model's folder: processor_config.json, and for what it does not have
// preprocessor_config.json and video_preprocessor_config.json. None of them need be there. Throws
// Error naming file, field, found and expected: a field that culet does not know, or one whose
// value it does not do, is refused by name.
ProcessorConfig LoadProcessorConfig(FileSystem& files, const std::filesystem::path& folder);

// Of the text of a processor_config.json, with "image_processor", "video_processor" and
// "feature_extractor" in it.
ProcessorConfig ParseProcessorConfig(const Json& json, const std::string& place);

}  // namespace culet
