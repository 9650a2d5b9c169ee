#include "checkpoint/model_files.h"

#include <utility>

#include "base/config_fields.h"
#include "base/error.h"
#include "base/json.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr std::uint64_t kMaxIndexBytes = 64 << 20;
constexpr std::size_t kMaxShards = 10000;

// What a folder without usable weights has instead, and what to do about it.
std::string MissingWeightsHint(FileSystem& files, const fs::path& folder) {
  struct Other {
    const char* name;
    const char* hint;
  };
  constexpr Other kOthers[] = {
      {"adapter_model.safetensors",
       "The folder holds an adapter (LoRA): merge it into its base model first"},
      {"pytorch_model.bin",
       "culet reads no pickled weights: load and save the model with transformers"},
      {"pytorch_model.bin.index.json",
       "culet reads no pickled weights: load and save the model with transformers"},
      {"consolidated.safetensors",
       "consolidated.safetensors is of another layout: use the Hugging Face checkpoint"},
  };
  for (const Other& other : kOthers) {
    if (files.Exists(folder / other.name)) return other.hint;
  }
  return "Copy the weights there, or name the .safetensors file itself";
}

// A shard must be a plain file in the folder of its index.
void CheckShardName(const fs::path& index, const std::string& tensor, const std::string& shard) {
  const bool plain = shard.ends_with(".safetensors") &&
                     shard.find_first_of(std::string_view("/\\\0:", 4)) == std::string::npos &&
                     shard.front() != '.';
  if (plain) return;
  throw Error(ErrorKind::kCorrupt, index.string() + ": weight_map." + DisplayName(tensor) + " is " +
                                       JsonExcerpt(Json(shard)) +
                                       "; expected the name of a .safetensors file in the same "
                                       "folder");
}

void ReadIndex(FileSystem& files, const fs::path& index, ModelFiles* model) {
  const std::string place = index.string();
  const Json json = ParseJson(files.ReadFile(index, kMaxIndexBytes), place);
  const auto found = json.is_object() ? json.find("weight_map") : json.end();
  if (found == json.end() || !found->is_object() || found->empty()) {
    throw Error(ErrorKind::kCorrupt, place + ": weight_map is " +
                                         (found == json.end() ? "missing" : JsonExcerpt(*found)) +
                                         "; expected an object from tensor to file name");
  }
  std::map<std::string, std::size_t> shard_numbers;
  for (const auto& item : found->items()) {
    if (!item.value().is_string()) {
      throw Error(ErrorKind::kCorrupt, place + ": weight_map." + DisplayName(item.key()) + " is " +
                                           JsonExcerpt(item.value()) + "; expected a file name");
    }
    const std::string& shard = item.value().get_ref<const std::string&>();
    CheckShardName(index, item.key(), shard);
    const auto [number, fresh] = shard_numbers.emplace(shard, model->shards.size());
    if (fresh) {
      if (model->shards.size() == kMaxShards) {
        throw Error(ErrorKind::kCorrupt, place + ": weight_map names more than " +
                                             std::to_string(kMaxShards) + " files");
      }
      if (!files.Exists(model->folder / shard)) {
        throw Error(ErrorKind::kNotFound, place + ": weight_map gives tensor " +
                                              DisplayName(item.key()) + " to " + shard +
                                              ", which is not in the folder; download it too");
      }
      model->shards.push_back(model->folder / shard);
    }
    model->weight_map.emplace(item.key(), number->second);
  }
}

void FindInFolder(FileSystem& files, ModelFiles* model) {
  const fs::path weights = model->folder / kWeights;
  const fs::path index = model->folder / kIndex;
  const bool has_index = files.Exists(index);
  if (files.Exists(weights)) {
    model->weights = weights;
    model->shards = {weights};
    if (has_index) {
      model->warnings.push_back(index.string() + " is not used: " + kWeights +
                                " beside it counts first, as in transformers");
    }
  } else if (has_index) {
    model->weights = index;
    ReadIndex(files, index, model);
  } else {
    throw Error(ErrorKind::kNotFound, model->folder.string() + ": has no " + kWeights + " and no " +
                                          kIndex + ". " + MissingWeightsHint(files, model->folder));
  }
}

}  // namespace

ModelFiles FindModelFiles(FileSystem& files, const fs::path& path) {
  if (!files.Exists(path)) {
    throw Error(ErrorKind::kNotFound,
                path.string() +
                    ": no such folder or file; expected a folder with config.json and "
                    "model.safetensors, or a .safetensors file beside config.json");
  }
  ModelFiles model;
  const bool is_folder = files.IsDirectory(path);
  model.folder = is_folder ? path : path.parent_path();
  if (!is_folder && path.extension() != ".safetensors") {
    throw Error(ErrorKind::kUnsupported,
                path.string() + ": is neither a folder nor a .safetensors file" +
                    (path.extension() == ".gguf" ? "; culet does not read GGUF. Use the Hugging "
                                                   "Face checkpoint of the model"
                                                 : "; name the folder that has config.json"));
  }
  model.config = model.folder / "config.json";
  if (!files.Exists(model.config)) {
    const bool adapter = files.Exists(model.folder / "adapter_config.json");
    throw Error(ErrorKind::kNotFound,
                model.config.string() + ": no such file; culet reads a model's shape from it. " +
                    (adapter ? "The folder holds an adapter (LoRA): merge it into its base model "
                               "first"
                             : "Copy it beside the weights"));
  }
  if (is_folder) {
    FindInFolder(files, &model);
  } else {
    model.weights = path;
    model.shards = {path};
  }
  return model;
}

std::vector<SafetensorsFile> OpenShards(FileSystem& files, const ModelFiles& model) {
  std::vector<SafetensorsFile> shards;
  shards.reserve(model.shards.size());
  for (const fs::path& path : model.shards) shards.push_back(SafetensorsFile::Open(files, path));
  if (model.weight_map.empty()) return shards;
  for (const auto& [name, number] : model.weight_map) {
    if (shards[number].tensors().count(name) != 0) continue;
    throw Error(ErrorKind::kCorrupt, model.shards[number].string() + ": has no tensor " +
                                         DisplayName(name) + ", which " +
                                         model.weights.filename().string() +
                                         " says it has; index and shard are of different models");
  }
  for (std::size_t number = 0; number < shards.size(); ++number) {
    for (const auto& [name, tensor] : shards[number].tensors()) {
      const auto listed = model.weight_map.find(name);
      if (listed != model.weight_map.end() && listed->second == number) continue;
      throw Error(ErrorKind::kCorrupt,
                  model.shards[number].string() + ": has tensor " + DisplayName(name) + ", which " +
                      model.weights.filename().string() +
                      (listed == model.weight_map.end()
                           ? std::string(" does not list")
                           : " gives to " + model.shards[listed->second].filename().string()) +
                      "; index and shard are of different models");
    }
  }
  return shards;
}

}  // namespace culet
