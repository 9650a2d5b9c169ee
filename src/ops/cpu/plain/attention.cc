// Plain attention over one block of keys, and the joining of blocks. Sums in double.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/plain/plain.h"

namespace culet {
namespace {

// Value i of the row `key` of a page.
float At(const void* page, const AttentionBlockArgs& a, std::int64_t scales, std::int64_t key,
         std::int64_t i) {
  const std::byte* row = static_cast<const std::byte*>(page) + key * a.row_bytes;
  if (a.dtype == DType::kI8) {
    return static_cast<float>(static_cast<std::int8_t>(row[i])) * KvScale(row, scales, i);
  }
  return a.dtype == DType::kF32 ? reinterpret_cast<const float*>(row)[i]
                                : Bf16ToF32(reinterpret_cast<const std::uint16_t*>(row)[i]);
}

void Block(const AttentionBlockArgs& a) {
  const std::int64_t n = a.head_dim;
  for (std::int64_t query = 0; query < a.queries; ++query) {
    const KeyRange range = a.range[query];
    const float* q = a.q + query * a.stride;
    float* scores = a.scores + query * kBlockKeys;
    float* out = a.out + query * a.stride;
    float max = -std::numeric_limits<float>::infinity();
    for (std::int64_t key = range.begin; key < range.end; ++key) {
      const void* page = a.k_page[key / kPageTokens];
      double score = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        score += static_cast<double>(q[i]) * At(page, a, a.k_scales, key % kPageTokens, i);
      }
      scores[key] = static_cast<float>(score);
      max = std::max(max, scores[key]);
    }
    double sum = 0;
    for (std::int64_t key = range.begin; key < range.end; ++key) {
      scores[key] = static_cast<float>(std::exp(static_cast<double>(scores[key]) - max));
      sum += scores[key];
    }
    for (std::int64_t i = 0; i < n; ++i) {
      double value = 0;
      for (std::int64_t key = range.begin; key < range.end; ++key) {
        const void* page = a.v_page[key / kPageTokens];
        value += static_cast<double>(scores[key]) * At(page, a, a.v_scales, key % kPageTokens, i);
      }
      out[i] = static_cast<float>(value);
    }
    a.max[query] = max;
    a.sum[query] = static_cast<float>(sum);
  }
}

void Merge(float* max, float* sum, float* out, float block_max, float block_sum,
           const float* block_out, std::int64_t n) {
  if (block_sum == 0.0f) return;  // the row sees none of the block's keys
  const float joined = std::max(*max, block_max);
  const double old_scale = std::exp(static_cast<double>(*max) - joined);  // 0 for the first block
  const double new_scale = std::exp(static_cast<double>(block_max) - joined);
  *max = joined;
  *sum = static_cast<float>(*sum * old_scale + block_sum * new_scale);
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<float>(out[i] * old_scale + block_out[i] * new_scale);
  }
}

}  // namespace

void FillPlainAttention(CpuKernels& table) {
  table.attention_block = {Block, CpuLevel::kPlain};
  table.attention_merge = {Merge, CpuLevel::kPlain};
}

}  // namespace culet
