// A model that is nothing but its memory: what it answers is a hash of what it reads back from the
// KV pages. A page that is shared, copied, given back or kept wrongly changes the answer. What a
// position stores depends on all before it, as K and V do: a page is not that of other tokens that
// only end alike.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/step_model.h"
#include "runtime/engine.h"

namespace culet::testing {

inline constexpr std::int64_t kFakeVocab = 61;
inline constexpr std::int64_t kFakeWindow = 100;  // its pages begin and end inside pages

inline ModelConfig FakeConfig() {
  ModelConfig config;
  config.vocab = kFakeVocab;
  config.hidden = 1;
  config.heads = 1;
  config.window = kFakeWindow;
  config.max_positions = 4096;
  for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull}) {
    LayerConfig layer;
    layer.kind = kind;
    layer.head_dim = 1;
    layer.kv_heads = 1;
    layer.kv_source = static_cast<int>(config.layers.size());
    config.layers.push_back(layer);
  }
  return config;
}

// What a position stores: of the position before it (0: there is none) and its token. Exact in f32.
inline std::uint32_t FakeStored(std::uint32_t before, std::int32_t token) {
  return (before * 7 + static_cast<std::uint32_t>(token) + 1) % 65521;
}

// The answer's next token after these, computed from the tokens alone.
inline std::int32_t FakeNext(std::span<const std::int32_t> tokens) {
  std::uint32_t hash = 1;
  std::uint32_t stored = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    stored = FakeStored(stored, tokens[i]);
    hash = hash * 31 + stored + 1;
    if (i + kFakeWindow >= tokens.size()) hash = hash * 17 + stored;
  }
  return static_cast<std::int32_t>(hash % kFakeVocab);
}

class FakeModel final : public StepModel {
 public:
  View<const float, 2> Forward(Context&, const Batch& batch, std::span<const KvLayer> kv,
                               const LayerTap&) override {
    if (fail_next) {
      fail_next = false;
      throw std::runtime_error("planted");
    }
    ++steps;
    most_rows = std::max<std::int64_t>(most_rows, static_cast<std::int64_t>(batch.tokens.size()));
    for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
      const std::int32_t position = batch.positions[row];
      const auto before =
          position == 0 ? 0u : static_cast<std::uint32_t>(*At(batch, kv, 1, row, position - 1));
      for (int kind = 0; kind < kLayerKinds; ++kind) {
        *At(batch, kv, kind, row, position) =
            static_cast<float>(FakeStored(before, batch.tokens[row]));
      }
    }
    hidden_.clear();
    for (const std::int32_t row : batch.wanted) {
      const std::int32_t position = batch.positions[row];
      std::vector<std::int32_t> full, window;
      std::uint32_t hash = 1;
      for (std::int32_t i = 0; i <= position; ++i) {
        hash = hash * 31 + static_cast<std::uint32_t>(*At(batch, kv, 1, row, i)) + 1;
        if (i + kFakeWindow > position) {
          hash = hash * 17 + static_cast<std::uint32_t>(*At(batch, kv, 0, row, i));
        }
      }
      hidden_.push_back(static_cast<float>(hash % kFakeVocab));
    }
    return {hidden_.data(), {static_cast<std::int64_t>(hidden_.size()), 1}};
  }
  void Head(Context&, View<const float, 2> hidden, View<float, 2> logits) override {
    for (std::int64_t row = 0; row < hidden.extent(0); ++row) {
      for (std::int64_t token = 0; token < kFakeVocab; ++token) {
        logits.row(row)[token] = token == static_cast<std::int64_t>(*hidden.row(row)) ? 1.0f : 0.0f;
      }
    }
  }
  std::uint64_t allocated_bytes() const override { return 0; }

  bool fail_next = false;
  std::int64_t steps = 0;
  std::int64_t most_rows = 0;

 private:
  static float* At(const Batch& batch, std::span<const KvLayer> kv, int kind, std::size_t row,
                   std::int32_t position) {
    const std::int32_t page = batch.page_tables[kind][static_cast<std::size_t>(
        batch.sequences[row] * batch.table_stride + position / kPageTokens)];
    if (page < 0) throw std::logic_error("a page that is needed was given back");
    return static_cast<float*>(kv[static_cast<std::size_t>(kind)].k) + page * kPageTokens +
           position % kPageTokens;
  }

  std::vector<float> hidden_;
};

}  // namespace culet::testing
