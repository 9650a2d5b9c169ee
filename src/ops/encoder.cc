#include "ops/encoder.h"

#include <algorithm>

#include "ops/cpu/kernels.h"
#include "ops/shapes.h"

namespace culet {
namespace {

void CheckVector(const char* op, const char* name, std::span<const float> values,
                 std::int64_t cols) {
  if (static_cast<std::int64_t>(values.size()) == cols) return;
  ThrowShape(std::string(op) + ": " + name + " [" + std::to_string(values.size()) +
             "] does not fit rows of " + std::to_string(cols));
}

template <typename A, typename B>
void CheckRows(const char* op, const View<A, 2>& x, const View<B, 2>& out, std::int64_t rows,
               std::int64_t cols) {
  CheckContiguous(op, "x", x);
  CheckContiguous(op, "out", out);
  if (out.extent(0) == rows && out.extent(1) == cols) return;
  ThrowShape(std::string(op) + ": x " + ShapeText(x) + " does not fit out " + ShapeText(out));
}

// body(row) over all rows, `cols` elements of work each.
template <typename Body>
void EachRow(Context& ctx, std::int64_t rows, std::int64_t cols, Body body) {
  OverRows(ctx, rows, cols, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) body(row);
  });
}

}  // namespace

void Clamp(Context& ctx, View<const float, 2> x, float low, float high, View<float, 2> out) {
  CheckRows("Clamp", x, out, x.extent(0), x.extent(1));
  EachRow(ctx, x.extent(0), x.extent(1), [&](std::int64_t row) {
    ctx.kernels().clamp(x.row(row), low, high, out.row(row), x.extent(1));
  });
}

void LayerNorm(Context& ctx, View<const float, 2> x, std::span<const float> w,
               std::span<const float> b, float eps, View<float, 2> out) {
  CheckRows("LayerNorm", x, out, x.extent(0), x.extent(1));
  CheckVector("LayerNorm", "w", w, x.extent(1));
  if (!b.empty()) CheckVector("LayerNorm", "b", b, x.extent(1));
  EachRow(ctx, x.extent(0), x.extent(1), [&](std::int64_t row) {
    ctx.kernels().layer_norm(x.row(row), w.data(), b.empty() ? nullptr : b.data(), eps,
                             out.row(row), x.extent(1));
  });
}

void Standardize(Context& ctx, View<const float, 2> x, std::span<const float> shift,
                 std::span<const float> scale, View<float, 2> out) {
  CheckRows("Standardize", x, out, x.extent(0), x.extent(1));
  CheckVector("Standardize", "shift", shift, x.extent(1));
  CheckVector("Standardize", "scale", scale, x.extent(1));
  EachRow(ctx, x.extent(0), x.extent(1), [&](std::int64_t row) {
    ctx.kernels().standardize(x.row(row), shift.data(), scale.data(), out.row(row), x.extent(1));
  });
}

void AddBias(Context& ctx, std::span<const float> b, View<float, 2> x) {
  CheckContiguous("AddBias", "x", x);
  CheckVector("AddBias", "b", b, x.extent(1));
  EachRow(ctx, x.extent(0), x.extent(1), [&](std::int64_t row) {
    ctx.kernels().add(x.row(row), b.data(), x.row(row), x.extent(1));
  });
}

void Silu(Context& ctx, View<float, 2> x) {
  CheckContiguous("Silu", "x", x);
  EachRow(ctx, x.extent(0), x.extent(1),
          [&](std::int64_t row) { ctx.kernels().silu(x.row(row), x.row(row), x.extent(1)); });
}

void Glu(Context& ctx, View<const float, 2> x, View<float, 2> out) {
  const std::int64_t n = x.extent(1) / 2;
  CheckRows("Glu", x, out, x.extent(0), n);
  if (x.extent(1) != 2 * n) ThrowShape("Glu: x " + ShapeText(x) + " has no two halves");
  EachRow(ctx, x.extent(0), n, [&](std::int64_t row) {
    ctx.kernels().glu(x.row(row), x.row(row) + n, out.row(row), n);
  });
}

