#include "model/audio_tower.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "model/clipped_linear.h"
#include "ops/encoder.h"
#include "ops/local_attention.h"
#include "ops/matmul.h"
#include "ops/rows.h"

namespace culet {
namespace {

constexpr Vector kNoWeight = {};

// The norms around feed-forward and attention have it whatever rms_norm_eps says (transformers
// Gemma4AudioFeedForward and Gemma4AudioLayer make them without it).
constexpr float kLayerEps = 1e-6f;

// Steps that pass the convolutions together: the operand of the second is nine times its input.
constexpr std::int64_t kSubsampleBlock = 32;

View<float, 2> Dense(View<float, 2> buffer, std::int64_t rows, std::int64_t cols) {
  CULET_DCHECK(rows * cols <= buffer.extent(0) * buffer.extent(1));
  return View<float, 2>(buffer.data(), {rows, cols});
}

View<float, 3> Heads(View<float, 2> x, std::int64_t heads) {
  return View<float, 3>(x.data(), {x.extent(0), heads, x.extent(1) / heads});
}

std::int64_t Half(std::int64_t count) { return (count + 1) / 2; }

// Frames behind the first convolution that a block of steps needs.
std::int64_t BlockFrames(std::int64_t steps) { return 2 * steps + 1; }

LocalWindow WindowOf(const AudioConfig& audio) {
  return {audio.attention_context_left - 1, audio.attention_context_right,
          static_cast<float>(audio.attention_logit_cap)};
}

// Row r stands for a distance of (rows − 1 − r) steps: [sin(distance·τ) | cos(distance·τ)] with
// timescales from 1 to 1/10000.
void FillPositions(View<float, 2> table) {
  const std::int64_t rows = table.extent(0);
  const std::int64_t scales = table.extent(1) / 2;
  const double step =
      std::log(10000.0) / static_cast<double>(std::max<std::int64_t>(scales - 1, 1));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t j = 0; j < scales; ++j) {
      // f32 steps, as the reference forms the angle.
      const float scale = std::exp(static_cast<float>(j) * static_cast<float>(-step));
      const float angle = static_cast<float>(rows - 1 - row) * scale;
      table.row(row)[j] = static_cast<float>(std::sin(static_cast<double>(angle)));
      table.row(row)[scales + j] = static_cast<float>(std::cos(static_cast<double>(angle)));
    }
  }
}

// ln(1 + e^z) without overflow.
double Softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

}  // namespace

void AudioTower::Buffers::LayOut(Arena& arena, const ModelConfig& config, std::int64_t frames) {
  const AudioConfig& audio = *config.audio;
  const std::int64_t steps = Steps(frames);
  const std::int64_t block = std::min(steps, kSubsampleBlock);
  const std::int64_t first_bins = 2 * audio.subsampled_bins();
  const std::int64_t first_rows = std::min(BlockFrames(block), Half(frames)) * first_bins;
  const std::int64_t second_rows = block * audio.subsampled_bins();
  unfolded[0] = arena.Take<float>(first_rows, 9);
  conv[0] = arena.Take<float>(first_rows, audio.conv_channels[0]);
  unfolded[1] = arena.Take<float>(second_rows, audio.conv_channels[0] * 9);
  conv[1] = arena.Take<float>(second_rows, audio.conv_channels[1]);
  x = arena.Take<float>(steps, audio.hidden);
  normed = arena.Take<float>(steps, audio.hidden);
  branch = arena.Take<float>(steps, audio.hidden);
  q = arena.Take<float>(steps, audio.hidden);
  k = arena.Take<float>(steps, audio.hidden);
  v = arena.Take<float>(steps, audio.hidden);
  wide = arena.Take<float>(steps, 4 * audio.hidden);
  relative = arena.Take<float>(audio.relative_positions(), audio.hidden);
  output = arena.Take<float>(steps, audio.output_proj_dims);
  output_norm = arena.Take<float>(steps, audio.output_proj_dims);
  soft = arena.Take<float>(steps, config.hidden);
  positions = arena.Take<float>(audio.relative_positions(), audio.hidden);
  query_scale = arena.Take<float>(audio.layers, audio.head_dim());
  taps = arena.Take<float>(audio.layers * audio.conv_kernel_size, audio.hidden);
}

