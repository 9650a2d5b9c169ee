#include "model/media_encoder.h"

#include "base/error.h"
#include "model/audio_tower.h"
#include "model/media_projection.h"
#include "model/vision_tower.h"

namespace culet {
namespace {

bool SeesByTower(const ModelConfig& config) {
  CULET_DCHECK(config.vision.has_value());
  return config.vision->kind == EncoderKind::kTower;
}

bool HearsByTower(const ModelConfig& config) {
  CULET_DCHECK(config.audio.has_value());
  return config.audio->kind == EncoderKind::kTower;
}

}  // namespace

std::unique_ptr<VisionEncoder> VisionEncoder::Make(const ModelConfig& config,
                                                   const VisionWeights& weights,
                                                   std::int64_t units) {
  if (SeesByTower(config)) return std::make_unique<VisionTower>(config, weights, units);
  return std::make_unique<VisionProjection>(config, weights, units);
}

std::size_t VisionEncoder::ActivationBytes(const ModelConfig& config, std::int64_t units) {
  return SeesByTower(config) ? VisionTower::ActivationBytes(config, units)
                             : VisionProjection::ActivationBytes(config, units);
}

std::size_t VisionEncoder::ScratchBytes(const ModelConfig& config, std::int64_t units,
                                        int threads) {
  return SeesByTower(config) ? VisionTower::ScratchBytes(config, units, threads)
                             : VisionProjection::ScratchBytes(config, units);
}

VisionWork VisionEncoder::Work(const ModelConfig& config, ImageGrid grid) {
  return SeesByTower(config) ? VisionTower::Work(config, grid)
                             : VisionProjection::Work(config, grid);
}

void VisionEncoder::CheckGrid(const ModelConfig& config, ImageGrid grid, const std::string& name) {
  const VisionConfig& vision = *config.vision;
  const bool tower = SeesByTower(config);
  const std::int64_t step = tower ? vision.pooling_kernel_size : 1;
  const auto fits = [&](std::int64_t side) {
    return side >= 1 && side % step == 0 && side <= vision.max_side();
  };
  if (fits(grid.width) && fits(grid.height)) return;
  throw Error(ErrorKind::kInvalidArgument,
              name + ": an image of " + std::to_string(grid.width) + " × " +
                  std::to_string(grid.height) + (tower ? " patches" : " blocks") +
                  "; expected sides " +
                  (step > 1 ? "that are multiples of " + std::to_string(step) + ", " : "") +
                  "up to " + std::to_string(vision.max_side()) +
                  (tower ? " (position_embedding_size)" : " (mm_posemb_size)"));
}

std::int64_t VisionEncoder::Layers(const ModelConfig& config) {
  return SeesByTower(config) ? config.vision->layers : 0;
}

std::int64_t AudioEncoder::Tokens(const ModelConfig& config, std::int64_t rows) {
  return HearsByTower(config) ? AudioTower::Steps(rows) : rows;
}

std::unique_ptr<AudioEncoder> AudioEncoder::Make(const ModelConfig& config,
                                                 const AudioWeights& weights, std::int64_t rows) {
  if (HearsByTower(config)) return std::make_unique<AudioTower>(config, weights, rows);
  return std::make_unique<AudioProjection>(config, weights, rows);
}

std::size_t AudioEncoder::ActivationBytes(const ModelConfig& config, std::int64_t rows) {
  return HearsByTower(config) ? AudioTower::ActivationBytes(config, rows)
                              : AudioProjection::ActivationBytes(config, rows);
}

std::size_t AudioEncoder::ScratchBytes(const ModelConfig& config, std::int64_t rows, int threads) {
  return HearsByTower(config) ? AudioTower::ScratchBytes(config, rows, threads)
                              : AudioProjection::ScratchBytes(config, rows);
}

std::uint64_t AudioEncoder::Products(const ModelConfig& config, std::int64_t rows) {
  return HearsByTower(config) ? AudioTower::Products(config, rows)
                              : AudioProjection::Products(config, rows);
}

std::int64_t AudioEncoder::Layers(const ModelConfig& config) {
  return HearsByTower(config) ? config.audio->layers : 0;
}

}  // namespace culet
