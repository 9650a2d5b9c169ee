// Media on their way into a model, shown stage by stage.
#include <utility>

#include "api/boundary.h"
#include "api/model_impl.h"
#include "api/prompt_media.h"
#include "api/soft_prompt.h"
#include "api/text_processor_impl.h"
#include "base/error.h"
#include "culet/features.h"

namespace culet {
namespace {

void Append(View<const float, 2> rows, MediaFeatures* features) {
  features->rows += rows.extent(0);
  features->columns = rows.extent(1);
  features->values.insert(features->values.end(), rows.data(),
                          rows.data() + rows.extent(0) * rows.extent(1));
}

// The encoder's operand.
void AppendInput(const PromptMedia& block, MediaFeatures* features) {
  const SoftInput input = ToSoftInput(block);
  const std::vector<float> values = input.rows();
  const auto rows = block.visual ? input.grid.units() : input.sound_rows;
  const auto columns = static_cast<std::int64_t>(values.size()) / rows;
  Append(View<const float, 2>(values.data(), {rows, columns}), features);
}

}  // namespace

std::string_view MediaStageName(MediaStage stage) {
  switch (stage) {
    case MediaStage::kText: return "text";
    case MediaStage::kPatches: return "patches";
    case MediaStage::kMel: return "mel";
    case MediaStage::kTower: return "tower";
    case MediaStage::kSoft: return "soft";
  }
  return "text";
}

MediaFeatures ComputeFeatures(const std::filesystem::path& path, const Media& medium,
                              MediaStage stage, const MediaOptions& options,
                              const LoadOptions& load) try {
  ReserveErrors();
  FileSystem& files = FileSystem::Real();
  TextProcessor::Options text_options;
  text_options.tokenizer = load.tokenizer;
  const std::shared_ptr<TextProcessor> text = TextProcessor::Open(path, text_options);
  if (stage == MediaStage::kText) TokenizerOf(*text);  // or say that there is none
  const MediaPreparer preparer(files.IsDirectory(path) ? path : path.parent_path(),
                               text->has_tokenizer() ? &TokenizerOf(*text) : nullptr);
  const std::shared_ptr<const PreparedMedia> prepared = preparer.Prepare(medium, options);
  MediaFeatures features;
  features.text = prepared->text;
  if (stage == MediaStage::kText) return features;
  const bool mel = stage == MediaStage::kMel;
  if (mel || stage == MediaStage::kPatches) {
    for (const auto& block : prepared->blocks) {
      // A video's sound is no patch.
      const bool is_mel = !block->visual && preparer.config().audio->kind == EncoderKind::kTower;
      const bool wanted =
          medium.kind() == MediaKind::kAudio ? mel == is_mel : block->visual && !mel;
      if (wanted) AppendInput(*block, &features);
    }
    if (features.rows > 0) return features;
    throw Error(ErrorKind::kInvalidArgument,
                medium.name() + ": there is no stage " + std::string(MediaStageName(stage)) +
                    " of it in this model; pictures and videos have patches, sounds mel frames "
                    "in models with an audio tower and patches (blocks of samples) in those "
                    "without");
  }
  const Checkpoint checkpoint = OpenCheckpoint(path, load);
  MediaEncoders encoders(checkpoint, ResolveThreads(load), ResolveLevel(load));
  for (const auto& block : prepared->blocks) {
    if (!block->visual && medium.kind() == MediaKind::kVideo) continue;  // widths differ
    const SoftInput input = ToSoftInput(*block);
    const MediaEncoders::States states = encoders.EncodeAnew(std::span(&input, 1));
    Append(stage == MediaStage::kTower ? states.states : states.soft, &features);
  }
  return features;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
