// culet features: media on their way into a model, for comparisons from outside.
#include "culet/features.h"

#include <array>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/npy_file.h"
#include "cli/output.h"

namespace culet::cli {
namespace {

struct FeaturesOptions {
  ModelOptions model;
  MediaArguments media;
  std::string stage;
  std::string out;
};

MediaStage StageFromName(const std::string& name) {
  for (const MediaStage stage :
       std::array{MediaStage::kText, MediaStage::kPatches, MediaStage::kMel, MediaStage::kTower,
                  MediaStage::kSoft}) {
    if (MediaStageName(stage) == name) return stage;
  }
  throw Error(ErrorKind::kInvalidArgument,
              "--stage is \"" + name + "\"; text, patches, mel, tower or soft is expected");
}

int Run(const FeaturesOptions& options) {
  const MediaStage stage = StageFromName(options.stage);
  const std::vector<Media> media = options.media.ToMedia();
  if (media.size() != 1) {
    throw Error(ErrorKind::kInvalidArgument,
                std::to_string(media.size()) +
                    " media are given; culet features shows one: --image FILE, --audio FILE or "
                    "--video FILE");
  }
  if (options.out.empty() && stage != MediaStage::kText) {
    throw Error(ErrorKind::kInvalidArgument,
                "culet features needs --out FILE for all stages but text");
  }
  const MediaOptions preparation = options.media.ToMediaOptions();
  const LoadOptions load = options.model.ToLoadOptions();
  const std::filesystem::path path = ResolveModel(options.model.model);
  const MediaFeatures features = ComputeFeatures(path, media.front(), stage, preparation, load);
  if (stage != MediaStage::kText) {
    NpyFile file(options.out, features.rows, features.columns);
    file.Write(features.values);
    file.Commit();
  } else if (options.out.empty()) {
    Output::Standard().Write(features.text + "\n");
  } else {
    FileSystem::Real().WriteFileAtomically(options.out, features.text);
  }
  return 0;
}

}  // namespace

Command AddFeatures(CLI::App& app) {
  auto options = std::make_shared<FeaturesOptions>();
  CLI::App* command =
      AddSubcommand(app, "features", "Write what a medium is on its way into a model",
                    "  culet features MODEL --image cat.jpg --stage patches --out cat.npy\n"
                    "  culet features MODEL --audio word.wav --stage soft --out word.npy\n"
                    "  culet features MODEL --video clip.mp4 --video-frames 8 --stage text\n");
  options->model.AddModel(*command);
  options->media.AddFiles(*command);
  AddText(*command, "--stage", &options->stage, "STAGE",
          "text: what stands in the prompt, patches: the vision\nencoder's input, mel: the audio "
          "tower's, tower: the\nencoder's last states, soft: rows of the text model");
  AddText(*command, "--out", &options->out, "FILE",
          "The file: float32 [rows, columns]; for text optional");
  options->media.AddPreparation(*command);
  options->model.AddThreads(*command);
  options->model.AddTokenizer(*command);
  options->model.AddOverride(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
