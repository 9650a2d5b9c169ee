// Weights to integers: each group of columns of a row gets a scale and whole numbers.
//
//   w[n, k] ≈ q[n, k] · scale[n, k / group]
//
// int8: scale = max |w| / 127. int4: of 16 scales, of either sign, and one by least squares, the
// one of least Σ weight[k] · (w − q · scale)². q is rounded by the scale as it is stored, in bf16.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/dtype.h"
#include "base/thread_pool.h"
#include "base/weight_format.h"

namespace culet {

// Rows [begin, begin + count) of a W [layout.n, layout.k].
struct QuantizeRows {
  DType dtype = DType::kBF16;         // f32, bf16 or f16
  const std::byte* values = nullptr;  // of row `begin`, [count, k] dense; need not be aligned
  std::int64_t begin = 0;
  std::int64_t count = 0;
  // How much an error in each column counts [k]; empty: all alike. int4 only. None is negative.
  std::span<const float> column_weights;
};

// Where a value is no finite number.
struct BadWeight {
  std::int64_t row = 0, col = 0;
  float value = 0;
};

// Writes the stretches of data and scales that these rows have in `layout`: data
// [QuantizedBytes(layout, count)] and scales [QuantizedScales(layout, count)], padding included. In
// tiles `begin` is a multiple of 16, and so is `count` unless the rows are the last. Values and
// scales do not depend on how rows are divided into calls or over threads. Nothing but the first
// bad weight where there is one; what was written is then of no use.
std::optional<BadWeight> Quantize(const WeightLayout& layout, const QuantizeRows& rows,
                                  ThreadPool& pool, std::span<std::uint8_t> data,
                                  std::span<std::uint16_t> scales);

// Bytes of data, and scales, of so many rows.
std::int64_t QuantizedBytes(const WeightLayout& layout, std::int64_t rows);
std::int64_t QuantizedScales(const WeightLayout& layout, std::int64_t rows);

}  // namespace culet
