#include "ops/rows.h"

#include <cmath>

#include "ops/cpu/kernels.h"
#include "ops/profile.h"
#include "ops/shapes.h"

namespace culet {
namespace {

const float* DataOrNull(std::span<const float> values) {
  return values.empty() ? nullptr : values.data();
}

// `w` is empty or has one value a column.
void CheckWeight(const char* op, std::span<const float> w, std::int64_t cols) {
  if (!w.empty() && static_cast<std::int64_t>(w.size()) != cols) {
    ThrowShape(std::string(op) + ": w [" + std::to_string(w.size()) + "] does not fit rows of " +
               std::to_string(cols));
  }
}

template <typename A, typename B>
void CheckSame(const char* op, const char* a_name, const View<A, 2>& a, const char* b_name,
               const View<B, 2>& b) {
  if (a.extents() != b.extents()) {
    ThrowShape(std::string(op) + ": " + a_name + " " + ShapeText(a) + " and " + b_name + " " +
               ShapeText(b) + " differ");
  }
  CheckContiguous(op, a_name, a);
  CheckContiguous(op, b_name, b);
}

// body(row, first_col, cols) over a [rows, cols] array of independent elements. Few long rows are
// cut into columns, so that one row uses all threads too; the cuts are multiples of every vector
// width, so that an element is computed the same way however it is cut.
template <typename Body>
void OverElements(Context& ctx, std::int64_t rows, std::int64_t cols, Body body) {
  constexpr std::int64_t kChunk = 1024;
  if (rows * cols < kParallelElements) {
    for (std::int64_t row = 0; row < rows; ++row) body(row, std::int64_t{0}, cols);
    return;
  }
  const std::int64_t chunks = (cols + kChunk - 1) / kChunk;
  ctx.pool().ParallelFor(rows * chunks, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t index = begin; index < end; ++index) {
      const std::int64_t first = index % chunks * kChunk;
      body(index / chunks, first, std::min(kChunk, cols - first));
    }
  });
}

// out = q[id, first … first + n) · its scales · scale. A lookup is a few rows: no kernel of its
// own.
void WidenQuantized(const Matrix& table, std::int64_t id, std::int64_t first, float scale,
                    float* out, std::int64_t n) {
  const WeightLayout layout = table.layout();
  const auto* data = static_cast<const std::uint8_t*>(table.data);
  for (std::int64_t i = 0; i < n;) {
    const std::int64_t group_end = (first + i) / table.group * table.group + table.group;
    const std::int64_t stop = std::min(n, group_end - first);
    const float step = table.scale(layout.scale(id, first + i)) * scale;
    for (; i < stop; ++i) {
      out[i] = static_cast<float>(QuantAt(layout, data, id, first + i)) * step;
    }
  }
}

}  // namespace

void Embed(Context& ctx, const Matrix& table, std::span<const std::int32_t> ids,
           std::int64_t first_col, float scale, View<float, 2> out) {
  OpTimer timer(ctx, "Embed");
  if (out.extent(0) != static_cast<std::int64_t>(ids.size()) || first_col < 0 ||
      first_col + out.extent(1) > table.cols) {
    ThrowShape("Embed: " + std::to_string(ids.size()) + " ids, table [" +
               std::to_string(table.rows) + ", " + std::to_string(table.cols) + "] from column " +
               std::to_string(first_col) + " do not fit out " + ShapeText(out));
  }
  if (table.dense() && table.dtype != DType::kF32 && table.dtype != DType::kBF16 &&
      table.dtype != DType::kF16) {
    ThrowShape("Embed: a table of " + std::string(DTypeName(table.dtype)) +
               "; culet reads F32, BF16 and F16");
  }
  CheckContiguous("Embed", "out", out);
  if (timer.running() && table.rows > 0) {
    // The rows' share of the table.
    const double values = static_cast<double>(out.extent(0) * out.extent(1));
    const double all = static_cast<double>(table.rows) * static_cast<double>(table.cols);
    timer.Add(table, {static_cast<double>(table.bytes()) * values / all, 0});
  }
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= table.rows) {
      ThrowShape("Embed: id " + std::to_string(id) + " is not in a table of " +
                 std::to_string(table.rows) + " rows");
    }
  }
  if (!table.dense()) {
    OverRows(ctx, out.extent(0), out.extent(1), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        WidenQuantized(table, ids[static_cast<std::size_t>(row)], first_col, scale, out.row(row),
                       out.extent(1));
      }
    });
    return;
  }
  const std::size_t offset = static_cast<std::size_t>(first_col) * DTypeBytes(table.dtype);
  OverRows(ctx, out.extent(0), out.extent(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto* source = static_cast<const std::byte*>(table.row(ids[row])) + offset;
      ctx.kernels().widen(source, table.dtype, scale, out.row(row), out.extent(1));
    }
  });
}

