// Models of the hub, for front ends.
#include "culet/hub.h"

#include <algorithm>

#include "api/boundary.h"
#include "api/model_impl.h"
#include "base/error.h"
#include "base/file.h"
#include "checkpoint/config.h"
#include "checkpoint/published.h"
#include "checkpoint/sizes.h"
#include "hub/cache.h"
#include "hub/pull.h"
#include "hub/reference.h"
#include "hub/settings.h"

namespace culet {
namespace {

hub::Settings Environment() {
  return hub::ReadSettings(hub::ProcessEnvironment, FileSystem::Real());
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

PulledModel FromCache(const hub::Settings& settings, const hub::ModelReference& reference) {
  const auto found = hub::FindSnapshot(FileSystem::Real(), settings.cache, reference);
  if (found && found->missing.empty()) {
    PulledModel pulled;
    pulled.model = reference.Text();
    pulled.commit = found->commit;
    pulled.folder = found->folder;
    for (const std::string& name : FileSystem::Real().List(found->folder)) {
      ++pulled.files;
      pulled.bytes += FileSystem::Real().Status(found->folder / name, true).bytes;
    }
    return pulled;
  }
  throw Error(
      ErrorKind::kNotFound,
      reference.Text() +
          (found ? ": the cache lacks " + Joined(found->missing) + " in " + found->folder.string()
                 : ": is not in the cache, " + settings.cache.string()) +
          ", and nothing is fetched because " + settings.offline_because +
          ". Pull it with a network");
}

hub::PullOptions ToHub(const PullSettings& settings, const hub::Settings& environment) {
  hub::PullOptions options;
  if (settings.confirm) {
    options.confirm = [&](const hub::PullPlan& plan) {
      return settings.confirm({plan.reference.Text(), plan.commit, environment.endpoint,
                               environment.cache, plan.bytes, plan.missing_bytes,
                               plan.missing_files});
    };
  }
  if (settings.on_status) {
    options.on_progress = [&](const hub::PullProgress& progress) {
      PullStatus status;
      switch (progress.phase) {
        case hub::PullProgress::Phase::kFetching:
          status.phase = PullStatus::Phase::kFetching;
          break;
        case hub::PullProgress::Phase::kChecking:
          status.phase = PullStatus::Phase::kChecking;
          break;
        case hub::PullProgress::Phase::kFileDone:
          status.phase = PullStatus::Phase::kFileDone;
          break;
      }
      status.file = progress.file;
      status.file_done = progress.file_done;
      status.file_bytes = progress.file_bytes;
      status.done = progress.done;
      status.bytes = progress.bytes;
      settings.on_status(status);
    };
  }
  options.notice = settings.on_notice;
  options.cancelled = settings.cancelled;
  options.fetch.connections =
      settings.connections > 0 ? std::min(settings.connections, 32) : environment.connections;
  options.fetch.piece_bytes = environment.piece_bytes;
  return options;
}

}  // namespace

std::optional<PulledModel> Pull(const std::string& name, const PullSettings& settings) try {
  const hub::ModelReference reference = hub::RequireReference(name);
  hub::Settings environment = Environment();
  if (settings.offline && !environment.offline) {
    environment.offline = true;
    environment.offline_because = "offline was asked for";
  }
  if (environment.offline) return FromCache(environment, reference);
  const std::unique_ptr<hub::Transport> transport = hub::MakeCurlTransport(environment);
  const hub::World world = {environment, FileSystem::Real(), *transport, hub::Clock::Real()};
  try {
    const hub::PullResult result = hub::Pull(world, reference, ToHub(settings, environment));
    return PulledModel{
        result.reference.Text(), result.commit, result.folder, result.files, result.bytes,
        result.fetched_bytes};
  } catch (const hub::Cancelled&) {
    return std::nullopt;
  }
} catch (...) {
  RethrowAsError();
}

std::optional<CachedModel> FindCached(const std::string& name) try {
  std::string why;
  const auto reference = hub::ParseReference(name, &why);
  if (!reference) return std::nullopt;
  const auto found = hub::FindSnapshot(FileSystem::Real(), Environment().cache, *reference);
  if (!found) return std::nullopt;
  return CachedModel{reference->Text(), found->commit, found->folder, found->missing};
} catch (...) {
  RethrowAsError();
}

std::vector<PublishedModel> PublishedModels() try {
  const LoadOptions options;
  const std::uint64_t available = AvailableMemory();
  std::vector<PublishedModel> models;
  for (const hub::ShortName& entry : hub::ShortNames()) {
    const std::string size(entry.size);
    const ModelConfig config =
        ParseModelConfig(Json(PublishedTextConfig(size)), "published " + size);
    PublishedModel model;
    model.name = entry.name;
    model.model = entry.repository;
    model.base = entry.base;
    model.inputs = {"text", "image", "video"};
    if (entry.hears) model.inputs.emplace_back("audio");
    const auto cached = FindCached(model.name);
    model.cached = cached && cached->missing.empty();
    for (const PartWeight& part : SizesByPart(config, DType::kBF16)) {
      model.weight_bytes += part.bytes;
      // Read row by row from the map.
      if (part.part != "per-layer embedding") model.resident_bytes += part.bytes;
    }
    model.resident_bytes +=
        PlanMemory(config, ResolveKvPlan(config, DType::kBF16, options), ResolveThreads(options))
            .total();
    model.fits = available == 0 || model.resident_bytes <= available;
    models.push_back(model);
  }
  return models;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
