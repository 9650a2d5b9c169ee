#include "model/batch.h"

#include <algorithm>
#include <cmath>

#include "ops/rows.h"

namespace culet {

std::vector<float> RopeFrequencies(const RopeConfig& rope, std::int64_t head_dim) {
  const std::int64_t pairs = head_dim / 2;
  const float factor = rope.proportional ? static_cast<float>(rope.factor) : 1.0f;
  std::vector<float> frequencies(pairs, 0.0f);
  for (std::int64_t pair = 0; pair < rope.TurningPairs(head_dim); ++pair) {
    // The reference's own steps: an f32 exponent, an f32 power, an f32 reciprocal.
    const float exponent = static_cast<float>(2 * pair) / static_cast<float>(head_dim);
    const float power = static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    frequencies[pair] = 1.0f / power / factor;
  }
  return frequencies;
}

void BatchPlanner::SetConfig(const ModelConfig& config) {
  window_ = config.window;
  for (const LayerConfig& layer : config.layers) {
    const int kind = static_cast<int>(layer.kind);
    if (head_dim_[kind] != 0) continue;
    head_dim_[kind] = layer.head_dim;
    frequencies_[kind] = RopeFrequencies(config.rope_of(layer.kind), layer.head_dim);
  }
}

void BatchPlanner::LayOutRows(Arena& arena, std::int64_t rows, Rows* target) {
  target->positions = arena.Take<std::int32_t>(rows);
  target->sequences = arena.Take<std::int32_t>(rows);
  for (int kind = 0; kind < kLayerKinds; ++kind) {
    target->visible[kind] = arena.Take<KeyRange>(rows);
    target->cos[kind] = arena.Take<float>(rows, head_dim_[kind] / 2);
    target->sin[kind] = arena.Take<float>(rows, head_dim_[kind] / 2);
  }
}

void BatchPlanner::LayOut(Arena& arena, const ModelConfig& config, std::int64_t rows) {
  SetConfig(config);
  LayOutRows(arena, rows, &all_);
  LayOutRows(arena, rows, &wanted_);
  wanted_token_storage_ = arena.Take<std::int32_t>(rows);
  wanted_soft_storage_ = arena.Take<const float*>(rows);
  every_row_.resize(static_cast<std::size_t>(rows));
  for (std::int64_t row = 0; row < rows; ++row) every_row_[row] = static_cast<std::int32_t>(row);
}

void BatchPlanner::Fill(Context& ctx, const Batch& batch, std::span<const std::int32_t> rows,
                        Rows* target) {
  const std::int64_t count = static_cast<std::int64_t>(rows.size());
  for (std::int64_t index = 0; index < count; ++index) {
    const std::int32_t row = rows[index];
    const std::int32_t position = batch.positions[row];
    target->positions[index] = position;
    target->sequences[index] = batch.sequences[row];
    // The window counts the token itself: exactly `window` keys.
    const std::int64_t begin = std::max<std::int64_t>(0, position - window_ + 1);
    const std::int32_t end = batch.sliding_ends.empty() ? position + 1 : batch.sliding_ends[row];
    target->visible[static_cast<int>(LayerKind::kSliding)][index] = {
        static_cast<std::int32_t>(begin), end};
    target->visible[static_cast<int>(LayerKind::kFull)][index] = {0, position + 1};
  }
  BatchPlan& plan = target->plan;
  plan.rows = count;
  plan.positions = {target->positions, static_cast<std::size_t>(count)};
  plan.sequences = {target->sequences, static_cast<std::size_t>(count)};
  for (int kind = 0; kind < kLayerKinds; ++kind) {
    KindPlan& kind_plan = plan.kinds[kind];
    kind_plan.visible = {target->visible[kind], static_cast<std::size_t>(count)};
    kind_plan.page_tables = batch.page_tables[kind];
    kind_plan.table_stride = batch.table_stride;
    if (head_dim_[kind] == 0) continue;
    RopeTables(ctx, plan.positions, frequencies_[kind], target->cos[kind].first(count),
               target->sin[kind].first(count));
    kind_plan.cos = target->cos[kind].first(count);
    kind_plan.sin = target->sin[kind].first(count);
  }
}

void BatchPlanner::Plan(Context& ctx, const Batch& batch) {
  const std::size_t rows = batch.tokens.size();
  CULET_DCHECK(rows <= every_row_.size());
  Fill(ctx, batch, std::span(every_row_).first(rows), &all_);
  Fill(ctx, batch, batch.wanted, &wanted_);
  for (std::size_t index = 0; index < batch.wanted.size(); ++index) {
    wanted_token_storage_[index] = batch.tokens[batch.wanted[index]];
  }
  wanted_tokens_ = {wanted_token_storage_, batch.wanted.size()};
  wanted_soft_ = {};
  if (batch.soft.empty()) return;
  for (std::size_t index = 0; index < batch.wanted.size(); ++index) {
    wanted_soft_storage_[index] = batch.soft[batch.wanted[index]];
  }
  wanted_soft_ = {wanted_soft_storage_, batch.wanted.size()};
}

}  // namespace culet
