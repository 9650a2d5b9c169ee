// The committed golden cases: tiny checkpoints with what transformers computed from them
// (tools/reference makes them).
#pragma once

#include <cstring>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "ops/context.h"
#include "runtime/engine.h"

namespace culet::testing {

struct GoldenCase {
  std::string name;
  std::string family;
  std::string dtype;
  std::filesystem::path folder;

  friend std::ostream& operator<<(std::ostream& out, const GoldenCase& golden) {
    return out << golden.name;
  }
};

// "text", or "media": checkpoints with encoders of images and sounds.
inline std::filesystem::path GoldenFolder(const std::string& kind = "text") {
  return std::filesystem::path(CULET_SOURCE_DIR) / "tests" / "golden" / kind;
}

inline std::vector<GoldenCase> GoldenCases(const std::string& kind = "text") {
  const std::filesystem::path index = GoldenFolder(kind) / "index.json";
  const Json list = ParseJson(FileSystem::Real().ReadFile(index, 1 << 20), index.string());
  std::vector<GoldenCase> cases;
  for (const Json& entry : list) {
    const std::string name = entry.at("name");
    cases.push_back({name, entry.at("family"), entry.at("dtype"), GoldenFolder(kind) / name});
  }
  return cases;
}

inline GoldenCase GoldenCaseNamed(const std::string& name) {
  for (const GoldenCase& golden : GoldenCases()) {
    if (golden.name == name) return golden;
  }
  throw Error(ErrorKind::kNotFound, "no golden case " + name);
}

// A copy of a tensor's elements.
template <typename T>
std::vector<T> Elements(const TensorView& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

inline std::vector<std::int32_t> InputIds(const SafetensorsFile& golden) {
  const std::vector<std::int64_t> wide = Elements<std::int64_t>(golden.tensors().at("input_ids"));
  return {wide.begin(), wide.end()};
}

// A checkpoint with an engine over it.
struct LoadedModel {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Engine> engine;
};

struct LoadSettings {
  std::int64_t context = 512;
  std::int64_t chunk = 512;
  std::int64_t sequences = 1;
  std::int64_t rewind_tokens = 0;
  std::int64_t prefix_tokens = 0;
  int threads = 1;
  CpuLevel level = AvailableLevels().back();
  bool bf16_kv = false;  // else what the engine chooses by itself
  std::vector<ConfigOverride> overrides = {};
};

inline LoadedModel LoadModel(const std::filesystem::path& folder, const LoadSettings& settings) {
  LoadedModel model;
  model.checkpoint = std::make_unique<Checkpoint>(
      Checkpoint::Open(FileSystem::Real(), folder, settings.overrides));
  KvPlan plan;
  plan.dtype = settings.bf16_kv
                   ? DType::kBF16
                   : DefaultKvDType(model.checkpoint->config(), model.checkpoint->main_dtype());
  plan.context = settings.context;
  plan.chunk = settings.chunk;
  plan.sequences = settings.sequences;
  plan.rewind_tokens = settings.rewind_tokens;
  plan.prefix_tokens = settings.prefix_tokens;
  model.engine = std::make_unique<Engine>(
      *model.checkpoint, plan, std::make_unique<Context>(settings.threads, settings.level));
  return model;
}

// Logits of every position [tokens, vocab], one step of all tokens.
inline std::vector<float> AllLogits(Engine& engine, const std::vector<std::int32_t>& tokens,
                                    const LayerTap& tap = {}) {
  const int sequence = engine.AddSequence();
  engine.Append(sequence, tokens);
  const StepPart part = {sequence, static_cast<std::int64_t>(tokens.size()), Wanted::kAll};
  const View<const float, 2> hidden = engine.Step(std::span(&part, 1), tap);
  const std::int64_t vocab = engine.config().vocab;
  std::vector<float> logits;
  for (std::int64_t row = 0; row < hidden.extent(0); ++row) {
    const View<const float, 2> one(hidden.row(row), {1, hidden.extent(1)});
    const View<const float, 2> out = engine.Logits(one);
    logits.insert(logits.end(), out.data(), out.data() + vocab);
  }
  engine.RemoveSequence(sequence);
  return logits;
}

}  // namespace culet::testing