void RmsNorm(Context& ctx, View<const float, 2> x, std::span<const float> w, float eps,
             View<float, 2> out) {
  const OpTimer timer(ctx, "RmsNorm");
  CheckSame("RmsNorm", "x", x, "out", out);
  CheckWeight("RmsNorm", w, x.extent(1));
  OverRows(ctx, x.extent(0), x.extent(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      ctx.kernels().rms_norm(x.row(row), DataOrNull(w), eps, out.row(row), x.extent(1));
    }
  });
}

void AddNorm(Context& ctx, View<const float, 2> branch, std::span<const float> w, float eps,
             float scale, View<float, 2> x) {
  const OpTimer timer(ctx, "AddNorm");
  CheckSame("AddNorm", "branch", branch, "x", x);
  CheckWeight("AddNorm", w, x.extent(1));
  OverRows(ctx, x.extent(0), x.extent(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      ctx.kernels().add_norm(branch.row(row), 1.0f, DataOrNull(w), eps, scale, x.row(row),
                             x.extent(1));
    }
  });
}

void NormRope(Context& ctx, View<float, 3> x, std::span<const float> w, float eps,
              View<const float, 2> cos, View<const float, 2> sin, int axes) {
  const OpTimer timer(ctx, "NormRope");
  const std::int64_t rows = x.extent(0);
  const std::int64_t heads = x.extent(1);
  const std::int64_t head_dim = x.extent(2);
  CheckWeight("NormRope", w, head_dim);
  CheckContiguous("NormRope", "x", x);
  const bool turn = cos.data() != nullptr;
  if (turn != (sin.data() != nullptr)) ThrowShape("NormRope: cos without sin, or sin without cos");
  if (turn &&
      (cos.extents() != sin.extents() || cos.extent(0) != rows || cos.extent(1) * 2 != head_dim)) {
    ThrowShape("NormRope: cos " + ShapeText(cos) + " and sin " + ShapeText(sin) + " do not fit x " +
               ShapeText(x) + "; they are [rows, head_dim / 2]");
  }
  const std::int64_t part = axes < 1 ? 0 : head_dim / axes;
  if (axes < 1 || (turn && part * axes != head_dim) || (turn && part % 2 != 0)) {
    ThrowShape("NormRope: heads of " + std::to_string(head_dim) + " are not pairs of " +
               std::to_string(axes) + " axes");
  }
  OverRows(ctx, rows, heads * head_dim, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t head = 0; head < heads; ++head) {
        float* values = x.row(row) + head * x.stride(1);
        ctx.kernels().rms_norm(values, DataOrNull(w), eps, values, head_dim);
        for (std::int64_t at = 0; turn && at < head_dim; at += part) {
          ctx.kernels().rope(values + at, cos.row(row) + at / 2, sin.row(row) + at / 2, part);
        }
      }
    }
  });
}

void GeluMul(Context& ctx, View<const float, 2> gate, View<const float, 2> up, View<float, 2> out) {
  const OpTimer timer(ctx, "GeluMul");
  CheckSame("GeluMul", "gate", gate, "up", up);
  CheckSame("GeluMul", "gate", gate, "out", out);
  OverElements(ctx, gate.extent(0), gate.extent(1),
               [&](std::int64_t row, std::int64_t first, std::int64_t cols) {
                 ctx.kernels().gelu_mul(gate.row(row) + first, up.row(row) + first,
                                        out.row(row) + first, cols);
               });
}

void PleCombine(Context& ctx, View<const float, 2> projected, float projected_scale,
                std::span<const float> w, float eps, View<float, 2> token) {
  const OpTimer timer(ctx, "PleCombine");
  CheckSame("PleCombine", "projected", projected, "token", token);
  const auto width = static_cast<std::int64_t>(w.size());
  if (width == 0 || token.extent(1) % width != 0) {
    ThrowShape("PleCombine: w [" + std::to_string(width) + "] does not divide rows of " +
               std::to_string(token.extent(1)));
  }
  constexpr float kHalfRoot = 0.70710678118654752440f;
  OverRows(ctx, token.extent(0), token.extent(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t first = 0; first < token.extent(1); first += width) {
        ctx.kernels().add_norm(projected.row(row) + first, projected_scale, w.data(), eps,
                               kHalfRoot, token.row(row) + first, width);
      }
    }
  });
}

