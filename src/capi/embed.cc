// Embeddings.
#include "culet/embed.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "capi/boundary.h"
#include "culet/json.h"

using culet::capi::Copy;
using culet::capi::Guard;
using culet::capi::Need;
using culet::capi::OptionsText;
using culet::capi::Set;
using culet::capi::Span;

culet_status culet_embed(culet_model* model, const char* const* texts, size_t count,
                         const char* options, culet_progress_callback on_progress, void* user,
                         float** values, size_t* dimensions, int64_t* tokens, culet_error** error) {
  Set(values, nullptr);
  Set(dimensions, 0);
  return Guard(error, [&] {
    Need(values, "culet_embed: values");
    Need(dimensions, "culet_embed: dimensions");
    std::vector<std::string> given;
    for (const char* text : Span(texts, count, "culet_embed: texts")) {
      given.emplace_back(&Need(text, "culet_embed: a text"));
    }
    bool stopped = false;
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      stopped = stopped || !on_progress(static_cast<std::uint64_t>(done),
                                        static_cast<std::uint64_t>(total), user);
    };
    std::function<void(std::int64_t, std::int64_t)> tell;
    if (on_progress != nullptr) tell = progress;
    const std::optional<culet::Embeddings> embeddings =
        culet::Embed(Need(model, "culet_embed: model").model, given,
                     culet::ParseEmbedOptions(OptionsText(options), "the options"), tell,
                     [&] { return stopped; });
    if (!embeddings) return;
    *values = Copy(std::span(embeddings->values));
    *dimensions = static_cast<size_t>(embeddings->dimensions);
    if (tokens != nullptr) std::ranges::copy(embeddings->tokens, tokens);
  });
}
