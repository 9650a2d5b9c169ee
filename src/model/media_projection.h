// The encoders of models without towers (12B): one projection of raw blocks of pixels or samples.
// Source: transformers Gemma4UnifiedVisionEmbedder and Gemma4UnifiedMultimodalEmbedder.
#pragma once

#include <cstdint>
#include <span>

#include "model/buffers.h"
#include "model/media_encoder.h"

namespace culet {

// Threads: one Forward at a time.
class VisionProjection : public VisionEncoder {
 public:
  // `blocks`: of all images of the largest call. Keeps references.
  VisionProjection(const ModelConfig& config, const VisionWeights& weights, std::int64_t blocks);

  View<const float, 2> Forward(Context& ctx, View<const float, 2> blocks,
                               std::span<const ImageGrid> grids, const EncoderTap& tap) override;
  View<const float, 2> states() const override { return states_; }

  static std::size_t ActivationBytes(const ModelConfig& config, std::int64_t blocks);
  static std::size_t ScratchBytes(const ModelConfig& config, std::int64_t blocks);
  static VisionWork Work(const ModelConfig& config, ImageGrid grid);

 private:
  struct Buffers {
    View<std::int32_t, 2> place;  // [2, blocks]: rows of the table of positions
    View<float, 2> normed;        // [blocks that pass together, 3·model_patch_size²]
    View<float, 2> x, position;   // [blocks, mm_embed_dim]
    View<float, 2> soft;          // [blocks, text hidden]

    void LayOut(Arena& arena, const ModelConfig& config, std::int64_t blocks);
  };
  void Place(std::span<const ImageGrid> grids, std::int64_t blocks);

  const ModelConfig& config_;
  const VisionWeights& weights_;
  Buffer memory_;
  Buffers buffers_;
  View<const float, 2> states_;
};

// Threads: one Forward at a time.
class AudioProjection : public AudioEncoder {
 public:
  // `blocks`: of the longest sound. Keeps references.
  AudioProjection(const ModelConfig& config, const AudioWeights& weights, std::int64_t blocks);

  View<const float, 2> Forward(Context& ctx, View<const float, 2> blocks,
                               const EncoderTap& tap) override;
  View<const float, 2> states() const override { return states_; }

  static std::size_t ActivationBytes(const ModelConfig& config, std::int64_t blocks);
  static std::size_t ScratchBytes(const ModelConfig& config, std::int64_t blocks);
  static std::uint64_t Products(const ModelConfig& config, std::int64_t blocks);

 private:
  struct Buffers {
    View<float, 2> normed;  // [blocks, audio_embed_dim]
    View<float, 2> soft;    // [blocks, text hidden]

    void LayOut(Arena& arena, const ModelConfig& config, std::int64_t blocks);
  };

  const AudioConfig& audio_;
  const AudioWeights& weights_;
  Buffer memory_;
  Buffers buffers_;
  View<const float, 2> states_;
};

}  // namespace culet
