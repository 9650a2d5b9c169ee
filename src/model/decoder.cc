#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "ops/attention.h"
#include "ops/matmul.h"
#include "ops/moe.h"
#include "ops/rows.h"

namespace culet {
namespace {

constexpr Vector kNoWeight = {};
const View<const float, 2> kNoTurn = {};

// The first `rows` rows and `cols` columns of a buffer, dense: a narrow layer uses the wide layer's
// memory without gaps.
View<float, 2> Dense(View<float, 2> buffer, std::int64_t rows, std::int64_t cols) {
  CULET_DCHECK(rows <= buffer.extent(0) && cols <= buffer.extent(1));
  return View<float, 2>(buffer.data(), {rows, cols});
}

View<float, 3> Heads(View<float, 2> x, std::int64_t heads) {
  return View<float, 3>(x.data(), {x.extent(0), heads, x.extent(1) / heads});
}

}  // namespace

Decoder::Decoder(const ModelConfig& config, WeightSource& weights, std::int64_t rows)
    : config_(config), weights_(weights), eps_(static_cast<float>(config.rms_norm_eps)) {
  memory_ = Buffer(ActivationBytes(config, rows));
  Arena arena(memory_.data());
  buffers_.LayOut(arena, config, rows);
  planner_.LayOut(arena, config, rows);
}

std::size_t Decoder::ActivationBytes(const ModelConfig& config, std::int64_t rows) {
  Arena counter;
  DecoderBuffers buffers;
  buffers.LayOut(counter, config, rows);
  BatchPlanner planner;
  planner.LayOut(counter, config, rows);
  return counter.used();
}

std::size_t Decoder::ScratchBytes(const ModelConfig& config, std::int64_t rows,
                                  std::int64_t positions, int threads) {
  std::int64_t widest = std::max(config.hidden, config.ple_width);
  std::int64_t head_dim = 0;
  for (const LayerConfig& layer : config.layers) {
    widest = std::max({widest, layer.intermediate, config.heads * layer.head_dim});
    head_dim = std::max(head_dim, layer.head_dim);
  }
  std::size_t bytes = std::max(MatMulScratchBytes(rows, widest),
                               MatMulGeGluScratchBytes(rows, config.hidden, threads));
  bytes = std::max(bytes, AttentionScratchBytes(rows, config.heads, head_dim, positions, threads));
  if (config.experts > 0) {
    bytes = std::max(bytes, ExpertsScratchBytes(rows, config.experts_per_token, config.hidden,
                                                config.expert_intermediate, config.experts));
  }
  return bytes;
}

View<const float, 2> Decoder::Forward(Context& ctx, const Batch& batch, std::span<const KvLayer> kv,
                                      const LayerTap& tap) {
  const GlobalWeights& global = weights_.global();
  const int layers = static_cast<int>(config_.layers.size());
  const int last_kv_layer = config_.first_shared_layer() - 1;
  const std::int64_t wanted = static_cast<std::int64_t>(batch.wanted.size());
  planner_.Plan(ctx, batch);
  const BatchPlan* plan = &planner_.all();

  View<float, 2> x = buffers_.x.first(plan->rows);
  EmbedTokens(ctx, batch.tokens, batch.soft, x);
  if (tap) tap(0, x);
  // Layers past last_kv_layer get theirs when it is known which rows go on.
  int ple_begin = 0;
  if (config_.ple_width > 0) PerLayerEmbeddings(ctx, batch.tokens, 0, last_kv_layer, x);

  for (int index = 0; index < layers; ++index) {
    const LayerWeights& weights = weights_.layer(index);
    const LayerConfig& layer = config_.layers[index];

    RmsNorm(ctx, x, weights.input_norm, eps_, buffers_.normed.first(plan->rows));
    if (layer.owns_kv) StoreKv(ctx, index, weights, kv[index], *plan);
    if (index == last_kv_layer) {
      if (wanted == 0) return buffers_.hidden.first(0);
      if (wanted < plan->rows) {
        GatherRows(ctx, x, batch.wanted, buffers_.branch.first(wanted));
        std::swap(buffers_.x, buffers_.branch);
        x = buffers_.x.first(wanted);
        RmsNorm(ctx, x, weights.input_norm, eps_, buffers_.normed.first(wanted));
      }
      plan = &planner_.wanted();
      if (config_.ple_width > 0) {
        View<float, 2> embedded = buffers_.branch.first(wanted);
        EmbedTokens(ctx, planner_.wanted_tokens(), planner_.wanted_soft(), embedded);
        PerLayerEmbeddings(ctx, planner_.wanted_tokens(), index, layers, embedded);
        ple_begin = index;
      }
    }
    Attend(ctx, index, weights, kv[index], *plan);
    AddNorm(ctx, buffers_.branch.first(plan->rows), weights.post_attention_norm, eps_, 1.0f, x);

    Mlp(ctx, index, weights, plan->rows);
    if (config_.experts > 0) Experts(ctx, weights, plan->rows);
    // The scalar scales the whole stream, at the end of the layer.
    const bool ple = config_.ple_width > 0;
    AddNorm(ctx, buffers_.branch.first(plan->rows), weights.post_feedforward_norm, eps_,
            ple ? 1.0f : weights.scalar, x);
    if (ple) {
      InjectPerLayerEmbedding(ctx, weights, plan->rows, (index - ple_begin) * config_.ple_width);
    }
    if (tap) tap(index + 1, x);
  }
  RmsNorm(ctx, x, global.final_norm, eps_, buffers_.hidden.first(plan->rows));
  return buffers_.hidden.first(plan->rows);
}

// out = table[id]·√H, or the row that a tower made (Gemma4Model.forward).
void Decoder::EmbedTokens(Context& ctx, std::span<const std::int32_t> tokens,
                          std::span<const float* const> soft, View<float, 2> out) {
  const GlobalWeights& global = weights_.global();
  Embed(ctx, global.embedding, tokens, 0, global.embedding_scale, out);
  if (!soft.empty()) ReplaceRows(ctx, soft, out);
}

// k = rope(norm(k_proj·r)), v = norm(v_proj·r) without weight; where k_eq_v, v is the raw k
// projection, before its norm and turn (Gemma4TextAttention).
void Decoder::StoreKv(Context& ctx, int index, const LayerWeights& weights, const KvLayer& kv,
                      const BatchPlan& plan) {
  const LayerConfig& layer = config_.layers[index];
  const AttentionWeights& attention = weights.attention;
  const KindPlan& kind = plan.kind(static_cast<int>(layer.kind));
  const std::int64_t width = layer.kv_heads * layer.head_dim;
  const View<float, 2> normed = buffers_.normed.first(plan.rows);  // [rows, hidden]
  const View<float, 2> k = Dense(buffers_.k, plan.rows, width);    // [rows, kv_heads·head_dim]
  const View<float, 2> v = Dense(buffers_.v, plan.rows, width);    // [rows, kv_heads·head_dim]
  if (layer.k_eq_v) {
    MatMul(ctx, normed, attention.k, k);
    const std::array<std::int64_t, 2> by_head = {plan.rows * layer.kv_heads, layer.head_dim};
    RmsNorm(ctx, View<float, 2>(k.data(), by_head), kNoWeight, eps_,
            View<float, 2>(v.data(), by_head));
  } else {
    const MatMulTarget targets[] = {{attention.k, k}, {attention.v, v}};
    MatMulMany(ctx, normed, targets);
    NormRope(ctx, Heads(v, layer.kv_heads), kNoWeight, eps_, kNoTurn, kNoTurn);
  }
  NormRope(ctx, Heads(k, layer.kv_heads), attention.k_norm, eps_, kind.cos, kind.sin);
  AppendKv(ctx, Heads(k, layer.kv_heads), Heads(v, layer.kv_heads), kv, plan,
           static_cast<int>(layer.kind));
}

// branch = o_proj · attention(rope(norm(q_proj·r)))
void Decoder::Attend(Context& ctx, int index, const LayerWeights& weights, const KvLayer& kv,
                     const BatchPlan& plan) {
  const LayerConfig& layer = config_.layers[index];
  const AttentionWeights& attention = weights.attention;
  const KindPlan& kind = plan.kind(static_cast<int>(layer.kind));
  const std::int64_t width = config_.heads * layer.head_dim;
  const View<float, 2> q = Dense(buffers_.q, plan.rows, width);  // [rows, heads·head_dim]
  const View<float, 2> attended =
      Dense(buffers_.attended, plan.rows, width);  // [rows, heads·head_dim]
  MatMul(ctx, buffers_.normed.first(plan.rows), attention.q, q);
  NormRope(ctx, Heads(q, config_.heads), attention.q_norm, eps_, kind.cos, kind.sin);
  Attention(ctx, Heads(q, config_.heads), kv, plan, static_cast<int>(layer.kind),
            Heads(attended, config_.heads), attention.k_norm);
  MatMul(ctx, attended, attention.o, buffers_.branch.first(plan.rows));
}

// branch = down · (gelu(gate·u) ⊙ up·u),  u = norm(x; pre_feedforward_layernorm)
void Decoder::Mlp(Context& ctx, int index, const LayerWeights& weights, std::int64_t rows) {
  const std::int64_t width = config_.layers[index].intermediate;
  const View<float, 2> u = buffers_.normed.first(rows);           // [rows, hidden]
  const View<float, 2> gate = Dense(buffers_.gate, rows, width);  // [rows, intermediate]
  RmsNorm(ctx, buffers_.x.first(rows), weights.pre_feedforward_norm, eps_, u);
  MatMulGeGlu(ctx, u, weights.mlp.gate, weights.mlp.up, gate);
  MatMul(ctx, gate, weights.mlp.down, buffers_.branch.first(rows));
}

// branch = norm(branch; post_1) + norm(experts(norm(x; pre_2)); post_2). The router sees the
// residual stream x itself (normed without weight), not the experts' input
// (Gemma4TextDecoderLayer).
void Decoder::Experts(Context& ctx, const LayerWeights& weights, std::int64_t rows) {
  const MoeWeights& moe = weights.moe;
  const View<float, 2> x = buffers_.x.first(rows);                          // [rows, hidden]
  const View<float, 2> normed = buffers_.normed.first(rows);                // [rows, hidden]
  const View<float, 2> branch = buffers_.branch.first(rows);                // [rows, hidden]
  const View<float, 2> branch2 = buffers_.branch2.first(rows);              // [rows, hidden]
  const View<float, 2> router = buffers_.router.first(rows);                // [rows, experts]
  const View<std::int32_t, 2> expert = buffers_.expert.first(rows);         // [rows, k]
  const View<float, 2> expert_weight = buffers_.expert_weight.first(rows);  // [rows, k]

  RmsNorm(ctx, branch, moe.post_norm_1, eps_, branch);
  RmsNorm(ctx, x, kNoWeight, eps_, normed);
  ScaleRows(ctx, moe.router_scale, 1.0f / std::sqrt(static_cast<float>(config_.hidden)), normed);
  MatMul(ctx, normed, moe.router, router);
  RouteTopK(ctx, router, moe.expert_scale, expert, expert_weight);

  RmsNorm(ctx, x, moe.pre_norm_2, eps_, normed);
  culet::Experts(ctx, normed, moe.gate_up, moe.down, config_.experts, expert, expert_weight,
                 branch2);
  RmsNorm(ctx, branch2, moe.post_norm_2, eps_, branch2);
  AddRows(ctx, branch, branch2, branch);
}

// ple = ( table[id]·√P + norm( (projection·x)·H^(−1/2) ) ) · 2^(−1/2), x the scaled embedding
// (Gemma4TextModel.project_per_layer_inputs).
void Decoder::PerLayerEmbeddings(Context& ctx, std::span<const std::int32_t> tokens, int first,
                                 int last, View<const float, 2> embedded) {
  if (first == last) return;
  const GlobalWeights& global = weights_.global();
  const std::int64_t rows = static_cast<std::int64_t>(tokens.size());
  const std::int64_t begin = first * config_.ple_width;
  const std::int64_t width = (last - first) * config_.ple_width;
  const View<float, 2> token = Dense(buffers_.ple, rows, width);                // [rows, layers·P]
  const View<float, 2> projected = Dense(buffers_.ple_projected, rows, width);  // [rows, layers·P]
  ple_stride_ = width;
  // In blocks, so that the source can let go of the rows: a row may keep much around it resident.
  constexpr std::int64_t kBlock = 64;
  for (std::int64_t row = 0; row < rows; row += kBlock) {
    const std::int64_t count = std::min(kBlock, rows - row);
    Embed(ctx, global.ple_table,
          tokens.subspan(static_cast<std::size_t>(row), static_cast<std::size_t>(count)), begin,
          global.ple_scale, View<float, 2>(token.row(row), {count, width}));
    weights_.PleRowsWereRead(count);
  }
  MatMul(ctx, embedded, global.ple_projection.slice(begin, width), projected);
  PleCombine(ctx, projected, 1.0f / std::sqrt(static_cast<float>(config_.hidden)), global.ple_norm,
             eps_, token);
}

// x = (x + norm(projection · (gelu(gate·x) ⊙ ple); post)) · layer_scalar; x is not normed before
// the gate. `ple_column`: where this layer's embedding begins in the ple buffer.
void Decoder::InjectPerLayerEmbedding(Context& ctx, const LayerWeights& weights, std::int64_t rows,
                                      std::int64_t ple_column) {
  const View<float, 2> x = buffers_.x.first(rows);                            // [rows, hidden]
  const View<float, 2> gate = Dense(buffers_.gate, rows, config_.ple_width);  // [rows, P]
  const View<float, 2> branch = buffers_.branch.first(rows);                  // [rows, hidden]
  const View<float, 2> ple(buffers_.ple.data() + ple_column, {rows, config_.ple_width},
                           {ple_stride_, 1});  // [rows, P]
  MatMul(ctx, x, weights.ple.gate, gate);
  GeluMul(ctx, gate, ple, gate);
  MatMul(ctx, gate, weights.ple.projection, branch);
  AddNorm(ctx, branch, weights.ple.post_norm, eps_, weights.scalar, x);
}

void Decoder::Head(Context& ctx, View<const float, 2> hidden, View<float, 2> logits) {
  MatMul(ctx, hidden, weights_.global().head, logits);
  if (config_.logit_softcap) SoftCap(ctx, static_cast<float>(*config_.logit_softcap), logits);
}

}  // namespace culet
