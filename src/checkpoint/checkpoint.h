// A model folder (or one .safetensors file beside its config) opened for use: config, every shard
// mapped, and each tensor matched against the one table of tensors (tensor_table.h).
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"
#include "checkpoint/quantized_tensors.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_table.h"

namespace culet {

struct ModelFiles;

class Checkpoint {
 public:
  // `path`: a folder with config.json and model.safetensors or model.safetensors.index.json, or a
  // .safetensors file beside config.json. Every text tensor that the config asks for is there with
  // the right shape and a dtype that culet computes with (f32, bf16, f16; integers with scales,
  // quantized_tensors.h), and every tensor that is there has a row in
  // the table, or Error names the one that does not. An encoder of media is whole in this sense or
  // not used: see vision_error. Reads headers only, and lm_head.weight where it stands beside tied
  // embeddings (to see whether it differs).
  static Checkpoint Open(FileSystem& files, const std::filesystem::path& path,
                         const std::vector<ConfigOverride>& overrides = {});

  const ModelConfig& config() const { return config_; }
  const std::filesystem::path& folder() const { return folder_; }

  // By the name without the family prefix: "embed_tokens.weight", "layers.3.mlp.gate_proj.weight",
  // "lm_head.weight" (only where !head_is_embedding()); of media encoders "vision_tower.…". Throws
  // Error(kInternal) if the table does not ask for it.
  const TensorView& tensor(const std::string& name) const;
  bool has_tensor(const std::string& name) const;
  // How the integers of that tensor lie, and their scales; null where it is dense.
  const QuantizedTensor* quantized(const std::string& name) const;
  bool has_quantized() const { return !quantized_.empty(); }
  // Bytes of a tensor in the files, scales included.
  std::uint64_t stored_bytes(const std::string& name) const;
  // Bytes that computing with it reads: more or fewer where it is repacked when it is loaded.
  std::uint64_t used_bytes(const std::string& name) const;
  // Memory that repacked tensors of text or of media take, beside the mapped files.
  std::uint64_t repacked_bytes(TensorUse use = TensorUse::kText) const;

  // True where the head is the embedding table: tied, or no lm_head.weight that differs.
  bool head_is_embedding() const { return head_is_embedding_; }
  // The dtype that most bytes of the text weights have, or had before they were quantised: decides
  // KV and operand precision.
  DType main_dtype() const { return main_dtype_; }
  // The integer format that most weights of products have; dense where none is quantised.
  WeightFormat main_format() const;

  // Why images and videos (sounds) cannot be computed with; empty where they can: config.vision
  // (config.audio) is there, and so is every tensor of it. Text does not need them.
  const std::string& vision_error() const { return vision_error_; }
  const std::string& audio_error() const { return audio_error_; }

  // Every tensor in the files with what becomes of it, for `info`.
  struct Listing {
    std::string name;  // full name in the file
    std::uint64_t bytes = 0;
    std::uint64_t parameters = 0;
    TensorUse use = TensorUse::kText;
    std::string part;    // of ExpectedTensor, or "unused"
    std::string reason;  // why it is unused; empty where it is used
  };
  const std::vector<Listing>& listings() const { return listings_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

  // The tensors that are computed with by short name, as tensor() finds them.
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }

 private:
  // What one encoder has: names in the file with what they are, and where tensors are by short
  // name.
  struct EncoderTensors {
    std::map<std::string, ExpectedTensor> expected;
    std::map<std::string, TensorView> tensors;
    std::map<std::string, QuantizedTensor> quantized;
  };

  void Match(const std::map<std::string, TensorView>& present, const ModelFiles& model);
  std::string MatchEncoder(const std::map<std::string, TensorView>& present,
                           const ModelFiles& model, const std::vector<ExpectedTensor>& tensors,
                           std::span<const std::string_view> prefixes, EncoderTensors* found) const;
  void MatchMedia(const std::map<std::string, TensorView>& present, const ModelFiles& model,
                  std::map<std::string, ExpectedTensor>* media);
  std::string SettleTiedHead(const TensorView& head,
                             std::map<std::string, ExpectedTensor>* expected);

  ModelConfig config_;
  std::filesystem::path folder_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, TensorView> tensors_;         // by short name
  std::map<std::string, QuantizedTensor> quantized_;  // likewise
  std::string vision_error_, audio_error_;
  std::vector<Listing> listings_;
  std::vector<std::string> warnings_;
  bool head_is_embedding_ = true;
  DType main_dtype_ = DType::kF32;
};

}  // namespace culet
