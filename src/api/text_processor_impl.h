// The way from the public TextProcessor to the tokenizer behind it, for the rest of src/api.
#pragma once

#include "culet/text.h"
#include "text/tokenizer.h"

namespace culet {

// Throws Error(kNotFound) where the folder has no tokenizer.json. Defined in text_processor.cc.
const Tokenizer& TokenizerOf(const TextProcessor& text);

}  // namespace culet
