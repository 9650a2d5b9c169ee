// The files of a model: which config.json and which .safetensors files belong together.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/safetensors.h"

namespace culet {

struct ModelFiles {
  std::filesystem::path folder;
  std::filesystem::path config;               // config.json
  std::filesystem::path weights;              // for messages: the file or the index
  std::vector<std::filesystem::path> shards;  // one or more .safetensors files
  // Tensor → index into shards, where there is an index file; else empty.
  std::map<std::string, std::size_t> weight_map;
  std::vector<std::string> warnings;
};

// `path`: a folder, or a .safetensors file beside config.json. Looks, and reads an index if there
// is one; opens no weights. In a folder model.safetensors counts before
// model.safetensors.index.json, as in transformers. Shard names must be plain file names: an index
// cannot lead out of its folder. Throws Error (kNotFound, kCorrupt, kUnsupported) with a way out.
ModelFiles FindModelFiles(FileSystem& files, const std::filesystem::path& path);

// Opens every shard and checks that each holds exactly the tensors that the index gives it.
std::vector<SafetensorsFile> OpenShards(FileSystem& files, const ModelFiles& model);

}  // namespace culet
