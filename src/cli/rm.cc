// culet rm: takes a model out of the cache.
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/output.h"
#include "cli/pull_display.h"
#include "cli/sizes.h"
#include "hub/cache_scan.h"
#include "hub/lock.h"
#include "hub/settings.h"

namespace culet::cli {
namespace {

struct RmOptions {
  std::string model;
  bool yes = false;
};

int Run(const RmOptions& options) {
  if (options.model.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                "MODEL is missing: a model of the cache; `culet list` shows which there are");
  }
  FileSystem& files = FileSystem::Real();
  const hub::Settings settings = hub::ReadSettings(hub::ProcessEnvironment, files);
  const hub::ModelReference reference = hub::RequireReference(options.model);
  const bool one_revision = options.model.find('@') != std::string::npos;
  hub::Removal removal = hub::PlanRemoval(files, settings.cache, reference, one_revision);

  const hub::CacheFolder folder(files, settings.cache, reference.repository);
  files.CreateFolders(folder.locks());
  const std::unique_ptr<RandomFile> lock =
      files.Open(folder.locks() / "culet.lock", OpenMode::kReadWrite);
  if (!lock->TryLock()) {
    throw Error(ErrorKind::kResource, reference.repository +
                                          ": another culet is fetching or removing it just now; "
                                          "stop that or try again when it is done");
  }
  removal = hub::PlanRemoval(files, settings.cache, reference, one_revision);
  const std::string what = removal.whole
                               ? fmt::format("{} with {} revision{}", reference.repository,
                                             removal.revisions, removal.revisions == 1 ? "" : "s")
                               : reference.Text();
  const InterruptGuard interrupt;
  if (!options.yes) {
    if (!StandardInputIsTerminal() || !StandardErrorIsTerminal()) {
      throw Error(ErrorKind::kInvalidArgument,
                  "culet rm asks before it removes " + what + " (" + FormatBytes(removal.bytes) +
                      "), and nobody sits at a terminal; --yes removes without asking");
    }
    if (!AskYesNo(fmt::format("Remove {} from {}? It frees {}.", what, settings.cache.string(),
                              FormatBytes(removal.bytes)),
                  false)) {
      throw Interrupted();
    }
  }
  hub::Remove(files, removal);
  Note(fmt::format("removed {}: {} are free again", what, FormatBytes(removal.bytes)));
  return 0;
}

}  // namespace

Command AddRm(CLI::App& app) {
  auto options = std::make_shared<RmOptions>();
  CLI::App* command = AddSubcommand(app, "rm", "Remove a model from the cache",
                                    "  culet rm e2b\n"
                                    "  culet rm google/gemma-4-E2B-it@main --yes\n");
  AddText(*command, "MODEL", &options->model, "",
          "A short name or owner/name; with @revision only that one,\n"
          "and of its files those that no other revision uses");
  AddFlag(*command, "--yes", &options->yes, "Do not ask");
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
