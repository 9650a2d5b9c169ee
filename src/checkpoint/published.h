// The five published sizes of Gemma 4, as their config.json spells them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/json.h"

namespace culet {

// "e2b", "e4b", "12b", "26b-a4b", "31b".
std::span<const std::string_view> PublishedSizes();

// The text config of a published size in the published spelling, as a text-only config.json
// (architectures, model_type, tie_word_embeddings and the text fields at the top). `size` is one of
// PublishedSizes() in any case; else Error(kInvalidArgument) that lists them.
OrderedJson PublishedTextConfig(const std::string& size);

// The whole config.json of a published size, with its encoders of images and sounds.
OrderedJson PublishedConfig(const std::string& size);

// generation_config.json of a published size.
OrderedJson PublishedGenerationConfig(const std::string& size);

}  // namespace culet
