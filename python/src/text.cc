// The text side: tokenizer, chat template.
#include "culet/text.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gil.h"
#include "handles.h"
#include "module.h"

namespace culet::python {

using namespace nanobind::literals;

namespace {

using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;
using Samples = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

MediaKind KindOf(const std::string& name) {
  if (name == "audio") return MediaKind::kAudio;
  return name == "video" ? MediaKind::kVideo : MediaKind::kImage;
}

void AddMedia(nb::module_& module) {
  nb::class_<Media>(module, "Media")
      .def_static(
          "file",
          [](const std::string& kind, const std::string& path) {
            return Media::File(KindOf(kind), path);
          },
          "kind"_a, "path"_a)
      .def_static(
          "bytes",
          [](const std::string& kind, const nb::bytes& content, const std::string& name) {
            return Media::Bytes(KindOf(kind), std::string(content.c_str(), content.size()), name);
          },
          "kind"_a, "content"_a, "name"_a)
      .def_static(
          "pixels",
          [](const Pixels& pixels, const std::string& name) {
            return Media::Pixels(std::span(pixels.data(), pixels.size()),
                                 static_cast<std::int64_t>(pixels.shape(0)),
                                 static_cast<std::int64_t>(pixels.shape(1)), name);
          },
          "pixels"_a, "name"_a)
      .def_static(
          "samples",
          [](const Samples& samples, const std::string& name) {
            return Media::Samples(std::span(samples.data(), samples.size()), name);
          },
          "samples"_a, "name"_a)
      .def("with_options", &Media::With, "options"_a)
      .def_prop_ro("kind",
                   [](const Media& self) { return std::string(MediaKindName(self.kind())); })
      .def_prop_ro("name", [](const Media& self) { return ToStr(self.name()); });
  nb::class_<MediaOptions>(module, "MediaOptions")
      .def(nb::init<>())
      .def_rw("image_tokens", &MediaOptions::image_tokens, nb::arg().none())
      .def_rw("video_tokens", &MediaOptions::video_tokens, nb::arg().none())
      .def_rw("video_frames", &MediaOptions::video_frames, nb::arg().none())
      .def_rw("video_fps", &MediaOptions::video_fps, nb::arg().none())
      .def_rw("video_sound", &MediaOptions::video_sound)
      .def_rw("resize_as_torchvision", &MediaOptions::resize_as_torchvision);
  module.def(
      "message_content",
      [](const std::string& text, std::vector<Media> media) {
        std::string content = MessageContent(text, &media);
        return std::make_pair(std::move(content), std::move(media));
      },
      "text"_a, "media"_a);
}

}  // namespace

void AddText(nb::module_& module) {
  AddMedia(module);
  nb::class_<Prompt>(module, "Prompt")
      .def(
          "__init__",
          [](Prompt* self, std::vector<TokenId> tokens, bool starts_in_thought) {
            new (self) Prompt{std::move(tokens), starts_in_thought, {}, {}};
          },
          "tokens"_a, "starts_in_thought"_a = false)
      .def_ro("tokens", &Prompt::tokens)
      .def_ro("starts_in_thought", &Prompt::starts_in_thought)
      .def_prop_ro("has_media", [](const Prompt& self) { return !self.media.empty(); })
      .def_ro("warnings", &Prompt::warnings)
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
             const std::vector<TokenId>& known, const std::vector<Media>& media,
             const MediaOptions& options) {
            const WithoutGil released;
            return self.text->RenderTokens(request, place, known, media, options);
          },
          "request"_a, "place"_a, "known"_a, "media"_a, "options"_a)
      .def(
          "raw_prompt",
          [](const TextHandle& self, const std::string& text, const std::vector<Media>& media,
             const MediaOptions& options) {
            const WithoutGil released;
            return self.text->RawPrompt(text, media, options);
          },
          "text"_a, "media"_a, "options"_a)
      .def_prop_ro("vocab_size", [](const TextHandle& self) { return self.text->vocab_size(); })
      .def_prop_ro("has_chat_template",
                   [](const TextHandle& self) { return self.text->has_chat_template(); })
      .def_prop_ro("warnings", [](const TextHandle& self) { return self.text->warnings(); });
}

}  // namespace culet::python
