#include "model/media_projection.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "ops/encoder.h"
#include "ops/matmul.h"
#include "ops/rows.h"

namespace culet {
namespace {

constexpr Vector kNoWeight = {};
constexpr float kLayerNormEps = 1e-5f;  // torch's own, which the reference does not change
constexpr std::int64_t kBlocksTogether = 128;

template <typename T>
View<T, 2> Rows(View<T, 2> x, std::int64_t first, std::int64_t count) {
  return View<T, 2>(x.data() + first * x.stride(0), {count, x.extent(1)}, x.strides());
}

[[noreturn]] void TooMany(const char* what, std::int64_t blocks, std::int64_t most) {
  throw Error(ErrorKind::kInternal, std::string(what) + ": " + std::to_string(blocks) +
                                        " blocks, planned for " + std::to_string(most));
}

}  // namespace

void VisionProjection::Buffers::LayOut(Arena& arena, const ModelConfig& config,
                                       std::int64_t blocks) {
  const VisionConfig& vision = *config.vision;
  place = arena.Take<std::int32_t>(2, blocks);
  normed = arena.Take<float>(std::min(blocks, kBlocksTogether), vision.unit_width());
  x = arena.Take<float>(blocks, vision.mm_embed_dim);
  position = arena.Take<float>(blocks, vision.mm_embed_dim);
  soft = arena.Take<float>(blocks, config.hidden);
}

VisionProjection::VisionProjection(const ModelConfig& config, const VisionWeights& weights,
                                   std::int64_t blocks)
    : config_(config), weights_(weights) {
  memory_ = Buffer(ActivationBytes(config, blocks));
  Arena arena(memory_.data());
  buffers_.LayOut(arena, config, blocks);
}

std::size_t VisionProjection::ActivationBytes(const ModelConfig& config, std::int64_t blocks) {
  Arena counter;
  Buffers buffers;
  buffers.LayOut(counter, config, blocks);
  return counter.used();
}

std::size_t VisionProjection::ScratchBytes(const ModelConfig& config, std::int64_t blocks) {
  return std::max(
      MatMulScratchBytes(std::min(blocks, kBlocksTogether), config.vision->unit_width()),
      MatMulScratchBytes(blocks, config.vision->mm_embed_dim));
}

VisionWork VisionProjection::Work(const ModelConfig& config, ImageGrid grid) {
  const std::int64_t states = grid.units() * config.vision->mm_embed_dim;
  VisionWork work;
  work.input = static_cast<std::uint64_t>(states * config.vision->unit_width());
  work.soft = static_cast<std::uint64_t>(states * config.hidden);
  return work;
}

// Rows of the table: 2·column for a block's column, 2·row + 1 for its row.
void VisionProjection::Place(std::span<const ImageGrid> grids, std::int64_t blocks) {
  if (blocks > buffers_.x.extent(0)) TooMany("VisionProjection", blocks, buffers_.x.extent(0));
  std::int64_t at = 0;
  for (const ImageGrid& grid : grids) {
    VisionEncoder::CheckGrid(config_, grid, "VisionProjection");
    if (at + grid.units() > blocks) TooMany("VisionProjection", at + grid.units(), blocks);
    for (std::int64_t block = 0; block < grid.units(); ++block, ++at) {
      buffers_.place.row(0)[at] = static_cast<std::int32_t>(2 * (block % grid.width));
      buffers_.place.row(1)[at] = static_cast<std::int32_t>(2 * (block / grid.width) + 1);
    }
  }
  if (at != blocks) TooMany("VisionProjection", blocks, at);
}

View<const float, 2> VisionProjection::Forward(Context& ctx, View<const float, 2> blocks,
                                               std::span<const ImageGrid> grids,
                                               const EncoderTap& tap) {
  const std::int64_t count = blocks.extent(0);
  Place(grids, count);
  const View<float, 2> x = buffers_.x.first(count);                // [blocks, mm_embed_dim]
  const View<float, 2> position = buffers_.position.first(count);  // [blocks, mm_embed_dim]
  for (std::int64_t first = 0; first < count; first += kBlocksTogether) {
    const std::int64_t together = std::min(kBlocksTogether, count - first);
    const View<float, 2> normed = buffers_.normed.first(together);
    LayerNorm(ctx, Rows(blocks, first, together), weights_.block_norm.weight,
              weights_.block_norm.bias, kLayerNormEps, normed);
    MatMul(ctx, normed, weights_.dense, Rows(x, first, together));
  }
  AddBias(ctx, weights_.dense_bias, x);
  LayerNorm(ctx, x, weights_.dense_norm.weight, weights_.dense_norm.bias, kLayerNormEps, x);
  for (std::int64_t axis = 0; axis < 2; ++axis) {
    Embed(ctx, weights_.block_positions,
          {buffers_.place.row(axis), static_cast<std::size_t>(count)}, 0, 1.0f, position);
    AddRows(ctx, x, position, x);
  }
  LayerNorm(ctx, x, weights_.position_norm.weight, weights_.position_norm.bias, kLayerNormEps, x);
  if (tap) tap(0, x);
  states_ = x;
  RmsNorm(ctx, x, kNoWeight, static_cast<float>(config_.vision->rms_norm_eps), position);
  MatMul(ctx, position, weights_.embed, buffers_.soft.first(count));
  return buffers_.soft.first(count);
}

void AudioProjection::Buffers::LayOut(Arena& arena, const ModelConfig& config,
                                      std::int64_t blocks) {
  normed = arena.Take<float>(blocks, config.audio->audio_embed_dim);
  soft = arena.Take<float>(blocks, config.hidden);
}

AudioProjection::AudioProjection(const ModelConfig& config, const AudioWeights& weights,
                                 std::int64_t blocks)
    : audio_(*config.audio), weights_(weights) {
  memory_ = Buffer(ActivationBytes(config, blocks));
  Arena arena(memory_.data());
  buffers_.LayOut(arena, config, blocks);
}

std::size_t AudioProjection::ActivationBytes(const ModelConfig& config, std::int64_t blocks) {
  Arena counter;
  Buffers buffers;
  buffers.LayOut(counter, config, blocks);
  return counter.used();
}

std::size_t AudioProjection::ScratchBytes(const ModelConfig& config, std::int64_t blocks) {
  return MatMulScratchBytes(blocks, config.audio->audio_embed_dim);
}

std::uint64_t AudioProjection::Products(const ModelConfig& config, std::int64_t blocks) {
  return static_cast<std::uint64_t>(blocks * config.audio->audio_embed_dim * config.hidden);
}

View<const float, 2> AudioProjection::Forward(Context& ctx, View<const float, 2> blocks,
                                              const EncoderTap& tap) {
  const std::int64_t count = blocks.extent(0);
  if (count > buffers_.normed.extent(0)) {
    TooMany("AudioProjection", count, buffers_.normed.extent(0));
  }
  if (tap) tap(0, blocks);
  states_ = blocks;
  const View<float, 2> normed = buffers_.normed.first(count);  // [blocks, audio_embed_dim]
  RmsNorm(ctx, blocks, kNoWeight, static_cast<float>(audio_.rms_norm_eps), normed);
  MatMul(ctx, normed, weights_.embed, buffers_.soft.first(count));
  return buffers_.soft.first(count);
}

}  // namespace culet
