// Where the weights of media encoders are: as placement.h has the text decoder's, matrices where
// they lie in the mapped files, vectors and bounds widened to f32.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/media_weights.h"
#include "runtime/integer_weights.h"

namespace culet {

// Keeps a reference to the checkpoint, whose files it points into. Threads: read-only once made.
class MappedMediaWeights {
 public:
  // `pool`: for what is repacked, until this returns.
  MappedMediaWeights(const Checkpoint& checkpoint, ThreadPool& pool);

  // Null where checkpoint.vision_error() (audio_error()) says why.
  const VisionWeights* vision() const { return has_vision_ ? &vision_ : nullptr; }
  const AudioWeights* audio() const { return has_audio_ ? &audio_ : nullptr; }

  // Bytes held here, beside the mapped files.
  std::uint64_t bytes() const { return vectors_.size() * sizeof(float) + integers_.bytes(); }
  // What they will be.
  static std::uint64_t PlannedBytes(const Checkpoint& checkpoint);

 private:
  Matrix AsMatrix(const std::string& name) const;
  // [rows, …] with everything behind the last dimension side by side, where `cols` says how much.
  Matrix AsMatrix(const std::string& name, std::int64_t cols) const;
  Vector AsVector(const std::string& name);
  static std::uint64_t VectorBytes(const Checkpoint& checkpoint);
  ClippedLinear AsLinear(const std::string& name) const;
  LayerNormWeights AsLayerNorm(const std::string& name);
  AudioFeedForwardWeights AsFeedForward(const std::string& name);
  void PlaceVisionTower(const VisionConfig& vision);
  void PlaceVisionProjection();
  void PlaceAudioTower(const AudioConfig& audio);

  const Checkpoint& checkpoint_;
  IntegerWeights integers_;
  std::vector<float> vectors_;  // storage of every Vector; reserved once, never moved
  bool has_vision_ = false, has_audio_ = false;
  VisionWeights vision_;
  AudioWeights audio_;
};

}  // namespace culet
