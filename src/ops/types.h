// The plain types that ops take: a weight, a layer's KV pages, and what a batch looks like this
// step. Nothing here owns memory or knows of Gemma.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/view.h"

namespace culet {

// A weight W [rows = outputs, cols = inputs], row-major and dense, in f32, bf16 or f16. It may lie
// in a mapped file. Other formats (int8, int4) will come as further values of `dtype` with scales
// beside.
struct Matrix {
  DType dtype = DType::kF32;
  const void* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  std::uint64_t bytes() const {
    return static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(cols) * DTypeBytes(dtype);
  }
  const void* row(std::int64_t index) const {
    return static_cast<const std::byte*>(data) +
           static_cast<std::uint64_t>(index) * static_cast<std::uint64_t>(cols) * DTypeBytes(dtype);
  }
  // Rows [begin, begin + count).
  Matrix slice(std::int64_t begin, std::int64_t count) const {
    CULET_DCHECK(begin >= 0 && count >= 0 && begin + count <= rows);
    return {dtype, row(begin), count, cols};
  }
};

// Tokens a KV page holds, for both kinds of layer. A power of two.
inline constexpr std::int64_t kPageTokens = 64;

// The pages of one layer that owns KV. Page p starts at element p·kv_heads·kPageTokens·head_dim and
// is [kv_heads, kPageTokens, head_dim], in f32 or bf16; K and V have equal shapes.
struct KvLayer {
  DType dtype = DType::kF32;
  void* k = nullptr;
  void* v = nullptr;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
};

// Half-open range of positions that a row may look at.
struct KeyRange {
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

// What one kind of layer (sliding, full) needs to know of the step.
struct KindPlan {
  // Visible keys of each row [rows]. Every row sees at least itself.
  std::span<const KeyRange> visible;
  // Page of each sequence's position: page_tables[sequence·table_stride + position / kPageTokens];
  // −1 where the page was given back (never inside a visible range).
  std::span<const std::int32_t> page_tables;
  std::int64_t table_stride = 0;
  // Rotary tables of each row, [rows, head_dim / 2]; cos 1 and sin 0 where a pair stands still.
  View<const float, 2> cos;
  View<const float, 2> sin;
};

// Which rows a step computes. Rows are in any order; rows of one sequence stand in rising position.
struct BatchPlan {
  std::int64_t rows = 0;
  std::span<const std::int32_t> positions;  // [rows]
  std::span<const std::int32_t> sequences;  // [rows], index into the page tables
  KindPlan kinds[2];                        // by kind of layer

  const KindPlan& kind(int index) const { return kinds[index]; }
};

}  // namespace culet
