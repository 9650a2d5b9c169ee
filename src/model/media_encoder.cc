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

std::uint64_t VisionEncoder::Products(const ModelConfig& config, ImageGrid grid) {
  return SeesByTower(config) ? VisionTower::Products(config, grid)
                             : VisionProjection::Products(config, grid);
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

}  // namespace culet
