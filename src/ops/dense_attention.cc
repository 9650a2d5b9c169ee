#include "ops/dense_attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/cpu/kernels.h"
#include "ops/shapes.h"

namespace culet {
namespace {

std::size_t FloatBytes(std::int64_t count) {
  return AlignUp(static_cast<std::size_t>(count) * sizeof(float));
}

// Scratch: packed keys and values of one group, and one work area a thread.
struct Layout {
  std::int64_t k_floats;  // of one kv head
  std::int64_t v_floats;
  std::int64_t stride;  // head_dim, padded to panels
  std::size_t values;   // where the values begin
  std::size_t areas;
  std::size_t area_bytes;
  std::size_t bytes;
};

Layout MakeLayout(std::int64_t rows, std::int64_t kv_heads, std::int64_t head_dim, int threads) {
  Layout layout{};
  layout.stride = RoundUp(head_dim, kDensePanel);
  layout.k_floats = RoundUp(rows, kDensePanel) * head_dim;
  layout.v_floats = rows * layout.stride;
  layout.values = FloatBytes(kv_heads * layout.k_floats);
  layout.areas = layout.values + FloatBytes(kv_heads * layout.v_floats);
  layout.area_bytes = FloatBytes(kDenseTile * head_dim) + FloatBytes(kDenseTile * kDenseScores) +
                      FloatBytes(kDenseTile * layout.stride) + 2 * FloatBytes(kDenseTile);
  layout.bytes = layout.areas + layout.area_bytes * static_cast<std::size_t>(threads);
  return layout;
}

// What one group's work has in common.
struct Group {
  Context& ctx;
  const View<const float, 3>& q;
  const View<const float, 3>& k;
  const View<const float, 3>& v;
  const View<float, 3>& out;
  std::int64_t first;   // row
  std::int64_t length;  // rows
  Layout layout;
  std::byte* scratch;

  std::int64_t head_dim() const { return q.extent(2); }
  float* keys(std::int64_t kv_head) const {
    return reinterpret_cast<float*>(scratch) + kv_head * layout.k_floats;
  }
  float* values(std::int64_t kv_head) const {
    return reinterpret_cast<float*>(scratch + layout.values) + kv_head * layout.v_floats;
  }
};

// Keys [begin, begin + count) of a kv head as panels [head_dim, kDensePanel], and its values as
// panels [count, kDensePanel]; what is beyond keys or head_dim is zero.
void PackBlock(const Group& group, std::int64_t kv_head, std::int64_t begin, std::int64_t count) {
  const std::int64_t head_dim = group.head_dim();
  float* keys = group.keys(kv_head) + begin * head_dim;
  float* values = group.values(kv_head) + begin * group.layout.stride;
  for (std::int64_t key = 0; key < RoundUp(count, kDensePanel); ++key) {
    const float* source = key < count
                              ? group.k.row(group.first + begin + key) + kv_head * group.k.stride(1)
                              : nullptr;
    float* to = keys + key / kDensePanel * kDensePanel * head_dim + key % kDensePanel;
    for (std::int64_t i = 0; i < head_dim; ++i) {
      to[i * kDensePanel] = source != nullptr ? source[i] : 0.0f;
    }
  }
  for (std::int64_t panel = 0; panel < group.layout.stride; panel += kDensePanel) {
    const std::int64_t columns = std::min(kDensePanel, head_dim - panel);
    for (std::int64_t key = 0; key < count; ++key) {
      const float* source =
          group.v.row(group.first + begin + key) + kv_head * group.v.stride(1) + panel;
      float* to = values + panel * count + key * kDensePanel;
      std::copy_n(source, columns, to);
      std::fill(to + columns, to + kDensePanel, 0.0f);
    }
  }
}

void PackGroup(const Group& group) {
  const std::int64_t blocks = (group.length + kDenseKeys - 1) / kDenseKeys;
  group.ctx.pool().ParallelFor(
      group.k.extent(1) * blocks, 1, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t item = begin; item < end; ++item) {
          const std::int64_t key = item % blocks * kDenseKeys;
          PackBlock(group, item / blocks, key, std::min(kDenseKeys, group.length - key));
        }
      });
}

