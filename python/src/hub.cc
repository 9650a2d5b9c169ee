// Models by name: found, and fetched from the hub.
#include "culet/hub.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "culet/error.h"
#include "culet/find.h"
#include "gil.h"
#include "handles.h"
#include "module.h"
#include "news.h"

namespace culet::python {

using namespace nanobind::literals;

namespace {

// What a pull tells on its way: "preview" (a sentence, missing and all bytes), "fetching",
// "checking" and "fetched" (a file, done and all bytes), "notice" (a sentence).
PullSettings SettingsFor(bool offline, NewsBox& box, const StopFlag& stop) {
  PullSettings settings;
  settings.offline = offline;
  settings.cancelled = [&stop] { return stop.stopped.load(); };
  settings.on_notice = [&box](const std::string& line) { box.Put({"notice", line}); };
  settings.confirm = [&box](const PullPreview& preview) {
    box.Put({"preview",
             preview.model + " from " + preview.endpoint + " into " + preview.cache.string(),
             preview.missing_bytes, preview.bytes});
    return true;
  };
  settings.on_status = [&box](const PullStatus& status) {
    const char* kind = status.phase == PullStatus::Phase::kChecking   ? "checking"
                       : status.phase == PullStatus::Phase::kFileDone ? "fetched"
                                                                      : "fetching";
    box.Put({kind, status.file, status.done, status.bytes,
             status.phase != PullStatus::Phase::kFileDone});
  };
  return settings;
}

PulledModel PullOrThrow(const std::string& name, const PullSettings& settings) {
  std::optional<PulledModel> pulled = Pull(name, settings);
  if (pulled) return *std::move(pulled);
  throw Error(ErrorKind::kIo,
              "stopped; what has come is kept, and the next pull goes on from there");
}

}  // namespace

void AddHub(nb::module_& module) {
  nb::class_<FindOptions>(module, "FindOptions")
      .def(nb::init<>())
      .def_rw("text_only", &FindOptions::text_only)
      .def_rw("list_hint", &FindOptions::list_hint)
      .def_rw("fetch_hint", &FindOptions::fetch_hint)
      .def("add_bundled",
           [](FindOptions& self, const std::string& folder) { self.bundled.emplace_back(folder); });

  module.def(
      "find_model",
      [](const std::string& name, FindOptions options, bool fetch, bool offline,
         const nb::object& on_news, StopFlag& stop) {
        NewsBox box;
        const PullSettings settings = SettingsFor(offline, box, stop);
        if (fetch) {
          options.fetch = [&](const std::string& model) {
            return PullOrThrow(model, settings).folder;
          };
        }
        return WhileTelling(box, stop, on_news, [&] { return FindModel(name, options).string(); });
      },
      "name"_a, "options"_a, "fetch"_a, "offline"_a, "on_news"_a, "stop"_a);

  nb::class_<PulledModel>(module, "PulledModel")
      .def_ro("model", &PulledModel::model)
      .def_ro("commit", &PulledModel::commit)
      .def_prop_ro("folder", [](const PulledModel& self) { return self.folder.string(); })
      .def_ro("files", &PulledModel::files)
      .def_ro("bytes", &PulledModel::bytes)
      .def_ro("fetched_bytes", &PulledModel::fetched_bytes);
  module.def(
      "pull",
      [](const std::string& name, bool offline, const nb::object& on_news, StopFlag& stop) {
        NewsBox box;
        const PullSettings settings = SettingsFor(offline, box, stop);
        return WhileTelling(box, stop, on_news, [&] { return PullOrThrow(name, settings); });
      },
      "name"_a, "offline"_a, "on_news"_a, "stop"_a);

  nb::class_<PublishedModel>(module, "PublishedModel")
      .def_ro("name", &PublishedModel::name)
      .def_ro("model", &PublishedModel::model)
      .def_ro("base", &PublishedModel::base)
      .def_ro("cached", &PublishedModel::cached)
      .def_ro("weight_bytes", &PublishedModel::weight_bytes)
      .def_ro("resident_bytes", &PublishedModel::resident_bytes)
      .def_ro("fits", &PublishedModel::fits);
  module.def("published_models", [] {
    const WithoutGil released;
    return PublishedModels();
  });
}

}  // namespace culet::python
