// model.safetensors.index.json beside two shards: it never leads out of its folder, and what is
// accepted says of each shard exactly what is in it.
#include "base/error.h"
#include "checkpoint/model_files.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_files.h"

namespace culet::fuzz {
namespace {

std::string Shard(std::string header) {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  return file + header + std::string(4, 'x');
}

}  // namespace

void FuzzOne(std::string_view input) {
  static const std::string a = Shard(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})");
  static const std::string b = Shard(R"({"u":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})");
  MemoryFiles files;
  files.Add("m/config.json", "{}");
  files.Add("m/a.safetensors", a);
  files.Add("m/b.safetensors", b);
  files.Add("secret.safetensors", a);
  files.Add("m/model.safetensors.index.json", input);
  try {
    const ModelFiles model = FindModelFiles(files, "m");
    for (const std::filesystem::path& shard : model.shards) {
      Require(shard == "m/a.safetensors" || shard == "m/b.safetensors",
              "a shard is a file of the folder");
    }
    const std::vector<SafetensorsFile> shards = OpenShards(files, model);
    std::size_t tensors = 0;
    for (const SafetensorsFile& shard : shards) tensors += shard.tensors().size();
    Require(!shards.empty() && tensors == model.weight_map.size(),
            "the index lists every tensor of its shards");
    for (const auto& [name, number] : model.weight_map) {
      Require(number < shards.size() && shards[number].tensors().count(name) == 1,
              "a listed tensor is in its shard");
    }
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