AudioTower::AudioTower(const ModelConfig& config, const AudioWeights& weights, std::int64_t frames)
    : audio_(*config.audio),
      weights_(weights),
      eps_(static_cast<float>(audio_.rms_norm_eps)),
      bound_(static_cast<float>(
          std::min<double>(audio_.gradient_clipping, std::numeric_limits<float>::max()))) {
  memory_ = Buffer(ActivationBytes(config, frames));
  Arena arena(memory_.data());
  buffers_.LayOut(arena, config, frames);
  FillPositions(buffers_.positions);
  const double query_scale =
      1.0 / std::sqrt(static_cast<double>(audio_.head_dim())) / std::log(2.0);
  const std::int64_t taps = audio_.conv_kernel_size;
  for (std::size_t index = 0; index < weights.layers.size(); ++index) {
    const AudioLayerWeights& layer = weights.layers[index];
    const auto at = static_cast<std::int64_t>(index);
    for (std::int64_t i = 0; i < audio_.head_dim(); ++i) {
      const double scale = layer.per_dim_scale[static_cast<std::size_t>(i)];
      buffers_.query_scale.row(at)[i] = static_cast<float>(query_scale * Softplus(scale));
    }
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      for (std::int64_t channel = 0; channel < audio_.hidden; ++channel) {
        buffers_.taps.row(at * taps + tap)[channel] =
            layer.depthwise[static_cast<std::size_t>(channel * taps + tap)];
      }
    }
  }
}

std::size_t AudioTower::ActivationBytes(const ModelConfig& config, std::int64_t frames) {
  Arena counter;
  Buffers buffers;
  buffers.LayOut(counter, config, frames);
  return counter.used();
}

std::size_t AudioTower::ScratchBytes(const ModelConfig& config, std::int64_t frames, int threads) {
  const AudioConfig& audio = *config.audio;
  const std::int64_t steps = Steps(frames);
  const std::int64_t block = std::min(steps, kSubsampleBlock);
  const std::int64_t bins = audio.subsampled_bins();
  return std::max({MatMulScratchBytes(std::min(BlockFrames(block), Half(frames)) * 2 * bins, 9),
                   MatMulScratchBytes(block * bins, audio.conv_channels[0] * 9),
                   MatMulScratchBytes(block, bins * audio.conv_channels[1]),
                   MatMulScratchBytes(steps, std::max(4 * audio.hidden, audio.output_proj_dims)),
                   MatMulScratchBytes(audio.relative_positions(), audio.hidden),
                   LocalAttentionScratchBytes(WindowOf(audio), audio.head_dim(), threads)});
}

std::uint64_t AudioTower::Products(const ModelConfig& config, std::int64_t frames) {
  const AudioConfig& audio = *config.audio;
  const std::int64_t bins = audio.subsampled_bins();
  const std::int64_t channels[2] = {audio.conv_channels[0], audio.conv_channels[1]};
  const std::int64_t square = audio.hidden * audio.hidden;
  const LocalWindow window = WindowOf(audio);
  const std::int64_t seen = window.past + std::max<std::int64_t>(window.future, 1) - 1;
  // Two feed-forwards, q k v and post, the two linears around the convolution.
  const std::int64_t layer =
      (16 + 4 + 3) * square + audio.conv_kernel_size * audio.hidden + 3 * seen * audio.hidden;
  const std::int64_t step = bins * channels[1] * (9 * channels[0] + audio.hidden) +
                            audio.layers * layer +
                            audio.output_proj_dims * (audio.hidden + config.hidden);
  return static_cast<std::uint64_t>(Half(frames) * 2 * bins * 9 * channels[0] +
                                    Steps(frames) * step +
                                    audio.layers * audio.relative_positions() * square);
}

