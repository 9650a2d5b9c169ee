// culet list: the models and quantised copies of the cache, and models that have a short name.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/log.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "culet/hub.h"
#include "culet/quantize.h"
#include "hub/cache_scan.h"
#include "hub/settings.h"

namespace culet::cli {
namespace {

struct ListOptions {
  bool available = false;
  bool json = false;
};

std::string FormatDay(std::int64_t unix_s) {
  const std::time_t time = unix_s;
  std::tm parts{};
  if (unix_s == 0 || ::localtime_r(&time, &parts) == nullptr) return "-";
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

OrderedJson JsonOf(const hub::ScannedModel& model) {
  OrderedJson revisions = OrderedJson::array();
  for (const hub::ScannedRevision& revision : model.revisions) {
    revisions.push_back({{"commit", revision.commit},
                         {"names", revision.revisions},
                         {"path", revision.folder.string()},
                         {"bytes", revision.bytes},
                         {"complete", revision.missing.empty()},
                         {"missing", revision.missing},
                         {"last_used", revision.last_used_s}});
  }
  const bool complete =
      std::any_of(model.revisions.begin(), model.revisions.end(),
                  [](const hub::ScannedRevision& revision) { return revision.missing.empty(); });
  return {{"model", model.repository},
          {"path", model.folder.string()},
          {"complete", complete},
          {"bytes", model.bytes},
          {"partial_bytes", model.partial_bytes},
          {"last_used", model.last_used_s},
          {"revisions", revisions}};
}

std::string StateOf(const std::vector<std::string>& missing) {
  if (missing.empty()) return "complete";
  if (missing.size() == 1) return "lacks " + missing[0];
  return fmt::format("lacks {} and {} more", missing[0], missing.size() - 1);
}

OrderedJson JsonOf(const CachedCopy& copy) {
  return {{"model", copy.model},
          {"quant", copy.to},
          {"state", CachedCopyStateName(copy.state)},
          {"source", copy.source.string()},
          {"path", copy.folder.string()},
          {"bytes", copy.bytes}};
}

const char* StateText(CachedCopy::State state) {
  switch (state) {
    case CachedCopy::State::kCurrent: return "current";
    case CachedCopy::State::kChanged: return "the model has changed since";
    case CachedCopy::State::kGone: return "the model is gone";
    case CachedCopy::State::kUnfinished: return "unfinished, of a process that is no more";
  }
  return "";
}

void PrintCopies(const std::vector<CachedCopy>& copies) {
  const auto name = [](const CachedCopy& copy) {
    return copy.model.empty() ? copy.folder.filename().string() : copy.model;
  };
  std::size_t width = 14;
  for (const CachedCopy& copy : copies) width = std::max(width, name(copy).size());
  Output::Standard().Write(fmt::format("{:<{}}  {:>10}  {:<10}  {}\n", "QUANTISED COPY", width,
                                       "SIZE", "FORMAT", "STATE"));
  for (const CachedCopy& copy : copies) {
    Output::Standard().Write(fmt::format("{:<{}}  {:>10}  {:<10}  {}\n", name(copy), width,
                                         FormatBytes(copy.bytes), copy.to.empty() ? "-" : copy.to,
                                         StateText(copy.state)));
  }
}

void PrintModels(const std::vector<hub::ScannedModel>& models) {
  std::size_t width = 5;
  for (const hub::ScannedModel& model : models) width = std::max(width, model.repository.size());
  Output::Standard().Write(fmt::format("{:<{}}  {:>10}  {:<10}  {:<14}  {}\n", "MODEL", width,
                                       "SIZE", "LAST USED", "REVISION", "STATE"));
  for (const hub::ScannedModel& model : models) {
    for (const hub::ScannedRevision& revision : model.revisions) {
      std::string names;
      for (const std::string& name : revision.revisions)
        names += (names.empty() ? "" : ", ") + name;
      if (names.empty()) names = revision.commit.substr(0, 12);
      Output::Standard().Write(fmt::format("{:<{}}  {:>10}  {:<10}  {:<14}  {}\n", model.repository,
                                           width, FormatBytes(revision.bytes),
                                           FormatDay(revision.last_used_s), names,
                                           StateOf(revision.missing)));
    }
    if (model.partial_bytes > 0 || model.revisions.empty()) {
      Output::Standard().Write(fmt::format("{:<{}}  {:>10}  {:<10}  {:<14}  {}\n", model.repository,
                                           width, FormatBytes(model.partial_bytes),
                                           FormatDay(model.last_used_s), "-",
                                           "begun; culet pull goes on"));
    }
  }
}

int ListCached(const ListOptions& options) {
  const hub::Settings settings = hub::ReadSettings(hub::ProcessEnvironment, FileSystem::Real());
  const std::vector<hub::ScannedModel> models = hub::ScanCache(FileSystem::Real(), settings.cache);
  const std::vector<CachedCopy> copies = QuantizedCopies();
  if (options.json) {
    OrderedJson list = OrderedJson::array();
    for (const hub::ScannedModel& model : models) list.push_back(JsonOf(model));
    OrderedJson quantized = OrderedJson::array();
    for (const CachedCopy& copy : copies) quantized.push_back(JsonOf(copy));
    const OrderedJson object = {
        {"cache", settings.cache.string()}, {"models", list}, {"quantized", quantized}};
    Output::Standard().Write(JsonText(object) + "\n");
    return 0;
  }
  if (models.empty()) {
    Note("no models in the cache, " + settings.cache.string() +
         ". `culet list --available` shows what `culet pull` knows by a short name");
  } else {
    PrintModels(models);
  }
  if (!copies.empty()) {
    if (!models.empty()) Output::Standard().Write("\n");
    PrintCopies(copies);
  }
  return 0;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

int ListAvailable(const ListOptions& options) {
  const std::vector<PublishedModel> models = PublishedModels();
  if (options.json) {
    OrderedJson list = OrderedJson::array();
    for (const PublishedModel& model : models) {
      list.push_back({{"name", model.name},
                      {"model", model.model},
                      {"base", model.base},
                      {"inputs", model.inputs},
                      {"cached", model.cached},
                      {"weight_bytes", model.weight_bytes},
                      {"resident_bytes", model.resident_bytes},
                      {"fits", model.fits}});
    }
    Output::Standard().Write(JsonText(list) + "\n");
    return 0;
  }
  Output::Standard().Write(fmt::format("{:<13}{:<28}{:>10}{:>12}  {:<6}{:<27}{}\n", "NAME", "MODEL",
                                       "WEIGHTS", "MEMORY", "FITS", "INPUTS", "CACHE"));
  for (const PublishedModel& model : models) {
    Output::Standard().Write(fmt::format(
        "{:<13}{:<28}{:>10}{:>12}  {:<6}{:<27}{}\n", model.name, model.model,
        FormatBytes(model.weight_bytes), FormatBytes(model.resident_bytes),
        model.fits ? "yes" : "no", Joined(model.inputs), model.cached ? "complete" : "-"));
  }
  Output::Standard().Write(
      "\nWEIGHTS: the text decoder in bf16; towers for images and sound come on top in the files.\n"
      "MEMORY: on this machine at the default --context; FITS: beside what runs now.\n");
  return 0;
}

}  // namespace

Command AddList(CLI::App& app) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command = AddSubcommand(
      app, "list", "The models and quantised copies of the cache, or what could be fetched",
      "  culet list\n"
      "  culet list --available\n");
  AddFlag(*command, "--available", &options->available,
          "The published models that have a short name");
  AddFlag(*command, "--json", &options->json, "Print JSON");
  return {command, [options] {
            return options->available ? ListAvailable(*options) : ListCached(*options);
          }};
}

}  // namespace culet::cli
