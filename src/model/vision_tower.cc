#include "model/vision_tower.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/error.h"
#include "model/batch.h"
#include "model/clipped_linear.h"
#include "ops/dense_attention.h"
#include "ops/encoder.h"
#include "ops/matmul.h"
#include "ops/rows.h"

namespace culet {
namespace {

constexpr Vector kNoWeight = {};
const View<const float, 2> kNoTurn = {};

// Patches that go through the MLP together, and into the tower: its inner states would be the
// largest of all, and these stay in the last-level cache.
constexpr std::int64_t kBlock = 384;

View<float, 2> Dense(View<float, 2> buffer, std::int64_t rows, std::int64_t cols) {
  CULET_DCHECK(rows <= buffer.extent(0) && cols <= buffer.extent(1));
  return View<float, 2>(buffer.data(), {rows, cols});
}

View<float, 3> Heads(View<float, 2> x, std::int64_t heads) {
  return View<float, 3>(x.data(), {x.extent(0), heads, x.extent(1) / heads});
}

template <typename T>
View<T, 2> Rows(View<T, 2> x, std::int64_t first, std::int64_t count) {
  return View<T, 2>(x.data() + first * x.stride(0), {count, x.extent(1)}, x.strides());
}

}  // namespace

void VisionTower::Buffers::LayOut(Arena& arena, const ModelConfig& config, std::int64_t patches) {
  const VisionConfig& vision = *config.vision;
  const std::int64_t queries = vision.heads * vision.head_dim;
  const std::int64_t keys = vision.kv_heads * vision.head_dim;
  const std::int64_t block = std::min(patches, kBlock);
  place = arena.Take<std::int32_t>(2, patches);
  cos = arena.Take<float>(patches, vision.head_dim / 2);
  sin = arena.Take<float>(patches, vision.head_dim / 2);
  x = arena.Take<float>(patches, vision.hidden);
  normed = arena.Take<float>(patches, vision.hidden);
  branch = arena.Take<float>(patches, vision.hidden);
  q = arena.Take<float>(patches, queries);
  k = arena.Take<float>(patches, keys);
  v = arena.Take<float>(patches, keys);
  operand = arena.Take<float>(block, std::max(vision.hidden, vision.unit_width()));
  gate = arena.Take<float>(block, vision.intermediate);
  up = arena.Take<float>(block, vision.intermediate);
  soft = arena.Take<float>(patches / vision.units_per_token(), config.hidden);
}

VisionTower::VisionTower(const ModelConfig& config, const VisionWeights& weights,
                         std::int64_t patches)
    : config_(config),
      vision_(*config.vision),
      weights_(weights),
      eps_(static_cast<float>(vision_.rms_norm_eps)),
      half_(static_cast<std::size_t>(vision_.unit_width()), 0.5f),
      two_(static_cast<std::size_t>(vision_.unit_width()), 2.0f) {
  RopeConfig rope;
  rope.theta = vision_.rope_theta;
  frequencies_ = RopeFrequencies(rope, vision_.head_dim / 2);  // an axis turns half of a head
  lengths_.reserve(static_cast<std::size_t>(patches / vision_.units_per_token()));
  memory_ = Buffer(ActivationBytes(config, patches));
  Arena arena(memory_.data());
  buffers_.LayOut(arena, config, patches);
}

std::size_t VisionTower::ActivationBytes(const ModelConfig& config, std::int64_t patches) {
  Arena counter;
  Buffers buffers;
  buffers.LayOut(counter, config, patches);
  return counter.used();
}

std::size_t VisionTower::ScratchBytes(const ModelConfig& config, std::int64_t patches,
                                      int threads) {
  const VisionConfig& vision = *config.vision;
  const std::int64_t widest = std::max(vision.hidden, vision.heads * vision.head_dim);
  const std::int64_t widest_of_block = std::max(vision.intermediate, vision.unit_width());
  return std::max({MatMulScratchBytes(patches, widest),
                   MatMulScratchBytes(std::min(patches, kBlock), widest_of_block),
                   DenseAttentionScratchBytes(patches, vision.kv_heads, vision.head_dim, threads)});
}

VisionWork VisionTower::Work(const ModelConfig& config, ImageGrid grid) {
  const VisionConfig& vision = *config.vision;
  const auto patches = static_cast<std::uint64_t>(grid.units());
  const auto layers = static_cast<std::uint64_t>(vision.layers);
  const auto hidden = static_cast<std::uint64_t>(vision.hidden);
  const auto queries = static_cast<std::uint64_t>(vision.heads * vision.head_dim);
  const auto keys = static_cast<std::uint64_t>(vision.kv_heads * vision.head_dim);
  VisionWork work;
  work.input = patches * static_cast<std::uint64_t>(vision.unit_width()) * hidden;
  work.linear = patches * layers * hidden * 2 * (queries + keys);
  work.attention = patches * layers * 2 * queries * patches;
  work.mlp = patches * layers * 3 * hidden * static_cast<std::uint64_t>(vision.intermediate);
  work.soft = patches / static_cast<std::uint64_t>(vision.units_per_token()) * hidden *
              static_cast<std::uint64_t>(config.hidden);
  return work;
}

View<const float, 2> VisionTower::Forward(Context& ctx, View<const float, 2> patches,
                                          std::span<const ImageGrid> grids, const EncoderTap& tap) {
  const std::int64_t count = patches.extent(0);
  Place(ctx, grids, count);
  Embed(ctx, patches);
  View<float, 2> x = buffers_.x.first(count);
  if (tap) tap(0, x);
  for (std::size_t index = 0; index < weights_.layers.size(); ++index) {
    const VisionLayerWeights& weights = weights_.layers[index];
    Attend(ctx, weights, count);
    AddNorm(ctx, buffers_.branch.first(count), weights.post_attention_norm, eps_, 1.0f, x);
    Mlp(ctx, weights, count);
    AddNorm(ctx, buffers_.branch.first(count), weights.post_feedforward_norm, eps_, 1.0f, x);
    if (tap) tap(static_cast<int>(index) + 1, x);
  }
  states_ = x;
  return Pool(ctx, grids);
}

// Columns, rows and rotary angles of every patch.
void VisionTower::Place(Context& ctx, std::span<const ImageGrid> grids, std::int64_t patches) {
  std::int32_t* column = buffers_.place.row(0);
  std::int32_t* row = buffers_.place.row(1);
  std::int64_t at = 0;
  lengths_.clear();
  for (const ImageGrid& grid : grids) {
    VisionEncoder::CheckGrid(config_, grid, "VisionTower");
    if (at + grid.units() > std::min(patches, buffers_.x.extent(0))) {
      throw Error(ErrorKind::kInternal, "VisionTower: images of more than " +
                                            std::to_string(patches) + " patches together");
    }
    for (std::int64_t patch = 0; patch < grid.units(); ++patch, ++at) {
      column[at] = static_cast<std::int32_t>(patch % grid.width);
      row[at] = static_cast<std::int32_t>(patch / grid.width);
    }
    lengths_.push_back(grid.units());
  }
  if (at != patches) {
    throw Error(ErrorKind::kInternal, "VisionTower: grids of " + std::to_string(at) +
                                          " patches for " + std::to_string(patches));
  }
  const std::int64_t pairs = vision_.head_dim / 4;  // of an axis
  for (std::int64_t axis = 0; axis < 2; ++axis) {
    const auto half = [&](View<float, 2> table) {
      return View<float, 2>(table.data() + axis * pairs, {patches, pairs}, table.strides());
    };
    RopeTables(ctx, {buffers_.place.row(axis), static_cast<std::size_t>(patches)}, frequencies_,
               half(buffers_.cos), half(buffers_.sin));
  }
}

// x = W · 2(p − 0.5) + table[0, column] + table[1, row]
void VisionTower::Embed(Context& ctx, View<const float, 2> patches) {
  const std::int64_t count = patches.extent(0);
  const View<float, 2> x = buffers_.x.first(count);              // [patches, hidden]
  const View<float, 2> position = buffers_.branch.first(count);  // [patches, hidden]
  for (std::int64_t first = 0; first < count; first += kBlock) {
    const std::int64_t together = std::min(kBlock, count - first);
    const View<float, 2> pixels =
        Dense(buffers_.operand, together, vision_.unit_width());  // [block, 3·patch_size²]
    Standardize(ctx, Rows(patches, first, together), half_, two_, pixels);
    MatMul(ctx, pixels, weights_.input, Rows(x, first, together));
  }
  for (std::int64_t axis = 0; axis < 2; ++axis) {
    const Matrix table = weights_.positions.slice(axis * vision_.position_embedding_size,
                                                  vision_.position_embedding_size);
    culet::Embed(ctx, table, {buffers_.place.row(axis), static_cast<std::size_t>(count)}, 0, 1.0f,
                 position);
    AddRows(ctx, x, position, x);
  }
}

// branch = o · attention(norm(x)): every patch sees every patch of its image.
void VisionTower::Attend(Context& ctx, const VisionLayerWeights& weights, std::int64_t patches) {
  const View<float, 2> normed = buffers_.normed.first(patches);  // [patches, hidden]
  const View<float, 2> q = buffers_.q.first(patches);            // [patches, heads·head_dim]
  const View<float, 2> k = buffers_.k.first(patches);            // [patches, kv_heads·head_dim]
  const View<float, 2> v = buffers_.v.first(patches);
  const View<const float, 2> cos = buffers_.cos.first(patches);  // [patches, head_dim / 2]
  const View<const float, 2> sin = buffers_.sin.first(patches);
  RmsNorm(ctx, buffers_.x.first(patches), weights.input_norm, eps_, normed);
  const std::array<ClippedTarget, 3> targets = {
      ClippedTarget{&weights.q, q}, {&weights.k, k}, {&weights.v, v}};
  ClippedProducts(ctx, normed, targets, buffers_.branch.first(patches));
  NormRope(ctx, Heads(q, vision_.heads), weights.q_norm, eps_, cos, sin, 2);
  NormRope(ctx, Heads(k, vision_.kv_heads), weights.k_norm, eps_, cos, sin, 2);
  NormRope(ctx, Heads(v, vision_.kv_heads), kNoWeight, eps_, kNoTurn, kNoTurn);
  DenseAttention(ctx, Heads(q, vision_.heads), Heads(k, vision_.kv_heads),
                 Heads(v, vision_.kv_heads), lengths_, Heads(q, vision_.heads));
  ClippedProduct(ctx, q, weights.o, q, buffers_.branch.first(patches));
}

// branch = down · (gelu(gate·n) ⊙ up·n), n = norm(x)
void VisionTower::Mlp(Context& ctx, const VisionLayerWeights& weights, std::int64_t patches) {
  RmsNorm(ctx, buffers_.x.first(patches), weights.pre_feedforward_norm, eps_,
          buffers_.normed.first(patches));
  for (std::int64_t first = 0; first < patches; first += kBlock) {
    const std::int64_t count = std::min(kBlock, patches - first);
    const View<float, 2> normed = Rows(buffers_.normed, first, count);  // [block, hidden]
    const View<float, 2> gate = buffers_.gate.first(count);             // [block, intermediate]
    const View<float, 2> up = buffers_.up.first(count);
    const std::array<ClippedTarget, 2> targets = {ClippedTarget{&weights.gate, gate},
                                                  {&weights.up, up}};
    ClippedProducts(ctx, normed, targets, Dense(buffers_.operand, count, vision_.hidden));
    GeluMul(ctx, gate, up, gate);
    ClippedProduct(ctx, gate, weights.down, gate, Rows(buffers_.branch, first, count));
  }
}

// Soft tokens: squares of patches averaged, times √hidden, standardized, normed and projected.
View<const float, 2> VisionTower::Pool(Context& ctx, std::span<const ImageGrid> grids) {
  std::int64_t patch = 0;
  std::int64_t token = 0;
  for (const ImageGrid& grid : grids) {
    const std::int64_t tokens = grid.units() / vision_.units_per_token();
    PoolGrid(ctx, Rows<const float>(states_, patch, grid.units()), grid.width,
             vision_.pooling_kernel_size, Rows(buffers_.branch, token, tokens));
    patch += grid.units();
    token += tokens;
  }
  const View<float, 2> pooled = buffers_.branch.first(token);  // [tokens, hidden]
  ScaleRows(ctx, kNoWeight, std::sqrt(static_cast<float>(vision_.hidden)), pooled);
  if (vision_.standardize) {
    Standardize(ctx, pooled, weights_.std_bias, weights_.std_scale, pooled);
  }
  RmsNorm(ctx, pooled, kNoWeight, eps_, pooled);
  MatMul(ctx, pooled, weights_.embed, buffers_.soft.first(token));
  return buffers_.soft.first(token);
}

}  // namespace culet
