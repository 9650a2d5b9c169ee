// culet._culet: the public C++ interface as Python sees it, thin on purpose. The package around it
// (python/culet) is what a user meets.
#include "module.h"

#include <nanobind/stl/string.h>

#include <cstdlib>
#include <string>

#include "culet/error.h"
#include "culet/tools.h"
#include "gil.h"
#include "handles.h"

namespace culet::python {

// culet::Error becomes the class of culet/errors.py that stands for its kind.
void AddErrors(nb::module_& /*module*/) {
  nb::register_exception_translator([](const std::exception_ptr& thrown, void* /*payload*/) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      const std::string kind(ErrorKindName(error.kind()));
      const nb::object raised =
          nb::module_::import_("culet.errors").attr("_of_kind")(kind, ToStr(error.what()));
      PyErr_SetObject(raised.type().ptr(), raised.ptr());
    }
  });
}

}  // namespace culet::python

NB_MODULE(_culet, module) {
  namespace cp = culet::python;
  // On by the tests: a user who keeps a model until the very end has done nothing wrong.
  const char* leaks = std::getenv("CULET_PYTHON_LEAKS");
  nanobind::set_leak_warnings(leaks != nullptr && *leaks != '\0');
  module.def("version", &culet::Version);
  module.def("begin_shutdown", &cp::BeginShutdown);
  module.def("after_fork_in_child", &cp::AfterForkInChild);
  nanobind::class_<cp::StopFlag>(module, "StopFlag")
      .def(nanobind::init<>())
      .def("stop", [](cp::StopFlag& self) { self.stopped = true; })
      .def_prop_ro("stopped", [](const cp::StopFlag& self) { return self.stopped.load(); });
  cp::AddErrors(module);
  cp::AddText(module);
  cp::AddOptions(module);
  cp::AddModel(module);
  cp::AddAnswer(module);
  cp::AddEmbed(module);
  cp::AddHub(module);
  cp::AddQuantize(module);
}