// Queries [begin, begin + count) of one head against all keys.
void RunTile(const Group& group, std::int64_t head, std::int64_t begin, std::int64_t count,
             std::byte* area) {
  const std::int64_t head_dim = group.head_dim();
  const std::int64_t kv_head = head / (group.q.extent(1) / group.k.extent(1));
  DenseAttentionArgs args;
  args.queries = RoundUp(count, kDenseGroup);
  args.head_dim = head_dim;
  args.stride = group.layout.stride;
  auto* q = reinterpret_cast<float*>(area);
  area += FloatBytes(kDenseTile * head_dim);
  args.q = q;
  args.scores = reinterpret_cast<float*>(area);
  area += FloatBytes(kDenseTile * kDenseScores);
  args.out = reinterpret_cast<float*>(area);
  area += FloatBytes(kDenseTile * args.stride);
  args.max = reinterpret_cast<float*>(area);
  args.sum = reinterpret_cast<float*>(area + FloatBytes(kDenseTile));
  // Side by side: rows of q lie a whole [heads, head_dim] apart, which is few sets of a cache.
  for (std::int64_t query = 0; query < count; ++query) {
    std::copy_n(group.q.row(group.first + begin + query) + head * group.q.stride(1), head_dim,
                q + query * head_dim);
  }
  std::fill_n(q + count * head_dim, (args.queries - count) * head_dim, 0.0f);
  std::fill_n(args.max, args.queries, -std::numeric_limits<float>::infinity());
  std::fill_n(args.sum, args.queries, 0.0f);
  std::fill_n(args.out, args.queries * args.stride, 0.0f);
  for (std::int64_t key = 0; key < group.length; key += kDenseKeys) {
    args.keys = std::min(kDenseKeys, group.length - key);
    args.k = group.keys(kv_head) + key * head_dim;
    args.v = group.values(kv_head) + key * args.stride;
    group.ctx.kernels().dense_attention_block(args);
  }
  for (std::int64_t query = 0; query < count; ++query) {
    const float inverse = 1.0f / args.sum[query];
    float* to = group.out.row(group.first + begin + query) + head * group.out.stride(1);
    for (std::int64_t i = 0; i < head_dim; ++i) to[i] = args.out[query * args.stride + i] * inverse;
  }
}

void RunGroup(const Group& group) {
  const std::int64_t tiles = (group.length + kDenseTile - 1) / kDenseTile;
  group.ctx.pool().ParallelFor(
      group.q.extent(1) * tiles, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
        std::byte* area = group.scratch + group.layout.areas +
                          group.layout.area_bytes * static_cast<std::size_t>(thread);
        for (std::int64_t item = begin; item < end; ++item) {
          const std::int64_t query = item % tiles * kDenseTile;
          RunTile(group, item / tiles, query, std::min(kDenseTile, group.length - query), area);
        }
      });
}

}  // namespace

void DenseAttention(Context& ctx, View<const float, 3> q, View<const float, 3> k,
                    View<const float, 3> v, std::span<const std::int64_t> lengths,
                    View<float, 3> out) {
  if (q.extents() != out.extents() || k.extents() != v.extents() || k.extent(0) != q.extent(0) ||
      k.extent(2) != q.extent(2) || k.extent(1) < 1 || q.extent(1) % k.extent(1) != 0) {
    ThrowShape("DenseAttention: q " + ShapeText(q) + ", k " + ShapeText(k) + ", v " + ShapeText(v) +
               " and out " + ShapeText(out) + " do not fit");
  }
  CheckContiguous("DenseAttention", "q", q);
  CheckContiguous("DenseAttention", "k", k);
  CheckContiguous("DenseAttention", "v", v);
  CheckContiguous("DenseAttention", "out", out);
  std::int64_t rows = 0;
  std::int64_t longest = 0;
  for (const std::int64_t length : lengths) {
    if (length < 1) ThrowShape("DenseAttention: a group of " + std::to_string(length) + " rows");
    rows += length;
    longest = std::max(longest, length);
  }
  if (rows != q.extent(0)) {
    ThrowShape("DenseAttention: groups of " + std::to_string(rows) + " rows together for q " +
               ShapeText(q));
  }
  if (rows == 0) return;
  const Layout layout = MakeLayout(longest, k.extent(1), q.extent(2), ctx.pool().threads());
  std::byte* scratch = ctx.Scratch(layout.bytes);
  std::int64_t first = 0;
  for (const std::int64_t length : lengths) {
    const Group group{ctx, q, k, v, out, first, length, layout, scratch};
    PackGroup(group);
    RunGroup(group);
    first += length;
  }
}

std::size_t DenseAttentionScratchBytes(std::int64_t rows, std::int64_t kv_heads,
                                       std::int64_t head_dim, int threads) {
  return MakeLayout(rows, kv_heads, head_dim, threads).bytes;
}

}  // namespace culet
