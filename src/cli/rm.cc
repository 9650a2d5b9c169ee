// culet rm: takes a model, or copies of it with integer weights, out of the cache.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/pull_display.h"
#include "cli/sizes.h"
#include "culet/quantize.h"
#include "hub/cache_scan.h"
#include "hub/lock.h"
#include "hub/settings.h"

namespace culet::cli {
namespace {

struct RmOptions {
  std::string model;
  std::string quant;  // empty: the model itself
  bool yes = false;
};

// Returns where the answer is yes. Throws Interrupted where it is no.
void AskToRemove(const RmOptions& options, const std::string& what,
                 const std::filesystem::path& from, std::uint64_t bytes) {
  if (options.yes) return;
  if (!StandardInputIsTerminal() || !StandardErrorIsTerminal()) {
    throw Error(ErrorKind::kInvalidArgument,
                "culet rm asks before it removes " + what + " (" + FormatBytes(bytes) +
                    "), and nobody sits at a terminal; --yes removes without asking");
  }
  if (!AskYesNo(
          fmt::format("Remove {} from {}? It frees {}.", what, from.string(), FormatBytes(bytes)),
          false)) {
    throw Interrupted();
  }
}

void NoteRemoved(const std::string& what, std::uint64_t bytes) {
  Note(fmt::format("removed {}: {} are free again", what, FormatBytes(bytes)));
}

std::uint64_t BytesOf(const std::vector<CachedCopy>& copies) {
  std::uint64_t bytes = 0;
  for (const CachedCopy& copy : copies) bytes += copy.bytes;
  return bytes;
}

// The copies that the cache holds of MODEL, which need not be there any more. Throws Error where
// nothing is there by that name.
std::vector<CachedCopy> ResolveCopies(const std::string& model) {
  try {
    std::vector<CachedCopy> copies = QuantizedCopiesOf(model);
    if (!copies.empty()) return copies;
  } catch (const Error&) {
    // It may be a model of the command's own.
  }
  return QuantizedCopiesOf(ResolveModel(model).string());
}

// Copies of the model, where there are any; what is wrong with them is said elsewhere.
std::vector<CachedCopy> CopiesQuietly(const std::string& model) {
  try {
    return ResolveCopies(model);
  } catch (const Error&) {
    return {};
  }
}

int RemoveModel(const RmOptions& options) {
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
  AskToRemove(options, what, settings.cache, removal.bytes);
  // Found while the model still tells which they are.
  const std::vector<CachedCopy> copies = CopiesQuietly(options.model);
  hub::Remove(files, removal);
  NoteRemoved(what, removal.bytes);
  if (!copies.empty()) {
    Note(
        fmt::format("its copies with integer weights stay ({}); `culet rm {} --quant all` removes "
                    "them too",
                    FormatBytes(BytesOf(copies)), copies.front().model));
  }
  return 0;
}

int RemoveCopies(const RmOptions& options) {
  std::vector<CachedCopy> copies = ResolveCopies(options.model);
  if (options.quant != "all") {
    std::erase_if(copies, [&](const CachedCopy& copy) { return copy.to != options.quant; });
  }
  if (copies.empty()) {
    throw Error(ErrorKind::kNotFound,
                fmt::format("{}: the cache holds no copy of it{}. `culet list` shows which there "
                            "are",
                            options.model, options.quant == "all" ? "" : " in " + options.quant));
  }
  std::vector<std::string> formats;
  for (const CachedCopy& copy : copies) {
    const bool whole = copy.state != CachedCopy::State::kUnfinished;
    formats.push_back(whole ? copy.to : "what is left of one");
  }
  const std::string what = fmt::format("{} of {} ({})", copies.size() == 1 ? "the copy" : "copies",
                                       copies.front().model, fmt::join(formats, ", "));
  const InterruptGuard interrupt;
  AskToRemove(options, what, copies.front().folder.parent_path(), BytesOf(copies));
  std::uint64_t bytes = 0;
  for (const CachedCopy& copy : copies) {
    // With one of them what is left of another may have gone.
    if (FileSystem::Real().Exists(copy.folder)) bytes += RemoveQuantizedCopy(copy.folder);
  }
  NoteRemoved(what, bytes);
  return 0;
}

// Whether the hub knows no such model, but the cache has copies of one.
bool HasOnlyCopies(const std::string& model) {
  std::string ignored;
  return !hub::ParseReference(model, &ignored) && !CopiesQuietly(model).empty();
}

int Run(const RmOptions& options) {
  if (options.model.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                "MODEL is missing: a model of the cache; `culet list` shows which there are");
  }
  if (options.quant.empty()) {
    if (HasOnlyCopies(options.model)) {
      throw Error(
          ErrorKind::kInvalidArgument,
          options.model +
              " is no model of the hub, and other models are not removed; --quant int8, int4 "
              "or all removes its copies from the cache");
    }
    return RemoveModel(options);
  }
  if (options.quant != "int8" && options.quant != "int4" && options.quant != "all") {
    throw Error(ErrorKind::kInvalidArgument,
                "--quant is \"" + options.quant + "\"; int8, int4 or all is expected");
  }
  return RemoveCopies(options);
}

}  // namespace

Command AddRm(CLI::App& app) {
  auto options = std::make_shared<RmOptions>();
  CLI::App* command = AddSubcommand(app, "rm", "Remove a model, or copies of it, from the cache",
                                    "  culet rm e2b\n"
                                    "  culet rm google/gemma-4-E2B-it@main --yes\n"
                                    "  culet rm e2b --quant all\n");
  AddText(*command, "MODEL", &options->model, "",
          "A short name or owner/name; with @revision only that one,\n"
          "and of its files those that no other revision uses");
  AddText(
      *command, "--quant", &options->quant, "FORMAT",
      "Not the model but its copies in int8, int4 or all;\nMODEL may be any then, also one that "
      "is gone, as\n`culet list` names it");
  AddFlag(*command, "--yes", &options->yes, "Do not ask");
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
