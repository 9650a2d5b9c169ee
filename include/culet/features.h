// Media on their way into a model, shown stage by stage: for comparisons with the reference.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "culet/export.h"
#include "culet/media.h"
#include "culet/model.h"

namespace culet {

enum class MediaStage {
  kText,     // what stands in the prompt for it
  kPatches,  // the vision encoder's operand; blocks of samples of a model without audio tower
  kMel,      // the audio tower's operand
  kTower,    // the encoder's last states, before they are pooled and projected
  kSoft,     // soft tokens: rows of the text model
};
// "text", "patches", "mel", "tower", "soft". Lives for ever. Any thread.
CULET_EXPORT std::string_view MediaStageName(MediaStage stage);

struct MediaFeatures {
  std::string text;  // of every stage; empty where the model has no tokenizer
  std::int64_t rows = 0, columns = 0;
  std::vector<float>
      values;  // [rows, columns], unpadded; the frames of a video one after the other
};

// What `stage` of the medium is in the model at `path`. Up to kMel the folder needs no weights; a
// video's sound is not among its features. Throws Error as TextProcessor::RenderTokens for the
// medium, and kInvalidArgument where it has no such stage. Any thread.
CULET_EXPORT MediaFeatures ComputeFeatures(const std::filesystem::path& path, const Media& medium,
                                           MediaStage stage, const MediaOptions& options = {},
                                           const LoadOptions& load = {});

}  // namespace culet
