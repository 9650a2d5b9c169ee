// What a user may write for MODEL.
#pragma once

#include <filesystem>
#include <string>

namespace culet::cli {

// A folder, a .safetensors file, or the name of a bundled model, looked for in $CULET_MODELS,
// models/ of the source tree that this program was built in, share/culet/models beside its
// installation, and
// ./models. `text_only`: a tokenizer.json or chat_template.jinja may stand for its folder.
// Throws Error: kNotFound naming everything that was tried, kUnsupported for ids of a hub.
std::filesystem::path ResolveModel(const std::string& name, bool text_only = false);

}  // namespace culet::cli
