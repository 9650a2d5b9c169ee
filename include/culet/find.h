// Models by what a user calls them: a path, a bundled model, a model of the hub.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "culet/export.h"

namespace culet {

struct FindOptions {
  // A tokenizer.json or chat_template.jinja may stand for its folder, and weights need not be
  // there.
  bool text_only = false;
  // Folders of bundled models, looked into behind those of the variable CULET_MODELS (colons
  // between them) and before ./models.
  std::vector<std::filesystem::path> bundled;
  // Fetches a model of the hub that the cache lacks and gives its folder. What it throws goes
  // through; an Error is told with all that was tried before. Not set: such a model is not found.
  std::function<std::filesystem::path(const std::string& name)> fetch;
  // Sentences of the front end that end a message: how names are listed, how a model is fetched.
  std::string list_hint, fetch_hint;
};

// "a folder, a .safetensors file …": what may be asked for.
CULET_EXPORT std::string WhatNamesAModel();

// Where the model lies that `name` means, to give to Model::Load: a folder, a .safetensors file, a
// bundled model, or a model of the hub in the cache (see hub.h). Throws Error: kInvalidArgument
// (nothing named, a file of another kind), kNotFound naming everything that was tried.
CULET_EXPORT std::filesystem::path FindModel(const std::string& name,
                                             const FindOptions& options = {});

}  // namespace culet
