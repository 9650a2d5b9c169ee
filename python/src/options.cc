// Options, field by field: the package fills them in from its configurations.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "culet/generate.h"
#include "culet/model.h"
#include "gil.h"
#include "module.h"

namespace culet::python {
namespace {

KvType KvTypeOf(const std::string& name) {
  if (name == "f32") return KvType::kF32;
  if (name == "bf16") return KvType::kBf16;
  if (name == "int8") return KvType::kInt8;
  return KvType::kAuto;
}

}  // namespace

void AddOptions(nb::module_& module) {
  nb::class_<LoadOptions>(module, "LoadOptions")
      .def(nb::init<>())
      .def_rw("threads", &LoadOptions::threads)
      .def_rw("context", &LoadOptions::context)
      .def_rw("chunk", &LoadOptions::chunk)
      .def_rw("image_tokens", &LoadOptions::image_tokens, nb::arg().none())
      .def_rw("sequences", &LoadOptions::sequences)
      .def_rw("pool_tokens", &LoadOptions::pool_tokens)
      .def_rw("prefix_tokens", &LoadOptions::prefix_tokens, nb::arg().none())
      .def_rw("prompt_rows_beside_decoding", &LoadOptions::prompt_rows_beside_decoding)
      .def_rw("queue", &LoadOptions::queue)
      .def_rw("allow_control_tokens", &LoadOptions::allow_control_tokens)
      .def_rw("overrides", &LoadOptions::overrides)
      .def_rw("cpu", &LoadOptions::cpu)
      .def_rw("quant", &LoadOptions::quant)
      .def("set_kv", [](LoadOptions& self, const std::string& kv) { self.kv = KvTypeOf(kv); })
      .def("set_tokenizer",
           [](LoadOptions& self, const std::string& path) { self.tokenizer = path; });

  nb::class_<GenerateOptions>(module, "GenerateOptions")
      .def(nb::init<>())
      .def_rw("max_tokens", &GenerateOptions::max_tokens, nb::arg().none())
      .def_rw("temperature", &GenerateOptions::temperature, nb::arg().none())
      .def_rw("top_k", &GenerateOptions::top_k, nb::arg().none())
      .def_rw("top_p", &GenerateOptions::top_p, nb::arg().none())
      .def_rw("min_p", &GenerateOptions::min_p, nb::arg().none())
      .def_rw("repetition_penalty", &GenerateOptions::repetition_penalty, nb::arg().none())
      .def_rw("seed", &GenerateOptions::seed, nb::arg().none())
      .def_rw("stop", &GenerateOptions::stop)
      .def_rw("logprobs", &GenerateOptions::logprobs)
      .def_rw("ignore_stop_tokens", &GenerateOptions::ignore_stop_tokens)
      .def_rw("timeout_s", &GenerateOptions::timeout_s, nb::arg().none());
}

}  // namespace culet::python
