// The vision tower of Gemma 4: patches of images → soft tokens, the maths written once.
// Source: transformers Gemma4VisionModel and Gemma4MultimodalEmbedder (models/gemma4).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/buffers.h"
#include "model/media_encoder.h"

namespace culet {

// Threads: one Forward at a time.
class VisionTower : public VisionEncoder {
 public:
  // `patches`: of all images of the largest call. Keeps references.
  VisionTower(const ModelConfig& config, const VisionWeights& weights, std::int64_t patches);

  View<const float, 2> Forward(Context& ctx, View<const float, 2> patches,
                               std::span<const ImageGrid> grids, const EncoderTap& tap) override;
  View<const float, 2> states() const override { return states_; }

  static std::size_t ActivationBytes(const ModelConfig& config, std::int64_t patches);
  static std::size_t ScratchBytes(const ModelConfig& config, std::int64_t patches, int threads);
  static VisionWork Work(const ModelConfig& config, ImageGrid grid);

 private:
  // Every buffer is [patches of the largest call, …] but where said, f32.
  struct Buffers {
    View<std::int32_t, 2> place;  // [2, patches]: column and row of each patch
    View<float, 2> cos, sin;      // [patches, head_dim / 2]: the columns' half, then the rows'
    View<float, 2> x;             // [patches, hidden] the residual stream
    View<float, 2> normed;        // [patches, hidden]
    View<float, 2> branch;        // [patches, hidden]
    View<float, 2> q;             // [patches, heads·head_dim], then what was attended to
    View<float, 2> k, v;          // [patches, kv_heads·head_dim]
    View<float, 2> operand;       // [patches of a block, widest of hidden and 3·patch_size²]
    View<float, 2> gate, up;      // [patches of a block, intermediate]
    View<float, 2> soft;          // [tokens, text hidden]

    void LayOut(Arena& arena, const ModelConfig& config, std::int64_t patches);
  };

  void Place(Context& ctx, std::span<const ImageGrid> grids, std::int64_t patches);
  void Embed(Context& ctx, View<const float, 2> patches);
  void Attend(Context& ctx, const VisionLayerWeights& weights, std::int64_t patches);
  void Mlp(Context& ctx, const VisionLayerWeights& weights, std::int64_t patches);
  View<const float, 2> Pool(Context& ctx, std::span<const ImageGrid> grids);

  const ModelConfig& config_;
  const VisionConfig& vision_;
  const VisionWeights& weights_;
  float eps_;
  std::vector<float> half_, two_;      // [3·patch_size²]: pixels p become (p − 0.5) · 2
  std::vector<float> frequencies_;     // [head_dim / 4], of both axes
  std::vector<std::int64_t> lengths_;  // patches of each image of this call
  Buffer memory_;
  Buffers buffers_;
  View<const float, 2> states_;
};

}  // namespace culet