void CausalConv(Context& ctx, View<const float, 2> x, View<const float, 2> w, View<float, 2> out) {
  CheckRows("CausalConv", x, out, x.extent(0), x.extent(1));
  CheckContiguous("CausalConv", "w", w);
  if (w.extent(1) != x.extent(1) || w.extent(0) < 1 || x.data() == out.data()) {
    ThrowShape("CausalConv: w " + ShapeText(w) + " does not fit x " + ShapeText(x) +
               ", or out is x");
  }
  const std::int64_t taps = w.extent(0);
  const std::int64_t n = x.extent(1);
  EachRow(ctx, x.extent(0), n * taps, [&](std::int64_t row) {
    std::fill_n(out.row(row), n, 0.0f);
    for (std::int64_t k = std::max<std::int64_t>(0, taps - 1 - row); k < taps; ++k) {
      ctx.kernels().mul_add(x.row(row - (taps - 1) + k), w.row(k), out.row(row), n);
    }
  });
}

void Unfold3x3(Context& ctx, View<const float, 3> x, std::int64_t first_frame,
               std::int64_t all_frames, std::int64_t first, std::int64_t steps,
               View<float, 2> out) {
  const std::int64_t bins = x.extent(1);
  const std::int64_t channels = x.extent(2);
  const std::int64_t half_bins = (bins + 1) / 2;
  CheckContiguous("Unfold3x3", "x", x);
  CheckContiguous("Unfold3x3", "out", out);
  const std::int64_t needed_first = std::max<std::int64_t>(0, 2 * first - 1);
  const std::int64_t needed_end = std::min(all_frames, 2 * (first + steps - 1) + 2);
  if (out.extent(0) != steps * half_bins || out.extent(1) != channels * 9 ||
      needed_first < first_frame || needed_end > first_frame + x.extent(0)) {
    ThrowShape("Unfold3x3: " + std::to_string(steps) + " steps from " + std::to_string(first) +
               " do not fit out " + ShapeText(out) + " and x " + ShapeText(x) + " from frame " +
               std::to_string(first_frame));
  }
  EachRow(ctx, steps * half_bins, channels * 9, [&](std::int64_t row) {
    const std::int64_t step = first + row / half_bins;
    const std::int64_t bin = row % half_bins;
    float* to = out.row(row);
    for (std::int64_t dt = 0; dt < 3; ++dt) {
      const std::int64_t frame = 2 * step - 1 + dt;
      for (std::int64_t df = 0; df < 3; ++df) {
        const std::int64_t at = 2 * bin - 1 + df;
        const bool inside = frame >= 0 && frame < all_frames && at >= 0 && at < bins;
        const float* from = inside ? x.row(frame - first_frame) + at * x.stride(1) : nullptr;
        float* place = to + dt * 3 + df;
        for (std::int64_t channel = 0; channel < channels; ++channel) {
          place[channel * 9] = inside ? from[channel] : 0.0f;
        }
      }
    }
  });
}

void PoolGrid(Context& ctx, View<const float, 2> x, std::int64_t width, std::int64_t size,
              View<float, 2> out) {
  const std::int64_t n = x.extent(1);
  if (width < 1 || size < 1 || x.extent(0) % width != 0 || width % size != 0 ||
      x.extent(0) / width % size != 0) {
    ThrowShape("PoolGrid: x " + ShapeText(x) + " is no grid of " + std::to_string(width) +
               " columns that squares of " + std::to_string(size) + " cover");
  }
  CheckRows("PoolGrid", x, out, x.extent(0) / (size * size), n);
  const std::int64_t columns = width / size;
  const float share = 1.0f / static_cast<float>(size * size);
  EachRow(ctx, out.extent(0), n * size * size, [&](std::int64_t row) {
    const std::int64_t corner = row / columns * size * width + row % columns * size;
    std::fill_n(out.row(row), n, 0.0f);
    for (std::int64_t dy = 0; dy < size; ++dy) {
      for (std::int64_t dx = 0; dx < size; ++dx) {
        ctx.kernels().add_scaled(x.row(corner + dy * width + dx), share, out.row(row), n);
      }
    }
  });
}

}  // namespace culet
