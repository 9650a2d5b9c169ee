// What a Model holds; shared by the files that implement the public interface.
#pragma once

#include <exception>
#include <memory>
#include <optional>

#include "api/boundary.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/generation_config.h"
#include "culet/generate.h"
#include "culet/model.h"
#include "runtime/engine.h"
#include "runtime/engine_thread.h"
#include "runtime/media_encoders.h"
#include "runtime/sampler.h"

namespace culet {

struct CULET_HIDDEN Model::Impl {
  std::unique_ptr<Checkpoint> checkpoint;  // the engine points into it
  std::unique_ptr<Engine> engine;          // the thread's alone, but inside thread->Exclusive
  std::unique_ptr<EngineThread> thread;
  std::unique_ptr<MediaEncoders> encoders;
  std::shared_ptr<TextProcessor> text;  // empty where the folder has no tokenizer.json
  std::filesystem::path path;
  ModelInfo info;
  std::int64_t queue = 0;  // LoadOptions::queue
  ModelDefaults defaults;
  std::exception_ptr defaults_error;  // why there are none; told to those who ask for them
};

// The plan of the KV cache that these options ask of this model. Throws Error(kInvalidArgument).
KvPlan ResolveKvPlan(const ModelConfig& config, DType weights, const LoadOptions& options);

// Bytes that this process can still get, by the system and by its container; 0 where nobody says.
std::uint64_t AvailableMemory();

// What sampling needs, from `options` and for what is unset there from `defaults`. The seed is 0
// where none is given.
SamplingParameters ResolveSampling(const GenerateOptions& options, const ModelDefaults& defaults);

int ResolveThreads(const LoadOptions& options);
CpuLevel ResolveLevel(const LoadOptions& options);

// Info from a checkpoint that is open already.
ModelInfo DescribeCheckpoint(const Checkpoint& checkpoint, const std::filesystem::path& path,
                             const LoadOptions& options);

// Throws Error(kCorrupt) naming the file where the tokenizer knows ids that the model has no row
// for, or lacks a control token that the chat template writes.
void CheckText(const TextProcessor& text, const std::filesystem::path& folder, std::int64_t vocab,
               const LoadOptions& options);

Checkpoint OpenCheckpoint(const std::filesystem::path& path, const LoadOptions& options);

}  // namespace culet
