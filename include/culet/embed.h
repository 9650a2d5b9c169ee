// Embeddings: a text as one vector, pooled over the model's last hidden states.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "culet/export.h"
#include "culet/model.h"
#include "culet/text.h"

namespace culet {

// Over the rows of a text, after the final norm (transformers: last_hidden_state). kLast: the row
// of the last token, which is the only one that has seen the whole text.
enum class Pooling { kMean, kLast };

struct EmbedOptions {
  Pooling pooling = Pooling::kMean;
  std::int64_t dimensions = 0;  // the first so many; 0: all, which is the hidden size
  bool normalize = false;       // to length 1, after `dimensions`; a vector of zeros stays one
  // With or without `<bos>` in front of a text; unset: as the tokenizer's post_processor has it,
  // see TextProcessor::PlainTokens. Of token ids nothing is changed.
  std::optional<bool> bos;
  std::int64_t first_text = 1;  // its number in messages, where texts are given in several calls
};

struct Embeddings {
  std::int64_t dimensions = 0;
  std::vector<float> values;         // [texts, dimensions]
  std::vector<std::int64_t> tokens;  // of each text, `<bos>` and the like counted

  std::int64_t texts() const { return static_cast<std::int64_t>(tokens.size()); }
  std::span<const float> row(std::int64_t text) const {
    return std::span(values).subspan(static_cast<std::size_t>(text * dimensions),
                                     static_cast<std::size_t>(dimensions));
  }
};

// Texts are computed together, in the steps in which answers of the same model are made: a token of
// an answer waits no longer for them than for the prompt of another. Each vector is the same bit
// for bit whatever company its text has and in whatever chunks it is computed.
//
// `on_progress(done, total)` counts tokens and is called on the caller's thread, several times a
// second. `should_stop` is asked there a hundred times a second; true ends the call, and nothing is
// returned. Throws Error: kInvalidArgument for options out of range and a text without tokens,
// kResource with the numbers for one that is longer than the context; then nothing was computed.
// Texts are named by their number. Any thread.
CULET_EXPORT std::optional<Embeddings> Embed(
    const std::shared_ptr<Model>& model, std::span<const std::string> texts,
    const EmbedOptions& options = {},
    const std::function<void(std::int64_t done, std::int64_t total)>& on_progress = {},
    const std::function<bool()>& should_stop = {});
CULET_EXPORT std::optional<Embeddings> EmbedTokens(
    const std::shared_ptr<Model>& model, std::span<const std::vector<TokenId>> texts,
    const EmbedOptions& options = {},
    const std::function<void(std::int64_t done, std::int64_t total)>& on_progress = {},
    const std::function<bool()>& should_stop = {});

}  // namespace culet
