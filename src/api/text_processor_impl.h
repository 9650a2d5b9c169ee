// The way from the public TextProcessor to the tokenizer behind it, for the rest of src/api.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/file.h"
#include "culet/text.h"
#include "text/tokenizer.h"

namespace culet {

// Throws Error(kNotFound) where the folder has no tokenizer.json. Defined in text_processor.cc.
const Tokenizer& TokenizerOf(const TextProcessor& text);

// The folder's chat template: chat_template.jinja, or what tokenizer_config.json holds; none in
// base models. Throws Error where there is one in a form that is not known.
std::optional<std::string> ReadChatTemplate(FileSystem& files, const std::filesystem::path& folder);

}  // namespace culet
