// What a user may write for MODEL.
#pragma once

#include <filesystem>
#include <string>

namespace culet::cli {

// Where a model lies: a folder, a .safetensors file, a bundled model (looked for in $CULET_MODELS,
// models/ of the source tree that this program was built in, share/culet/models beside its
// installation, and ./models), or a model of the hub that the cache holds. `text_only`: a
// tokenizer.json or chat_template.jinja may stand for its folder, and weights need not be there.
// Throws Error: kNotFound naming everything that was tried, or what `culet pull` is to fetch.
std::filesystem::path ResolveModel(const std::string& name, bool text_only = false);

// How to get a model of the hub that is not there.
struct FetchChoice {
  bool yes = false;      // fetch without asking
  bool offline = false;  // do not fetch
};
// The same; a model of the hub that the cache lacks is fetched, after saying how much and where,
// and asking where a person sits at the terminal. Throws Interrupted for a no and for Ctrl-C.
std::filesystem::path ResolveOrFetch(const std::string& name, const FetchChoice& choice);

}  // namespace culet::cli
