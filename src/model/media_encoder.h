// What turns media into rows of the text model (soft tokens), whatever its kind: towers
// (vision_tower.h, audio_tower.h) or one projection (media_projection.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "checkpoint/config.h"
#include "model/media_weights.h"
#include "ops/context.h"

namespace culet {

// Columns and rows of an image's units: patches of a tower, blocks of a projection.
struct ImageGrid {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::int64_t units() const { return width * height; }
};

// Sees the states between layers: index 0 is what enters layer 0, index i the output of layer i
// − 1. For tests and debugging.       x [units or steps, hidden]
using EncoderTap = std::function<void(int index, View<const float, 2> x)>;

// Multiply-adds of one image, by where they are done.
struct VisionWork {
  std::uint64_t input = 0;      // patches or blocks to states
  std::uint64_t linear = 0;     // q, k, v and o of all layers
  std::uint64_t attention = 0;  // of all layers
  std::uint64_t mlp = 0;        // gate, up and down of all layers
  std::uint64_t soft = 0;       // pooled states to rows of the text model
  // What Forward does until its tap has seen the last layer.
  std::uint64_t tower() const { return input + linear + attention + mlp; }
  std::uint64_t all() const { return tower() + soft; }
};

// Threads: one Forward at a time.
class VisionEncoder {
 public:
  virtual ~VisionEncoder() = default;

  // Soft tokens of several images in one pass, one image behind the other in the order given, valid
  // until the next call.        units [Σ width·height, unit_width] in [0, 1], grid row by grid row
  //                             → [Σ tokens, text hidden], tokens row by row
  // Throws Error(kInvalidArgument) where a grid is one that the model has no positions for, or its
  // sides are not multiples of what is pooled. A token's bits do not depend on the other images.
  virtual View<const float, 2> Forward(Context& ctx, View<const float, 2> units,
                                       std::span<const ImageGrid> grids,
                                       const EncoderTap& tap = {}) = 0;
  // What the last Forward had before pooling [units, output_width]: its last layer's output.
  virtual View<const float, 2> states() const = 0;

  // For up to `units` units in one Forward. Keeps references to config and weights. `config.vision`
  // is there.
  static std::unique_ptr<VisionEncoder> Make(const ModelConfig& config,
                                             const VisionWeights& weights, std::int64_t units);
  // What Make would allocate, and the scratch that its ops need of the Context.
  static std::size_t ActivationBytes(const ModelConfig& config, std::int64_t units);
  static std::size_t ScratchBytes(const ModelConfig& config, std::int64_t units, int threads);
  static VisionWork Work(const ModelConfig& config, ImageGrid grid);
  // Throws Error(kInvalidArgument), naming the image by `name`, where Forward would for its grid.
  static void CheckGrid(const ModelConfig& config, ImageGrid grid, const std::string& name);
  // Layers that a tap of Forward sees the outputs of.
  static std::int64_t Layers(const ModelConfig& config);
};

// Threads: one Forward at a time.
class AudioEncoder {
 public:
  virtual ~AudioEncoder() = default;

  // Soft tokens of one sound, valid until the next call.
  //   input: mel features of a tower [frames, mel_bins], or samples of a projection [blocks,
  //   audio_embed_dim]      → [Tokens(frames or blocks), text hidden]
  virtual View<const float, 2> Forward(Context& ctx, View<const float, 2> input,
                                       const EncoderTap& tap = {}) = 0;
  // What the last Forward had before it was projected to the text model [tokens, output_width].
  virtual View<const float, 2> states() const = 0;

  // Soft tokens of so many frames or blocks.
  static std::int64_t Tokens(const ModelConfig& config, std::int64_t rows);
  // For sounds of up to `rows` frames or blocks. `config.audio` is there.
  static std::unique_ptr<AudioEncoder> Make(const ModelConfig& config, const AudioWeights& weights,
                                            std::int64_t rows);
  static std::size_t ActivationBytes(const ModelConfig& config, std::int64_t rows);
  static std::size_t ScratchBytes(const ModelConfig& config, std::int64_t rows, int threads);
  // Multiply-adds.
  static std::uint64_t Products(const ModelConfig& config, std::int64_t rows);
  // Layers that a tap of Forward sees the outputs of.
  static std::int64_t Layers(const ModelConfig& config);
};

}  // namespace culet
