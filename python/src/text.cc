// The text side: tokenizer, chat template.
#include "culet/text.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gil.h"
#include "handles.h"
#include "module.h"

namespace culet::python {

using namespace nanobind::literals;

void AddText(nb::module_& module) {
  nb::class_<Prompt>(module, "Prompt")
      .def(
          "__init__",
          [](Prompt* self, std::vector<TokenId> tokens, bool starts_in_thought) {
            new (self) Prompt{std::move(tokens), starts_in_thought};
          },
          "tokens"_a, "starts_in_thought"_a = false)
      .def_ro("tokens", &Prompt::tokens)
      .def_ro("starts_in_thought", &Prompt::starts_in_thought)
      .def("__len__", [](const Prompt& self) { return self.tokens.size(); });

  nb::class_<TextHandle>(module, "Text")
      .def_static(
          "open",
          [](const std::string& path, const std::string& tokenizer, bool allow_control_tokens) {
            TextProcessor::Options options;
            options.tokenizer = tokenizer;
            options.allow_control_tokens = allow_control_tokens;
            const WithoutGil released;
            return TextHandle{TextProcessor::Open(path, options)};
          },
          "path"_a, "tokenizer"_a, "allow_control_tokens"_a)
      .def(
          "encode",
          [](const TextHandle& self, const std::string& text) {
            const WithoutGil released;
            return self.text->Encode(text);
          },
          "text"_a)
      .def(
          "decode",
          [](const TextHandle& self, const std::vector<TokenId>& ids) {
            std::string text;
            {
              const WithoutGil released;
              text = self.text->Decode(ids);
            }
            return ToStr(text);
          },
          "ids"_a)
      .def(
          "render",
          [](const TextHandle& self, const std::string& request, const std::string& place) {
            const WithoutGil released;
            return self.text->Render(request, place);
          },
          "request"_a, "place"_a)
      .def(
          "render_tokens",
          [](const TextHandle& self, const std::string& request, const std::string& place,
             const std::vector<TokenId>& known) {
            const WithoutGil released;
            return self.text->RenderTokens(request, place, known);
          },
          "request"_a, "place"_a, "known"_a)
      .def(
          "raw_prompt",
          [](const TextHandle& self, const std::string& text) {
            const WithoutGil released;
            return self.text->RawPrompt(text);
          },
          "text"_a)
      .def_prop_ro("vocab_size", [](const TextHandle& self) { return self.text->vocab_size(); })
      .def_prop_ro("has_chat_template",
                   [](const TextHandle& self) { return self.text->has_chat_template(); })
      .def_prop_ro("warnings", [](const TextHandle& self) { return self.text->warnings(); });
}

}  // namespace culet::python
