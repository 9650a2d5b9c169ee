// The plain types that ops take: a weight, a layer's KV pages, and what a batch looks like this
// step. Nothing here owns memory or knows of Gemma.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/kv_format.h"
#include "base/view.h"
#include "base/weight_format.h"

namespace culet {

// A weight W [rows = outputs, cols = inputs]: row-major and dense in f32, bf16 or f16, or integers
// in one of the layouts of base/weight_format.h with scales beside. It may lie in a mapped file.
struct Matrix {
  DType dtype = DType::kF32;  // of a dense weight
  const void* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  WeightFormat format = WeightFormat::kDense;
  const void* scales = nullptr;      // in the layout's order; none where dense
  std::int64_t group = 0;            // columns of a row that share a scale
  DType scale_dtype = DType::kBF16;  // or f32; f16 too in a table that is only looked up
  // Of integers: where not 0, inputs and outputs of the product are rounded to whole multiples of
  // these, −128 … 127 of them (ops/matmul.h).
  float input_scale = 0;
  float output_scale = 0;

  bool dense() const { return format == WeightFormat::kDense; }
  WeightLayout layout() const { return {format, rows, cols, group}; }
  // Of values and scales.
  std::uint64_t bytes() const {
    if (!dense()) {
      return static_cast<std::uint64_t>(layout().data_bytes()) +
             static_cast<std::uint64_t>(layout().scales()) * DTypeBytes(scale_dtype);
    }
    return static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(cols) * DTypeBytes(dtype);
  }
  // Scale `index` of the layout's order, and where it is.
  const void* scale_at(std::int64_t index) const {
    return static_cast<const std::byte*>(scales) +
           static_cast<std::uint64_t>(index) * DTypeBytes(scale_dtype);
  }
  float scale(std::int64_t index) const {
    return ElementAsF32(scale_dtype, static_cast<const std::byte*>(scales),
                        static_cast<std::size_t>(index));
  }
  // Of a dense weight.
  const void* row(std::int64_t index) const {
    CULET_DCHECK(dense());
    return static_cast<const std::byte*>(data) +
           static_cast<std::uint64_t>(index) * static_cast<std::uint64_t>(cols) * DTypeBytes(dtype);
  }
  // Rows [begin, begin + count). In tiles, `begin` is a multiple of kTileOutputs.
  Matrix slice(std::int64_t begin, std::int64_t count) const {
    CULET_DCHECK(begin >= 0 && count >= 0 && begin + count <= rows);
    if (dense()) return {dtype, row(begin), count, cols};
    CULET_DCHECK(!IsTiled(format) || begin % kTileOutputs == 0);
    const WeightLayout before{format, begin, cols, group};
    Matrix part = *this;
    part.data = static_cast<const std::byte*>(data) + before.data_bytes();
    part.scales = scale_at(before.scales());
    part.rows = count;
    return part;
  }
};

// Tokens a KV page holds, for both kinds of layer. A power of two.
inline constexpr std::int64_t kPageTokens = 64;

// The pages of one layer that owns KV, each [kv_heads, kPageTokens] rows of head_dim values in f32,
// bf16 or int8 (base/kv_format.h); K and V have equal shapes, or lie in one row.
struct KvLayer {
  DType dtype = DType::kF32;
  void* k = nullptr;
  void* v = nullptr;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  // Values of a head that its rotation turns, where K and V lie in one row, at `v`; 0: in two.
  std::int64_t turning = 0;

  std::int64_t row_bytes() const { return KvRowBytes(dtype, head_dim + turning); }
  // Of a position in all heads.
  std::int64_t position_bytes() const { return (turning > 0 ? 1 : 2) * kv_heads * row_bytes(); }
  // From a row at `v` to its K.
  std::int64_t k_shift() const { return turning * static_cast<std::int64_t>(DTypeBytes(dtype)); }
  std::size_t page_bytes() const {
    return static_cast<std::size_t>(kv_heads * kPageTokens * row_bytes());
  }
  // Of a position's row in K and in V, from where they begin.
  std::size_t offset(std::int64_t page, std::int64_t head, std::int64_t slot) const {
    return static_cast<std::size_t>(((page * kv_heads + head) * kPageTokens + slot) * row_bytes());
  }
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