View<const float, 2> AudioTower::Forward(Context& ctx, View<const float, 2> mel,
                                         const EncoderTap& tap) {
  const std::int64_t steps = Steps(mel.extent(0));
  if (steps < 1 || steps > buffers_.x.extent(0) ||
      Half(Half(mel.extent(1))) != audio_.subsampled_bins()) {
    throw Error(ErrorKind::kInternal, "AudioTower: mel " + ShapeText(mel) + " for up to " +
                                          std::to_string(buffers_.x.extent(0)) + " steps and " +
                                          std::to_string(audio_.mel_bins()) + " bins");
  }
  Subsample(ctx, mel);
  const View<float, 2> x = buffers_.x.first(steps);
  if (tap) tap(0, x);
  for (std::size_t index = 0; index < weights_.layers.size(); ++index) {
    const AudioLayerWeights& weights = weights_.layers[index];
    FeedForward(ctx, weights.feed_forward1, steps);
    Attend(ctx, index, steps);
    Convolve(ctx, index, steps);
    FeedForward(ctx, weights.feed_forward2, steps);
    Bound(ctx, x, x);
    RmsNorm(ctx, x, weights.out_norm, kLayerEps, x);
    if (tap) tap(static_cast<int>(index) + 1, x);
  }
  const View<float, 2> output = buffers_.output.first(steps);  // [steps, output_proj_dims]
  const View<float, 2> normed = buffers_.output_norm.first(steps);
  MatMul(ctx, x, weights_.output, output);
  AddBias(ctx, weights_.output_bias, output);
  states_ = output;
  RmsNorm(ctx, output, kNoWeight, eps_, normed);
  MatMul(ctx, normed, weights_.embed, buffers_.soft.first(steps));
  return buffers_.soft.first(steps);
}

// x: a quarter of the frames, from two convolutions over time and mel.
void AudioTower::Subsample(Context& ctx, View<const float, 2> mel) {
  const std::int64_t steps = Steps(mel.extent(0));
  for (std::int64_t first = 0; first < steps; first += kSubsampleBlock) {
    SubsampleBlock(ctx, mel, first, std::min(kSubsampleBlock, steps - first));
  }
}

void AudioTower::SubsampleBlock(Context& ctx, View<const float, 2> mel, std::int64_t first,
                                std::int64_t count) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::int64_t frames = mel.extent(0);
  const std::int64_t bins = Half(mel.extent(1));  // behind the first convolution
  const std::int64_t channels[2] = {audio_.conv_channels[0], audio_.conv_channels[1]};
  const auto convolve = [&](int layer, View<const float, 3> picture, std::int64_t first_frame,
                            std::int64_t all_frames, std::int64_t from, std::int64_t rows) {
    const std::int64_t outputs = rows * Half(picture.extent(1));
    const View<float, 2> unfolded =
        Dense(buffers_.unfolded[layer], outputs, picture.extent(2) * 9);  // [outputs, channels·9]
    const View<float, 2> conv = Dense(buffers_.conv[layer], outputs, channels[layer]);
    Unfold3x3(ctx, picture, first_frame, all_frames, from, rows, unfolded);
    MatMul(ctx, unfolded, weights_.conv[layer], conv);
    LayerNorm(ctx, conv, weights_.conv_norm[layer], kNoWeight, eps_, conv);
    Clamp(ctx, conv, 0.0f, kInfinity, conv);  // ReLU
  };
  const std::int64_t begin = std::max<std::int64_t>(0, 2 * first - 1);
  const std::int64_t end = std::min(Half(frames), 2 * (first + count));
  const View<const float, 3> whole(mel.data(), {frames, mel.extent(1), 1}, {mel.stride(0), 1, 1});
  convolve(0, whole, 0, frames, begin, end - begin);
  const View<const float, 3> half(buffers_.conv[0].data(), {end - begin, bins, channels[0]});
  convolve(1, half, begin, Half(frames), first, count);
  // A step's row: frequencies outside, channels inside.
  MatMul(ctx, Dense(buffers_.conv[1], count, Half(bins) * channels[1]), weights_.input,
         View<float, 2>(buffers_.x.row(first), {count, audio_.hidden}));
}

void AudioTower::Bound(Context& ctx, View<const float, 2> x, View<float, 2> out) const {
  Clamp(ctx, x, -bound_, bound_, out);
}

