// culet verify: every byte of a model against its hash, every tensor against what the config asks.
#include "hub/verify.h"

#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "culet/model.h"

namespace culet::cli {
namespace {

struct VerifyOptions {
  ModelOptions model;
  bool json = false;
};

std::vector<hub::VerifiedFile> HashFiles(const std::filesystem::path& folder) {
  const InterruptGuard interrupt;
  Progress progress("checking");
  try {
    return hub::VerifyFolder(
        FileSystem::Real(), folder, [] { return InterruptGuard::Pending(); },
        [&](const std::string& file, std::uint64_t done, std::uint64_t all) {
          progress.Show(static_cast<double>(done), static_cast<double>(all), file);
        });
  } catch (const hub::Cancelled&) {
    throw Interrupted();
  }
}

OrderedJson JsonOf(const std::vector<hub::VerifiedFile>& files) {
  OrderedJson list = OrderedJson::array();
  for (const hub::VerifiedFile& file : files) {
    list.push_back(
        {{"file", file.name},
         {"bytes", file.bytes},
         {"expected", file.expected.empty() ? OrderedJson(nullptr) : OrderedJson(file.expected)},
         {"found", file.expected.empty() ? OrderedJson(nullptr) : OrderedJson(file.found)}});
  }
  return list;
}

int Run(const VerifyOptions& options) {
  const std::filesystem::path path = ResolveModel(options.model.model);
  const std::filesystem::path folder =
      std::filesystem::is_directory(path) ? path : path.parent_path();
  const std::vector<hub::VerifiedFile> files = HashFiles(folder);
  std::size_t checked = 0;
  std::uint64_t bytes = 0;
  std::string wrong;
  for (const hub::VerifiedFile& file : files) {
    if (file.expected.empty()) continue;
    ++checked;
    bytes += file.bytes;
    if (!file.right()) {
      wrong += (wrong.empty() ? "" : "; ") + file.path.string() + ": is " + file.name +
               " and has the hash " + file.found + ", its name says " + file.expected;
    }
  }
  if (options.json) {
    // The list goes out whatever it says; the exit code and the message tell the rest.
    JsonObject object;
    object.Add("path", folder.string());
    object.Add("files", JsonOf(files));
    object.Add("hashes_right", wrong.empty());
    Output::Standard().Write(object.Text() + "\n");
  }
  if (!wrong.empty()) {
    throw Error(ErrorKind::kCorrupt,
                wrong + ". Delete that file; `culet pull` then fetches it again");
  }
  // Opens the checkpoint as loading does: every header read, every tensor held against the table.
  const ModelInfo info = Describe(path, options.model.ToLoadOptions());
  PrintWarnings(info);
  if (options.json) return 0;
  Output::Standard().Write(
      fmt::format("{}: {} of {} files have the right hash ({}); all tensors of {} are there and "
                  "have the shape that config.json asks\n",
                  folder.string(), checked, files.size(), FormatBytes(bytes), info.variant));
  if (checked < files.size()) {
    Note(
        fmt::format("{} files are no links into a cache, so nobody knows their hash; the rest was "
                    "checked",
                    files.size() - checked));
  }
  return 0;
}

}  // namespace

Command AddVerify(CLI::App& app) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command =
      AddSubcommand(app, "verify", "Check every byte of a model against its hash, and its tensors",
                    "  culet verify e2b\n"
                    "  culet verify MODEL --json\n");
  options->model.AddModel(*command);
  AddFlag(*command, "--json", &options->json, "Print one JSON object with the hash of each file");
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
