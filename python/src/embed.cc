// Embeddings, as NumPy's arrays.
#include "culet/embed.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "culet/error.h"
#include "gil.h"
#include "handles.h"
#include "module.h"

namespace culet::python {

using namespace nanobind::literals;

namespace {

using Rows = nb::ndarray<nb::numpy, float, nb::ndim<2>, nb::c_contig>;

// The values, which the array takes over; [texts, dimensions].
Rows ToArray(std::vector<float> values, std::size_t texts, std::size_t dimensions) {
  auto kept = std::make_unique<std::vector<float>>(std::move(values));
  float* data = kept->data();
  const nb::capsule owner(
      kept.get(), [](void* vector) noexcept { delete static_cast<std::vector<float>*>(vector); });
  static_cast<void>(kept.release());
  return Rows(data, {texts, dimensions}, owner);
}

// The rows, and how many tokens each text has.
std::pair<Rows, std::vector<std::int64_t>> EmbedTexts(const ModelHandle& self,
                                                      const std::vector<std::string>& texts,
                                                      const EmbedOptions& options,
                                                      const StopFlag& stop) {
  std::optional<Embeddings> found;
  {
    WithoutGil released;
    found = Embed(self.get(), texts, options, {},
                  [&] { return stop.stopped || released.Interrupted(); });
  }
  CheckInterrupts();
  if (!found) throw Error(ErrorKind::kInvalidArgument, "the embedding was stopped");
  return {ToArray(std::move(found->values), static_cast<std::size_t>(found->texts()),
                  static_cast<std::size_t>(found->dimensions)),
          std::move(found->tokens)};
}

}  // namespace

void AddEmbed(nb::module_& module) {
  nb::class_<EmbedOptions>(module, "EmbedOptions")
      .def(nb::init<>())
      .def_rw("dimensions", &EmbedOptions::dimensions)
      .def_rw("normalize", &EmbedOptions::normalize)
      .def_rw("bos", &EmbedOptions::bos, nb::arg().none())
      .def("set_pooling", [](EmbedOptions& self, const std::string& pooling) {
        self.pooling = pooling == "last" ? Pooling::kLast : Pooling::kMean;
      });
  module.def(
      "embed",
      [](const ModelHandle& model, const std::vector<std::string>& texts,
         const EmbedOptions& options, const StopFlag& stop) {
        auto [rows, tokens] = EmbedTexts(model, texts, options, stop);
        return nb::make_tuple(std::move(rows), std::move(tokens));
      },
      "model"_a, "texts"_a, "options"_a, "stop"_a);
}

}  // namespace culet::python
