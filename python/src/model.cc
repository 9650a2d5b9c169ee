// A model: opened, planned, loaded.
#include "culet/model.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>

#include "gil.h"
#include "handles.h"
#include "module.h"

namespace culet::python {

using namespace nanobind::literals;

namespace {

void AddInfo(nb::module_& module) {
  nb::class_<ModelInfo>(module, "ModelInfo")
      .def_ro("path", &ModelInfo::path)
      .def_ro("variant", &ModelInfo::variant)
      .def_ro("dtype", &ModelInfo::dtype)
      .def_ro("layers", &ModelInfo::layers)
      .def_ro("hidden", &ModelInfo::hidden)
      .def_ro("vocab", &ModelInfo::vocab)
      .def_ro("window", &ModelInfo::window)
      .def_ro("max_positions", &ModelInfo::max_positions)
      .def_ro("experts", &ModelInfo::experts)
      .def_ro("parameters", &ModelInfo::parameters)
      .def_ro("weight_bytes", &ModelInfo::weight_bytes)
      .def_ro("context", &ModelInfo::context)
      .def_ro("chunk", &ModelInfo::chunk)
      .def_ro("sequences", &ModelInfo::sequences)
      .def_ro("pool_tokens", &ModelInfo::pool_tokens)
      .def_ro("kv_dtype", &ModelInfo::kv_dtype)
      .def_ro("kv_bytes", &ModelInfo::kv_bytes)
      .def_ro("activation_bytes", &ModelInfo::activation_bytes)
      .def_ro("resident_bytes", &ModelInfo::resident_bytes)
      .def_ro("media_bytes", &ModelInfo::media_bytes)
      .def_ro("cpu_model", &ModelInfo::cpu_model)
      .def_ro("cpu_level", &ModelInfo::cpu_level)
      .def_ro("threads", &ModelInfo::threads)
      .def_ro("has_chat_template", &ModelInfo::has_chat_template)
      .def_ro("warnings", &ModelInfo::warnings);

  nb::class_<ModelDefaults>(module, "ModelDefaults")
      .def_ro("stop_texts", &ModelDefaults::stop_texts)
      .def_ro("do_sample", &ModelDefaults::do_sample)
      .def_ro("temperature", &ModelDefaults::temperature)
      .def_ro("top_k", &ModelDefaults::top_k)
      .def_ro("top_p", &ModelDefaults::top_p)
      .def_ro("min_p", &ModelDefaults::min_p)
      .def_ro("repetition_penalty", &ModelDefaults::repetition_penalty)
      .def_ro("max_new_tokens", &ModelDefaults::max_new_tokens);

  nb::class_<ModelStatistics>(module, "ModelStatistics")
      .def_ro("steps", &ModelStatistics::steps)
      .def_ro("rows", &ModelStatistics::rows)
      .def_ro("answers", &ModelStatistics::answers)
      .def_ro("preemptions", &ModelStatistics::preemptions)
      .def_ro("prompt_tokens", &ModelStatistics::prompt_tokens)
      .def_ro("shared_tokens", &ModelStatistics::shared_tokens);
}

}  // namespace

void AddModel(nb::module_& module) {
  AddInfo(module);
  module.def(
      "describe",
      [](const std::string& path, const LoadOptions& options) {
        const WithoutGil released;
        return Describe(path, options);
      },
      "path"_a, "options"_a);

  nb::class_<ModelHandle>(module, "Model")
      .def(
          "__init__",
          [](ModelHandle* self, const std::string& path, const LoadOptions& options) {
            const WithoutGil released;
            new (self) ModelHandle(Model::Load(path, options));
          },
          "path"_a, "options"_a)
      .def_prop_ro("info", [](const ModelHandle& self) { return self.get()->info(); })
      .def_prop_ro("defaults", [](const ModelHandle& self) { return self.get()->defaults(); })
      .def_prop_ro("statistics",
                   [](const ModelHandle& self) {
                     const WithoutGil released;
                     return self.get()->statistics();
                   })
      // Keeps the model.
      .def_prop_ro("text",
                   [](const ModelHandle& self) {
                     return TextHandle{{self.get(), &self.get()->text()}};
                   })
      .def(
          "start",
          [](const ModelHandle& self, const Prompt& prompt, const GenerateOptions& options,
             const StopFlag& stop) {
            return StartAnswer(options, stop, [&](const GenerateOptions& asked) {
              return Start(self.get(), prompt, asked);
            });
          },
          "prompt"_a, "options"_a, "stop"_a)
      .def("session", [](const ModelHandle& self) {
        const WithoutGil released;
        return std::make_unique<SessionHandle>(Session(self.get()));
      });
}

}  // namespace culet::python
