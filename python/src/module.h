// The parts of the module culet._culet. Each adds its classes and functions; what they mean to a
// user is said in the Python package, which alone calls them.
#pragma once

#include <nanobind/nanobind.h>

namespace culet::python {

void AddErrors(nanobind::module_& module);
void AddText(nanobind::module_& module);
void AddOptions(nanobind::module_& module);
void AddModel(nanobind::module_& module);
void AddAnswer(nanobind::module_& module);
void AddEmbed(nanobind::module_& module);
void AddHub(nanobind::module_& module);
void AddQuantize(nanobind::module_& module);

}  // namespace culet::python
