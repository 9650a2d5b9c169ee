// culet synth: a random checkpoint of a published size.
#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "cli/command.h"
#include "cli/output.h"
#include "culet/tools.h"

namespace culet::cli {
namespace {

struct SynthCommandOptions {
  std::string size;
  std::string folder;
  std::string tokenizer;
  std::uint64_t seed = 1;
  bool media = false;
  std::string to;
};

void RefuseFolderInUse(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return;
  if (!std::filesystem::is_directory(folder, error)) {
    throw Error(ErrorKind::kInvalidArgument,
                folder.string() + " is a file; DIR is a folder to be made");
  }
  if (!std::filesystem::is_empty(folder, error)) {
    throw Error(ErrorKind::kInvalidArgument,
                folder.string() + " is not empty, and nothing is overwritten; name another folder");
  }
}

int Run(const SynthCommandOptions& options) {
  if (options.size.empty() || options.folder.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                "culet synth needs SIZE and DIR, such as culet synth e2b random-e2b");
  }
  RefuseFolderInUse(options.folder);
  Progress progress("writing");
  SynthesizeOptions synthesize;
  synthesize.tokenizer = options.tokenizer;
  synthesize.seed = options.seed;
  synthesize.media = options.media;
  synthesize.to = options.to;
  synthesize.on_progress = [&](std::uint64_t done, std::uint64_t total) {
    progress.Show(static_cast<double>(done), static_cast<double>(total),
                  fmt::format("of {:.1f} GB", static_cast<double>(total) / 1e9));
  };
  Synthesize(options.size, options.folder, synthesize);
  return 0;
}

}  // namespace

Command AddSynth(CLI::App& app) {
  auto options = std::make_shared<SynthCommandOptions>();
  CLI::App* command =
      AddSubcommand(app, "synth", "Write a random checkpoint of a published size, to measure with",
                    "  culet synth e2b random-e2b\n"
                    "  culet synth 26b-a4b random-26b --tokenizer gemma/tokenizer.json\n"
                    "  culet synth 31b random-31b-int4 --to int4\n");
  AddText(*command, "SIZE", &options->size, "", "e2b, e4b, 12b, 26b-a4b or 31b");
  AddText(*command, "DIR", &options->folder, "",
          "The folder to make; it must be empty if it is there");
  AddText(*command, "--tokenizer", &options->tokenizer, "FILE", "A tokenizer.json to copy in");
  AddFlag(*command, "--media", &options->media, "With the size's encoders of images and sounds");
  AddText(*command, "--to", &options->to, "FORMAT", "int8 or int4; else bf16");
  AddNumber(*command, "--seed", &options->seed, "Seed of the weights", "N");
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