// x += residual_weight · norm(out · silu(in · norm(x)))
void AudioTower::FeedForward(Context& ctx, const AudioFeedForwardWeights& weights,
                             std::int64_t steps) {
  const View<float, 2> x = buffers_.x.first(steps);            // [steps, hidden]
  const View<float, 2> normed = buffers_.normed.first(steps);  // [steps, hidden]
  const View<float, 2> branch = buffers_.branch.first(steps);  // [steps, hidden]
  const View<float, 2> wide = buffers_.wide.first(steps);      // [steps, 4·hidden]
  Bound(ctx, x, normed);
  RmsNorm(ctx, normed, weights.pre_norm, kLayerEps, normed);
  ClippedProduct(ctx, normed, weights.in, normed, wide);
  Silu(ctx, wide);
  ClippedProduct(ctx, wide, weights.out, wide, branch);
  Bound(ctx, branch, branch);
  RmsNorm(ctx, branch, weights.post_norm, kLayerEps, branch);
  ScaleRows(ctx, kNoWeight, static_cast<float>(audio_.residual_weight), branch);
  AddRows(ctx, x, branch, x);
}

// x += norm(post · attention(norm(x))): each step sees the steps shortly before it.
void AudioTower::Attend(Context& ctx, std::size_t layer, std::int64_t steps) {
  const AudioLayerWeights& weights = weights_.layers[layer];
  const View<float, 2> x = buffers_.x.first(steps);            // [steps, hidden]
  const View<float, 2> normed = buffers_.normed.first(steps);  // [steps, hidden]
  const View<float, 2> branch = buffers_.branch.first(steps);  // [steps, hidden]
  const View<float, 2> q = buffers_.q.first(steps);            // [steps, heads·head_dim]
  const View<float, 2> k = buffers_.k.first(steps);
  const View<float, 2> v = buffers_.v.first(steps);
  const View<float, 2> relative = buffers_.relative;  // [relative_positions, heads·head_dim]
  const Vector query_scale(buffers_.query_scale.row(static_cast<std::int64_t>(layer)),
                           static_cast<std::size_t>(audio_.head_dim()));
  Bound(ctx, x, normed);
  RmsNorm(ctx, normed, weights.pre_attention_norm, kLayerEps, normed);
  const std::array<ClippedTarget, 3> targets = {
      ClippedTarget{&weights.q, q}, {&weights.k, k}, {&weights.v, v}};
  ClippedProducts(ctx, normed, targets, branch);
  ScaleRows(ctx, query_scale, 1.0f, Dense(q, steps * audio_.heads, audio_.head_dim()));
  ScaleRows(ctx, kNoWeight, static_cast<float>(std::log(1.0 + std::exp(1.0)) / std::log(2.0)), k);
  MatMul(ctx, buffers_.positions, weights.relative_k, relative);
  LocalAttention(ctx, Heads(q, audio_.heads), Heads(k, audio_.heads), Heads(v, audio_.heads),
                 Heads(relative, audio_.heads), WindowOf(audio_), Heads(q, audio_.heads));
  ClippedProduct(ctx, q, weights.post, q, branch);
  Bound(ctx, branch, branch);
  AddNorm(ctx, branch, weights.post_attention_norm, kLayerEps, 1.0f, x);
}

// x += end · silu(norm(conv(glu(start · norm(x)))))
void AudioTower::Convolve(Context& ctx, std::size_t layer, std::int64_t steps) {
  const AudioLayerWeights& weights = weights_.layers[layer];
  const std::int64_t hidden = audio_.hidden;
  const View<float, 2> x = buffers_.x.first(steps);            // [steps, hidden]
  const View<float, 2> normed = buffers_.normed.first(steps);  // [steps, hidden]
  const View<float, 2> branch = buffers_.branch.first(steps);  // [steps, hidden]
  const View<float, 2> pair = Dense(buffers_.wide, steps, 2 * hidden);
  const View<const float, 2> taps(
      buffers_.taps.row(static_cast<std::int64_t>(layer) * audio_.conv_kernel_size),
      {audio_.conv_kernel_size, hidden});
  RmsNorm(ctx, x, weights.conv_pre_norm, eps_, normed);
  ClippedProduct(ctx, normed, weights.conv_start, normed, pair);
  Glu(ctx, pair, normed);
  CausalConv(ctx, normed, taps, branch);
  Bound(ctx, branch, branch);
  RmsNorm(ctx, branch, weights.conv_norm, eps_, branch);
  Silu(ctx, branch);
  ClippedProduct(ctx, branch, weights.conv_end, branch, normed);
  AddRows(ctx, x, normed, x);
}

}  // namespace culet
