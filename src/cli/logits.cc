// culet logits: the logits of every position, for comparisons from outside.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "cli/command.h"
#include "cli/log.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/npy_file.h"
#include "cli/output.h"
#include "cli/text_input.h"
#include "culet/model.h"

namespace culet::cli {
namespace {

struct LogitsOptions {
  ModelOptions model;
  MediaArguments media;
  std::string tokens;
  std::string out;
  std::int64_t chunk = 0;
};

std::vector<TokenId> ReadTokens(const std::string& text, std::int64_t vocab) {
  std::vector<TokenId> tokens;
  for (const std::int64_t id : ParseNumbers(text, "--tokens", 0)) {
    if (id >= vocab) {
      throw Error(ErrorKind::kInvalidArgument,
                  "--tokens: item " + std::to_string(tokens.size() + 1) + " is " +
                      std::to_string(id) + "; ids of this model are 0 to " +
                      std::to_string(vocab - 1));
    }
    tokens.push_back(static_cast<TokenId>(id));
  }
  return tokens;
}

int Run(const LogitsOptions& options) {
  const std::filesystem::path named = ResolveModel(options.model.model);
  if (options.tokens.empty() || options.out.empty()) {
    throw Error(
        ErrorKind::kInvalidArgument,
        "culet logits needs --tokens IDS and --out FILE, such as --tokens 2,3,4 --out logits.npy");
  }
  if (options.chunk < 0) {
    throw Error(ErrorKind::kInvalidArgument, "--chunk is " + std::to_string(options.chunk) +
                                                 "; it must be 1 or more, or 0 for 512");
  }
  LoadOptions load = options.model.ToLoadOptions();
  const std::filesystem::path path = options.model.Quantized(named);
  const std::string text = options.tokens == "-" ? ReadStandardInput() : options.tokens;
  // Ids are checked before anything is loaded.
  const std::vector<TokenId> tokens = ReadTokens(text, Describe(path, load).vocab);
  const std::int64_t rows = static_cast<std::int64_t>(tokens.size());
  if (load.context == 0) load.context = rows;
  const std::vector<Media> media = options.media.ToMedia();
  // Pictures that are read both ways stand in one step, whatever the chunk.
  if (options.chunk > 0 && media.empty()) load.chunk = options.chunk;
  if (!media.empty()) {
    load.chunk = std::max(load.chunk, rows);
    load.sequences = 1;
  }
  const std::shared_ptr<Model> model = Model::Load(path, load);
  PrintWarnings(model->info());
  if (options.model.verbose) PrintPlan(model->info());
  const Prompt prompt = model->text().TokensPrompt(tokens, media, options.media.ToMediaOptions());
  NpyFile file(options.out, rows, model->info().vocab);
  Progress progress("computing");
  model->Logits(prompt, options.chunk, [&](std::int64_t position, std::span<const float> logits) {
    file.Write(logits);
    progress.Show(static_cast<double>(position + 1), static_cast<double>(rows), "of the rows");
  });
  file.Commit();
  return 0;
}

}  // namespace

Command AddLogits(CLI::App& app) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command =
      AddSubcommand(app, "logits", "Write the logits of every position to a .npy file",
                    "  culet logits MODEL --tokens 2,3,4 --out logits.npy\n"
                    "  culet logits MODEL --tokens - --chunk 64 --out logits.npy < ids\n"
                    "  culet logits MODEL --image a.png --tokens 2,53,53,4 --out logits.npy\n");
  options->model.AddModel(*command);
  AddText(*command, "--tokens", &options->tokens, "IDS",
          "Ids with commas between; - reads standard input");
  AddText(*command, "--out", &options->out, "FILE", "The file: float32 [rows, vocabulary]");
  options->media.AddFiles(*command);
  options->media.AddPreparation(*command);
  AddNumber(*command, "--chunk", &options->chunk, "Most rows of one step; 0: 512", "N");
  options->model.AddThreads(*command);
  options->model.AddKv(*command);
  options->model.AddQuant(*command);
  options->model.AddContext(*command);
  options->model.AddOverride(*command);
  options->model.AddVerbose(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
