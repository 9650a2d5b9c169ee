// A batch, the only unit of work, and the plan that a step makes of it once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/config.h"
#include "model/buffers.h"
#include "ops/context.h"
#include "ops/types.h"

namespace culet {

// Rows of one step. Prefill, decode and many users are the same thing: some sequences bring many
// rows, some bring one. Rows of one sequence stand in rising, consecutive position.
struct Batch {
  std::span<const std::int32_t> tokens;     // [rows]
  std::span<const std::int32_t> positions;  // [rows]
  std::span<const std::int32_t> sequences;  // [rows] index into the page tables
  std::span<const std::int32_t> wanted;     // rows that ask for a result, rising
  // Rows that a tower made of a picture or a sound: their embedding [hidden], taken as it is (no
  // √hidden; their token is the pad token, whose per-layer part they have); null for the others.
  // Empty: no row is one.       [rows]
  std::span<const float* const> soft;
  // Where the keys end that a row sees in sliding layers: behind itself, or behind the picture that
  // it is part of (use_bidirectional_attention). Empty: behind itself.       [rows]
  std::span<const std::int32_t> sliding_ends;
  // Pages of every sequence by kind of layer, see KindPlan::page_tables.
  std::span<const std::int32_t> page_tables[kLayerKinds];
  std::int64_t table_stride = 0;
};

// Makes BatchPlans in memory of its own: one of all rows, one of the wanted rows (layers past the
// last one with KV of its own compute only those).
class BatchPlanner {
 public:
  // `rows`: of the largest batch. With a null arena this only counts.
  void LayOut(Arena& arena, const ModelConfig& config, std::int64_t rows);
  void SetConfig(const ModelConfig& config);

  // The plans are valid until the next call.
  void Plan(Context& ctx, const Batch& batch);
  const BatchPlan& all() const { return all_.plan; }
  const BatchPlan& wanted() const { return wanted_.plan; }
  std::span<const std::int32_t> wanted_tokens() const { return wanted_tokens_; }
  // Batch::soft of the wanted rows; empty where that is.
  std::span<const float* const> wanted_soft() const { return wanted_soft_; }

 private:
  struct Rows {
    BatchPlan plan;
    std::int32_t* positions = nullptr;
    std::int32_t* sequences = nullptr;
    KeyRange* visible[kLayerKinds] = {};
    View<float, 2> cos[kLayerKinds];
    View<float, 2> sin[kLayerKinds];
  };
  void LayOutRows(Arena& arena, std::int64_t rows, Rows* target);
  void Fill(Context& ctx, const Batch& batch, std::span<const std::int32_t> rows, Rows* target);

  std::int64_t window_ = 0;
  std::int64_t head_dim_[kLayerKinds] = {};  // 0: no layer of this kind
  std::vector<float> frequencies_[kLayerKinds];
  std::vector<std::int32_t> every_row_;
  Rows all_, wanted_;
  std::int32_t* wanted_token_storage_ = nullptr;
  std::span<const std::int32_t> wanted_tokens_;
  const float** wanted_soft_storage_ = nullptr;
  std::span<const float* const> wanted_soft_;
};

// Frequencies of the rotary pairs of a head [head_dim / 2], in f32 as the reference forms them.
//   default       f_j = theta^(−2j/head_dim)
//   proportional  the same divided by `factor` for j < floor(partial·head_dim/2), 0 for the rest;
//   the
//                 divisor of the exponent is the whole head_dim (transformers modeling_rope_utils)
std::vector<float> RopeFrequencies(const RopeConfig& rope, std::int64_t head_dim);

}  // namespace culet
