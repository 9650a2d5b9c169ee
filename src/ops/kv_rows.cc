// The cache's own side: its checks, and appending to it.
#include "ops/kv_rows.h"

#include <string>

#include "ops/attention.h"
#include "ops/cpu/kernels.h"
#include "ops/profile.h"
#include "ops/shapes.h"

namespace culet {

void CheckKvCache(const char* op, const KvLayer& cache) {
  if (cache.dtype != DType::kF32 && cache.dtype != DType::kBF16 && cache.dtype != DType::kI8) {
    ThrowShape(std::string(op) + ": a cache of " + std::string(DTypeName(cache.dtype)) +
               "; culet keeps F32, BF16 and I8");
  }
  const bool whole_groups = cache.dtype != DType::kI8 || cache.turning % kKvGroup == 0;
  if (cache.turning < 0 || cache.turning % 2 != 0 || cache.turning >= cache.head_dim ||
      !whole_groups) {
    ThrowShape(std::string(op) + ": " + std::to_string(cache.turning) +
               " turning values of heads of " + std::to_string(cache.head_dim) +
               "; they are pairs, fewer than all, and in int8 whole groups of " +
               std::to_string(kKvGroup));
  }
}

void CheckKvPlan(const char* op, const BatchPlan& plan, std::int64_t rows) {
  if (plan.rows != rows || static_cast<std::int64_t>(plan.positions.size()) < rows ||
      static_cast<std::int64_t>(plan.sequences.size()) < rows) {
    ThrowShape(std::string(op) + ": a plan of " + std::to_string(plan.rows) + " rows for " +
               std::to_string(rows));
  }
}

std::int64_t KvPageOf(const char* op, const KindPlan& kind, std::int64_t sequence,
                      std::int64_t position) {
  const std::int64_t index = sequence * kind.table_stride + position / kPageTokens;
  const bool inside = position >= 0 && position / kPageTokens < kind.table_stride &&
                      index < static_cast<std::int64_t>(kind.page_tables.size());
  if (!inside || kind.page_tables[static_cast<std::size_t>(index)] < 0) {
    ThrowShape(std::string(op) + ": position " + std::to_string(position) + " of sequence " +
               std::to_string(sequence) + " has no page");
  }
  return kind.page_tables[static_cast<std::size_t>(index)];
}

void AppendKv(Context& ctx, View<const float, 3> k, View<const float, 3> v, const KvLayer& cache,
              const BatchPlan& plan, int kind_index) {
  const std::int64_t rows = k.extent(0);
  if (k.extents() != v.extents() || k.extent(1) != cache.kv_heads ||
      k.extent(2) != cache.head_dim) {
    ThrowShape("AppendKv: k " + ShapeText(k) + " and v " + ShapeText(v) +
               " do not fit a cache of " + std::to_string(cache.kv_heads) + " heads of " +
               std::to_string(cache.head_dim));
  }
  CheckKvCache("AppendKv", cache);
  CheckKvPlan("AppendKv", plan, rows);
  const OpTimer timer(ctx, "AppendKv", kind_index);
  CheckContiguous("AppendKv", "k", k);
  CheckContiguous("AppendKv", "v", v);
  const KindPlan& kind = plan.kind(kind_index);
  const std::int64_t values = cache.head_dim + cache.turning;  // of a row
  const auto store = [&](const float* x, void* pages, std::size_t offset) {
    std::byte* row = static_cast<std::byte*>(pages) + offset;
    if (cache.dtype == DType::kI8) {
      QuantizeKvRow(x, values, row);
    } else {
      ctx.kernels().narrow(x, cache.dtype, row, values);
    }
  };
  const TurningRuns runs(cache);
  float* joined = nullptr;
  if (cache.turning > 0) {
    joined =
        reinterpret_cast<float*>(ctx.Scratch(static_cast<std::size_t>(values) * sizeof(float)));
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t position = plan.positions[static_cast<std::size_t>(row)];
    const std::int64_t page =
        KvPageOf("AppendKv", kind, plan.sequences[static_cast<std::size_t>(row)], position);
    for (std::int64_t head = 0; head < cache.kv_heads; ++head) {
      const std::size_t offset = cache.offset(page, head, position % kPageTokens);
      const float* key = k.row(row) + head * k.stride(1);
      const float* value = v.row(row) + head * v.stride(1);
      if (cache.turning > 0) {
        runs.Turning(key, runs.Resting(value, runs.Turning(value, joined)));
        store(joined, cache.v, offset);
      } else {
        store(key, cache.k, offset);
        store(value, cache.v, offset);
      }
    }
  }
}

}  // namespace culet
