// The audio tower of Gemma 4: mel frames of a sound → soft tokens, the maths written once.
// Source: transformers Gemma4AudioModel and Gemma4MultimodalEmbedder (models/gemma4).
#pragma once

#include <cstdint>
#include <span>

#include "model/buffers.h"
#include "model/media_encoder.h"

namespace culet {

// Threads: one Forward at a time.
class AudioTower : public AudioEncoder {
 public:
  // `frames`: of the longest sound. Keeps references.
  AudioTower(const ModelConfig& config, const AudioWeights& weights, std::int64_t frames);

  View<const float, 2> Forward(Context& ctx, View<const float, 2> mel,
                               const EncoderTap& tap) override;
  View<const float, 2> states() const override { return states_; }

  // Two halvings of time, each rounded up.
  static std::int64_t Steps(std::int64_t frames) { return ((frames + 1) / 2 + 1) / 2; }
  static std::size_t ActivationBytes(const ModelConfig& config, std::int64_t frames);
  static std::size_t ScratchBytes(const ModelConfig& config, std::int64_t frames, int threads);
  static std::uint64_t Products(const ModelConfig& config, std::int64_t frames);

 private:
  // f32; `steps` of the longest sound.
  struct Buffers {
    View<float, 2> unfolded[2];  // of a block of steps: operands of the two convolutions
    View<float, 2> conv[2];      // and what they give, [frames or steps · bins, channels]
    View<float, 2> x;            // [steps, hidden] the residual stream
    View<float, 2> normed;       // [steps, hidden]
    View<float, 2> branch;       // [steps, hidden]
    View<float, 2> q, k, v;      // [steps, hidden]
    View<float, 2> wide;         // [steps, 4·hidden]
    View<float, 2> relative;     // [relative_positions, hidden]
    View<float, 2> output;       // [steps, output_proj_dims]
    View<float, 2> output_norm;  // [steps, output_proj_dims]
    View<float, 2> soft;         // [steps, text hidden]
    // Made once of the weights.
    View<float, 2> positions;    // [relative_positions, hidden]: sines, then cosines
    View<float, 2> query_scale;  // [layers, head_dim]
    View<float, 2> taps;         // [layers·conv_kernel_size, hidden]

    void LayOut(Arena& arena, const ModelConfig& config, std::int64_t frames);
  };

  void Subsample(Context& ctx, View<const float, 2> mel);
  void SubsampleBlock(Context& ctx, View<const float, 2> mel, std::int64_t first,
                      std::int64_t count);
  void FeedForward(Context& ctx, const AudioFeedForwardWeights& weights, std::int64_t steps);
  void Attend(Context& ctx, std::size_t layer, std::int64_t steps);
  void Convolve(Context& ctx, std::size_t layer, std::int64_t steps);
  void Bound(Context& ctx, View<const float, 2> x, View<float, 2> out) const;

  const AudioConfig& audio_;
  const AudioWeights& weights_;
  float eps_;
  float bound_;  // gradient_clipping, as far as f32 has numbers
  Buffer memory_;
  Buffers buffers_;
  View<const float, 2> states_;
};

}  // namespace culet
