// A tiny checkpoint that tests write, spoil and open again.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/config.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_table.h"

namespace culet::testing {

// A folder of its own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "culet-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void WriteText(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Four layers S F S F, the last two sharing KV, per-layer embeddings: most rows of the tensor
// table.
inline Json TinyTextConfig() {
  return Json::parse(R"({
    "model_type": "gemma4_text", "vocab_size": 40, "hidden_size": 24, "intermediate_size": 16,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
    "global_head_dim": 8, "num_global_key_value_heads": null, "sliding_window": 6,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "num_kv_shared_layers": 2, "use_double_wide_mlp": true, "hidden_size_per_layer_input": 6,
    "vocab_size_per_layer_input": 40, "final_logit_softcapping": 30.0,
    "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "attention_k_eq_v": false})");
}

// Top-level config around a text config, as multimodal checkpoints have it.
inline Json Conditional(Json text) {
  Json config;
  config["model_type"] = "gemma4";
  config["text_config"] = std::move(text);
  return config;
}

inline Json TinyExpertConfig() {
  Json config = TinyTextConfig();
  config["hidden_size_per_layer_input"] = 0;
  config["num_kv_shared_layers"] = 0;
  config["attention_k_eq_v"] = true;
  config["num_global_key_value_heads"] = 1;
  config["enable_moe_block"] = true;
  config["num_experts"] = 4;
  config["top_k_experts"] = 2;
  config["moe_intermediate_size"] = 8;
  return config;
}

// The tensors of a file with their data, by name; changed freely before they are written.
struct TinyTensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::string data;
};
using TinyTensors = std::map<std::string, TinyTensor>;

inline std::size_t Elements(const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  return count;
}

// Values that differ from tensor to tensor: its number in the table plus the index.
inline TinyTensor MakeTensor(std::vector<std::int64_t> shape, float start) {
  TinyTensor tensor;
  tensor.data.resize(4 * Elements(shape));
  for (std::size_t i = 0; i < Elements(shape); ++i) {
    const float value = start + static_cast<float>(i) / 1024;
    std::memcpy(tensor.data.data() + 4 * i, &value, 4);
  }
  tensor.shape = std::move(shape);
  return tensor;
}

inline TinyTensors TensorsOf(const ModelConfig& config) {
  TinyTensors tensors;
  float start = 0;
  for (const ExpectedTensor& expected : ExpectedTensors(config)) {
    tensors[FullTensorName(config, expected.name)] = MakeTensor(expected.shape, start += 1);
  }
  return tensors;
}

inline void WriteTensors(const std::filesystem::path& path, const TinyTensors& tensors) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const auto& [name, tensor] : tensors) entries.push_back({name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(path, entries);
  for (const auto& [name, tensor] : tensors) {
    writer.Append(std::as_bytes(std::span(tensor.data)));
  }
  writer.Finish();
}

// Bytes of a safetensors file with any header, lies included.
inline std::string RawSafetensors(std::string_view header, std::string_view data) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  return file.append(header).append(data);
}

// A whole model folder.
inline void WriteModel(const std::filesystem::path& folder, const Json& config,
                       const TinyTensors& tensors) {
  WriteText(folder / "config.json", config.dump(1));
  WriteTensors(folder / "model.safetensors", tensors);
}

inline void WriteModel(const std::filesystem::path& folder, const Json& config) {
  WriteModel(folder, config, TensorsOf(ParseModelConfig(config, "config.json")));
}

// Runs `action` and returns the message of the culet::Error that it must throw.
template <typename Action>
std::string ErrorOf(ErrorKind kind, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(ErrorKindName(error.kind()), ErrorKindName(kind)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

}  // namespace culet::testing
