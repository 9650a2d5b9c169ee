// Copies with integer weights: made, and those that the cache holds.
#include "culet/quantize.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "culet/error.h"
#include "culet/find.h"
#include "gil.h"
#include "handles.h"
#include "module.h"
#include "news.h"

namespace culet::python {

using namespace nanobind::literals;

namespace {

QuantizeReport ReportOf(const std::string& name) {
  if (name == "none") return QuantizeReport::kNone;
  if (name == "whole") return QuantizeReport::kWhole;
  if (name == "classes") return QuantizeReport::kClasses;
  return QuantizeReport::kAuto;
}

// on_news is told the stage, "", and how much of it is done.
QuantizeResult Quantize(const std::string& path, const std::string& folder, QuantizeOptions options,
                        const nb::object& on_news, StopFlag& stop) {
  NewsBox box;
  options.on_progress = [&](std::string_view what, double done, double total) {
    if (stop.stopped) throw Error(ErrorKind::kIo, "stopped; nothing was written");
    box.Put({std::string(what), "", static_cast<std::uint64_t>(done),
             static_cast<std::uint64_t>(total), true});
  };
  std::error_code ignored;
  const bool was_there = std::filesystem::exists(folder, ignored);
  bool made = false;  // read when the thread is over
  try {
    return WhileTelling(box, stop, on_news, [&] {
      QuantizeResult result = QuantizeModel(path, folder, options);
      made = true;
      return result;
    });
  } catch (...) {
    // Stopped in the moment when it was done.
    if (made) std::filesystem::remove_all(folder, ignored);
    if (made && was_there) std::filesystem::create_directory(folder, ignored);
    throw;
  }
}

void AddResult(nb::module_& module) {
  nb::class_<QuantizeQuality>(module, "QuantizeQuality")
      .def_ro("mean_kl", &QuantizeQuality::mean_kl)
      .def_ro("p99_kl", &QuantizeQuality::p99_kl)
      .def_ro("top1_agreement", &QuantizeQuality::top1_agreement)
      .def_ro("perplexity", &QuantizeQuality::perplexity)
      .def_ro("source_perplexity", &QuantizeQuality::source_perplexity);
  nb::class_<QuantizedClass>(module, "QuantizedClass")
      .def_ro("part", &QuantizedClass::part)
      .def_ro("format", &QuantizedClass::format)
      .def_ro("parameters", &QuantizedClass::parameters)
      .def_ro("source_bytes", &QuantizedClass::source_bytes)
      .def_ro("bytes", &QuantizedClass::bytes)
      .def_prop_ro("quality", [](const QuantizedClass& self) { return self.quality; });
  nb::class_<QuantizeResult>(module, "QuantizeResult")
      .def_prop_ro("folder", [](const QuantizeResult& self) { return self.folder.string(); })
      .def_ro("source_bytes", &QuantizeResult::source_bytes)
      .def_ro("bytes", &QuantizeResult::bytes)
      .def_ro("classes", &QuantizeResult::classes)
      .def_prop_ro("quality", [](const QuantizeResult& self) { return self.quality; })
      .def_ro("report_tokens", &QuantizeResult::report_tokens)
      .def_ro("notes", &QuantizeResult::notes);
}

void AddCopies(nb::module_& module) {
  nb::class_<CachedCopy>(module, "CachedCopy")
      .def_prop_ro("state", [](const CachedCopy& self) { return CachedCopyStateName(self.state); })
      .def_ro("model", &CachedCopy::model)
      .def_prop_ro("source", [](const CachedCopy& self) { return self.source.string(); })
      .def_ro("to", &CachedCopy::to)
      .def_prop_ro("folder", [](const CachedCopy& self) { return self.folder.string(); })
      .def_ro("bytes", &CachedCopy::bytes);
  module.def("quantized_copies", [] {
    const WithoutGil released;
    return QuantizedCopies();
  });
  module.def(
      "quantized_copies_of",
      [](const std::string& name, const FindOptions& options) {
        const WithoutGil released;
        return QuantizedCopiesOf(name, options);
      },
      "name"_a, "options"_a);
  module.def(
      "remove_quantized_copy",
      [](const std::string& folder) {
        const WithoutGil released;
        return RemoveQuantizedCopy(folder);
      },
      "folder"_a);
}

}  // namespace

void AddQuantize(nb::module_& module) {
  nb::class_<QuantizeOptions>(module, "QuantizeOptions")
      .def(nb::init<>())
      .def_rw("to", &QuantizeOptions::to)
      .def_rw("group", &QuantizeOptions::group)
      .def_rw("keep", &QuantizeOptions::keep)
      .def_rw("calibration", &QuantizeOptions::calibration)
      .def_rw("report_text", &QuantizeOptions::report_text)
      .def_rw("force", &QuantizeOptions::force)
      .def_rw("threads", &QuantizeOptions::threads)
      .def("set_report", [](QuantizeOptions& self, const std::string& report) {
        self.report = ReportOf(report);
      });
  AddResult(module);
  module.def("quantize", &Quantize, "path"_a, "folder"_a, "options"_a, "on_news"_a, "stop"_a);
  AddCopies(module);
}

}  // namespace culet::python
