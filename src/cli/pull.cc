// culet pull: a model from the hub into the cache.
#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/log.h"
#include "cli/output.h"
#include "cli/pull_display.h"
#include "cli/sizes.h"

namespace culet::cli {
namespace {

struct PullCommandOptions {
  std::string model;
  std::int64_t connections = 0;
  bool offline = false;
  bool json = false;
};

int Run(const PullCommandOptions& options) {
  if (options.model.empty()) {
    throw Error(
        ErrorKind::kInvalidArgument,
        "MODEL is missing: a short name (e2b) or owner/name. `culet list --available` shows "
        "names");
  }
  if (options.connections < 0 || options.connections > 32) {
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("--connections is {}; it must be 0 to 32", options.connections));
  }
  const PulledModel pulled =
      PullShown(options.model, options.offline, false, static_cast<int>(options.connections));
  if (options.json) {
    JsonObject object;
    object.Add("model", pulled.model);
    object.Add("commit", pulled.commit);
    object.Add("path", pulled.folder.string());
    object.Add("files", pulled.files);
    object.Add("bytes", pulled.bytes);
    object.Add("fetched_bytes", pulled.fetched_bytes);
    Output::Standard().Write(object.Text() + "\n");
    return 0;
  }
  Note(fmt::format("{} is complete: {} files, {}", pulled.model, pulled.files,
                   FormatBytes(pulled.bytes)));
  Output::Standard().Write(pulled.folder.string() + "\n");
  return 0;
}

}  // namespace

Command AddPull(CLI::App& app) {
  auto options = std::make_shared<PullCommandOptions>();
  CLI::App* command =
      AddSubcommand(app, "pull", "Fetch a model from the Hugging Face hub into the cache",
                    "  culet pull e2b\n"
                    "  culet pull google/gemma-4-E4B-it@main\n");
  AddText(*command, "MODEL", &options->model, "", "A short name (e2b) or owner/name[@revision]");
  AddNumber(*command, "--connections", &options->connections, "How many at once for a large file",
            "N", "4");
  AddFlag(*command, "--offline", &options->offline, "Only look whether the cache has it");
  AddFlag(*command, "--json", &options->json, "Print one JSON object");
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