void GatherRows(Context& ctx, View<const float, 2> x, std::span<const std::int32_t> rows,
                View<float, 2> out) {
  const OpTimer timer(ctx, "GatherRows");
  if (out.extent(0) != static_cast<std::int64_t>(rows.size()) || out.extent(1) != x.extent(1)) {
    ThrowShape("GatherRows: " + std::to_string(rows.size()) + " rows of x " + ShapeText(x) +
               " do not fit out " + ShapeText(out));
  }
  CheckContiguous("GatherRows", "x", x);
  CheckContiguous("GatherRows", "out", out);
  for (const std::int32_t row : rows) {
    if (row < 0 || row >= x.extent(0)) {
      ThrowShape("GatherRows: row " + std::to_string(row) + " is not in x " + ShapeText(x));
    }
  }
  OverRows(ctx, out.extent(0), out.extent(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      ctx.kernels().narrow(x.row(rows[row]), DType::kF32, out.row(row), out.extent(1));
    }
  });
}

void ReplaceRows(Context& ctx, std::span<const float* const> rows, View<float, 2> x) {
  const OpTimer timer(ctx, "ReplaceRows");
  if (x.extent(0) != static_cast<std::int64_t>(rows.size())) {
    ThrowShape("ReplaceRows: " + std::to_string(rows.size()) + " rows do not fit x " +
               ShapeText(x));
  }
  CheckContiguous("ReplaceRows", "x", x);
  OverRows(ctx, x.extent(0), x.extent(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      if (rows[row] == nullptr) continue;
      ctx.kernels().narrow(rows[row], DType::kF32, x.row(row), x.extent(1));
    }
  });
}

void ScaleRows(Context& ctx, std::span<const float> w, float scale, View<float, 2> x) {
  const OpTimer timer(ctx, "ScaleRows");
  CheckWeight("ScaleRows", w, x.extent(1));
  CheckContiguous("ScaleRows", "x", x);
  OverRows(ctx, x.extent(0), x.extent(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      ctx.kernels().scale(DataOrNull(w), scale, x.row(row), x.extent(1));
    }
  });
}

void AddRows(Context& ctx, View<const float, 2> a, View<const float, 2> b, View<float, 2> out) {
  const OpTimer timer(ctx, "AddRows");
  CheckSame("AddRows", "a", a, "b", b);
  CheckSame("AddRows", "a", a, "out", out);
  OverElements(
      ctx, a.extent(0), a.extent(1), [&](std::int64_t row, std::int64_t first, std::int64_t cols) {
        ctx.kernels().add(a.row(row) + first, b.row(row) + first, out.row(row) + first, cols);
      });
}

void SoftCap(Context& ctx, float cap, View<float, 2> logits) {
  const OpTimer timer(ctx, "SoftCap");
  CheckContiguous("SoftCap", "logits", logits);
  OverElements(ctx, logits.extent(0), logits.extent(1),
               [&](std::int64_t row, std::int64_t first, std::int64_t cols) {
                 ctx.kernels().soft_cap(cap, logits.row(row) + first, cols);
               });
}

void RopeTables(Context& ctx, std::span<const std::int32_t> positions,
                std::span<const float> frequencies, View<float, 2> cos, View<float, 2> sin) {
  const OpTimer timer(ctx, "RopeTables");
  CheckSame("RopeTables", "cos", cos, "sin", sin);
  if (cos.extent(0) != static_cast<std::int64_t>(positions.size()) ||
      cos.extent(1) != static_cast<std::int64_t>(frequencies.size())) {
    ThrowShape("RopeTables: " + std::to_string(positions.size()) + " positions and " +
               std::to_string(frequencies.size()) + " frequencies do not fit cos " +
               ShapeText(cos));
  }
  // A sine costs as much as some ten other elements.
  OverRows(ctx, cos.extent(0), cos.extent(1) * 10, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t j = 0; j < cos.extent(1); ++j) {
        const float angle = static_cast<float>(positions[row]) * frequencies[j];
        cos.row(row)[j] = static_cast<float>(std::cos(static_cast<double>(angle)));
        sin.row(row)[j] = static_cast<float>(std::sin(static_cast<double>(angle)));
      }
    }
  });
}

}  // namespace culet
