#include "ops/local_attention.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/kernels.h"
#include "ops/shapes.h"

namespace culet {
namespace {

// Floats of a thread's work area: the weights of one query, its relative part, and its sum.
std::int64_t AreaFloats(const LocalWindow& window, std::int64_t head_dim) {
  return RoundUp(2 * (window.past + window.future), 16) + RoundUp(head_dim, 16);
}

}  // namespace

void LocalAttention(Context& ctx, View<const float, 3> q, View<const float, 3> k,
                    View<const float, 3> v, View<const float, 3> relative,
                    const LocalWindow& window, View<float, 3> out) {
  const std::int64_t steps = q.extent(0);
  const std::int64_t heads = q.extent(1);
  const std::int64_t head_dim = q.extent(2);
  if (q.extents() != k.extents() || q.extents() != v.extents() || q.extents() != out.extents() ||
      relative.extent(1) != heads || relative.extent(2) != head_dim || window.past < 1 ||
      window.future < 0) {
    ThrowShape("LocalAttention: q " + ShapeText(q) + ", k " + ShapeText(k) + ", v " + ShapeText(v) +
               ", relative " + ShapeText(relative) + " and out " + ShapeText(out) +
               " do not fit, or a window of " + std::to_string(window.past) + " steps");
  }
  CheckContiguous("LocalAttention", "q", q);
  CheckContiguous("LocalAttention", "k", k);
  CheckContiguous("LocalAttention", "v", v);
  CheckContiguous("LocalAttention", "relative", relative);
  CheckContiguous("LocalAttention", "out", out);
  const std::int64_t area_floats = AreaFloats(window, head_dim);
  auto* areas = reinterpret_cast<float*>(
      ctx.Scratch(LocalAttentionScratchBytes(window, head_dim, ctx.pool().threads())));
  const CpuKernels& kernels = ctx.kernels();
  // Only the step itself reads its query, so out may be q.
  const auto run = [&](std::int64_t begin, std::int64_t end, int thread) {
    float* weights = areas + thread * area_floats;
    float* near = weights + (window.past + window.future);
    float* sum = areas + thread * area_floats + RoundUp(2 * (window.past + window.future), 16);
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t head = item / steps;
      const std::int64_t step = item % steps;
      const float* query = q.row(step) + head * q.stride(1);
      const std::int64_t first = std::max<std::int64_t>(0, step - window.past + 1);
      const std::int64_t last = std::min(steps, step + std::max<std::int64_t>(1, window.future));
      const std::int64_t count = last - first;
      for (std::int64_t i = 0; i < count; ++i) {
        kernels.dot(query, k.row(first + i) + head * k.stride(1), weights + i, head_dim);
        const std::int64_t row = window.past - (step - (first + i));
        near[i] = 0.0f;
        if (row < relative.extent(0)) {
          kernels.dot(query, relative.row(row) + head * relative.stride(1), near + i, head_dim);
        }
      }
      kernels.add(weights, near, weights, count);
      kernels.soft_cap(window.cap, weights, count);
      const float largest = *std::max_element(weights, weights + count);
      float total = 0.0f;
      for (std::int64_t i = 0; i < count; ++i) {
        weights[i] = std::exp(weights[i] - largest);
        total += weights[i];
      }
      std::fill_n(sum, head_dim, 0.0f);
      for (std::int64_t i = 0; i < count; ++i) {
        kernels.add_scaled(v.row(first + i) + head * v.stride(1), weights[i] / total, sum,
                           head_dim);
      }
      std::copy_n(sum, head_dim, out.row(step) + head * out.stride(1));
    }
  };
  if (steps == 0) return;
  const std::int64_t work = 3 * (window.past + window.future) * head_dim;
  if (steps * heads * work < kParallelElements) {
    run(0, steps * heads, 0);
  } else {
    ctx.pool().ParallelFor(steps * heads, 1, run);
  }
}

std::size_t LocalAttentionScratchBytes(const LocalWindow& window, std::int64_t head_dim,
                                       int threads) {
  return static_cast<std::size_t>(AreaFloats(window, head_dim)) * sizeof(float) *
         static_cast<std::size_t>(threads);
}

}  // namespace culet
