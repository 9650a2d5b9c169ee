#include "ops/matmul.h"

#include <algorithm>

#include "ops/cpu/kernels.h"
#include "ops/cpu/quantized_rows.h"
#include "ops/matmul_scratch.h"
#include "ops/profile.h"
#include "ops/shapes.h"

namespace culet {
namespace {

// Outputs a thread's share is a multiple of: the layout's tiles.
constexpr std::int64_t kUnitOutputs = kTileOutputs;
// Fewer multiply-adds than this (some 2 µs of one core) cost less than waking a thread.
constexpr std::int64_t kParallelProducts = 65536;

// A share of fewer units is mostly the beginnings of streams: integer kernels for few rows read two
// units side by side, each with its scales.
constexpr std::int64_t kUnitsAtOnce = 4;
// Bytes of weights of the least pieces that are dealt to a thread, which come last: some 10 µs of
// reading, so that no thread waits long for another, and enough for the hardware's fetching to run
// ahead. The first are larger (ThreadPool::ParallelFor).
constexpr std::int64_t kPieceBytes = std::int64_t{256} << 10;
constexpr std::int64_t kMostPieces = 32;  // a thread
// With many rows, outputs that a kernel computes beside one copy of x in its cache; half of them is
// half as many multiply-adds for each byte of x.
constexpr std::int64_t kBlockUnits = 16;
constexpr std::int64_t kManyRows = 64;

void Check(const char* op, const View<const float, 2>& x, const Matrix& w,
           const View<float, 2>& out) {
  if (x.extent(1) != w.cols || out.extent(0) != x.extent(0) || out.extent(1) != w.rows) {
    ThrowShape(op + (": x " + ShapeText(x)) + " does not fit W [" + std::to_string(w.rows) + ", " +
               std::to_string(w.cols) + "] and out " + ShapeText(out) +
               "; out is [rows, n] for x [rows, k] and W [n, k]");
  }
  if (w.rows > 0 && w.cols > 0 && w.data == nullptr) {
    ThrowShape(op + std::string(": W has no data"));
  }
  if (w.dense() && (w.input_scale != 0 || w.output_scale != 0)) {
    ThrowShape(op + std::string(": scales of inputs and outputs are for integer weights"));
  }
  CheckContiguous(op, "x", x);
  CheckContiguous(op, "out", out);
}

const MatMulKernel& KernelFor(const Context& ctx, const Matrix& w) {
  const CpuKernels& kernels = ctx.kernels();
  const bool wide = w.group % kScaleColumns == 0 || w.group >= w.cols;
  if (w.format == WeightFormat::kInt8Tiles) {
    return wide ? kernels.matmul_int8_wide : kernels.matmul_int8;
  }
  if (w.format == WeightFormat::kInt4Tiles) {
    return wide ? kernels.matmul_int4_wide : kernels.matmul_int4;
  }
  if (!w.dense()) {
    ThrowShape("MatMul: weights in " + std::string(WeightFormatName(w.format)) +
               ", which are for lookups");
  }
  switch (w.dtype) {
    case DType::kF32: return kernels.matmul_f32;
    case DType::kBF16:
      return w.cols <= kExactCols ? kernels.matmul_bf16_exact : kernels.matmul_bf16;
    case DType::kF16: return kernels.matmul_f16;
    default: break;
  }
  ThrowShape("MatMul: weights of " + std::string(DTypeName(w.dtype)) +
             "; culet multiplies F32, BF16 and F16");
}

// Targets that read one operand, with the kernel that packs it.
struct Sharing {
  const MatMulKernel& kernel;
  float input_scale;

  bool has(const Context& ctx, const Matrix& w) const {
    return KernelFor(ctx, w).pack == kernel.pack && w.input_scale == input_scale;
  }
};

void Pack(Context& ctx, const Sharing& sharing, const View<const float, 2>& x, std::byte* operand) {
  const MatMulKernel& kernel = sharing.kernel;
  const std::int64_t rows = x.extent(0);
  const std::int64_t k = x.extent(1);
  CULET_DCHECK(kernel.operand_bytes(rows, k) <= MatMulScratchBytes(rows, k));
  if (rows * k < kParallelElements) {
    kernel.pack(x.data(), x.stride(0), rows, k, 0, rows, sharing.input_scale, operand);
    return;
  }
  ctx.pool().ParallelFor(rows, kernel.pack_rows, [&](std::int64_t begin, std::int64_t end, int) {
    kernel.pack(x.data(), x.stride(0), rows, k, begin, end, sharing.input_scale, operand);
  });
}

// Outputs [begin, end) of a weight for all rows, rounded to whole multiples of its output_scale.
void RunOutputs(Context& ctx, const Matrix& w, const std::byte* operand, std::int64_t rows,
                std::int64_t begin, std::int64_t end, float* out, std::int64_t out_stride) {
  if (w.cols == 0) {
    for (std::int64_t row = 0; row < rows; ++row) {
      std::fill(out + row * out_stride + begin, out + row * out_stride + end, 0.0f);
    }
    return;
  }
  KernelFor(ctx, w).run(operand, rows, w, begin, end, out, out_stride);
  if (w.output_scale == 0) return;
  for (std::int64_t row = 0; row < rows; ++row) {
    ctx.kernels().round_to_steps(w.output_scale, out + row * out_stride + begin, end - begin);
  }
}

// body(begin, end, thread) over `units` of outputs of one weight or several, whose weights are
// `bytes` together.
template <typename Body>
void OverUnits(Context& ctx, const View<const float, 2>& x, std::int64_t units, int weights,
               std::int64_t bytes, const Body& body) {
  if (weights * units * kUnitOutputs * x.extent(0) * x.extent(1) < kParallelProducts) {
    body(0, units, 0);
    return;
  }
  const std::int64_t threads = ctx.pool().threads();
  const std::int64_t pieces = bytes / (kPieceBytes * threads);
  std::int64_t grain = units >= kUnitsAtOnce * threads ? kUnitsAtOnce : 1;
  if (x.extent(0) >= kManyRows && units >= 4 * kBlockUnits * threads) grain = kBlockUnits;
  ctx.pool().ParallelFor(units, grain, body,
                         static_cast<int>(std::clamp<std::int64_t>(pieces, 1, kMostPieces)));
}
std::int64_t Units(const Matrix& w) { return (w.rows + kUnitOutputs - 1) / kUnitOutputs; }

// All targets of `sharing`: one conversion, one barrier.
void RunSharing(Context& ctx, const Sharing& sharing, const View<const float, 2>& x,
                std::span<const MatMulTarget> targets, std::byte* operand) {
  Pack(ctx, sharing, x, operand);
  std::int64_t units = 0;
  std::int64_t bytes = 0;
  for (const MatMulTarget& target : targets) {
    if (!sharing.has(ctx, target.w)) continue;
    units += Units(target.w);
    bytes += static_cast<std::int64_t>(target.w.bytes());
  }
  const auto run = [&](std::int64_t begin, std::int64_t end, int) {
    std::int64_t first = 0;  // unit at which the target begins
    for (const MatMulTarget& target : targets) {
      if (!sharing.has(ctx, target.w)) continue;
      const std::int64_t count = Units(target.w);
      const std::int64_t from = std::max(begin, first) - first;
      const std::int64_t to = std::min(end, first + count) - first;
      if (from < to) {
        const std::int64_t last = std::min(to * kUnitOutputs, target.w.rows);
        RunOutputs(ctx, target.w, operand, x.extent(0), from * kUnitOutputs, last,
                   target.out.data(), target.out.stride(0));
      }
      first += count;
    }
  };
  OverUnits(ctx, x, units, 1, bytes, run);
}

void Note(Context& ctx, OpTimer& timer, const Matrix& w, View<const float, 2> x) {
  if (timer.running()) {
    timer.Add(w,
              {static_cast<double>(w.bytes()), static_cast<double>(x.extent(0) * w.rows * w.cols)});
  }
  if (ctx.product_tap()) ctx.product_tap()(w, x);
}

// Outputs of MatMulGeGlu that a thread has both factors of at once; the room for one of them, for
// any number of rows up to `rows`.
constexpr std::int64_t kGeGluBlock = kBlockUnits * kUnitOutputs;
constexpr std::int64_t kGeGluFloats = 131072;
std::int64_t GeGluOutputs(std::int64_t rows) {
  return std::max<std::int64_t>(1, kGeGluFloats / rows / kGeGluBlock) * kGeGluBlock;
}
std::int64_t GeGluFloats(std::int64_t rows) { return std::max(kGeGluFloats, rows * kGeGluBlock); }

}  // namespace

void MatMulManyIn(Context& ctx, View<const float, 2> x, std::span<const MatMulTarget> targets,
                  std::byte* scratch) {
  for (const MatMulTarget& target : targets) Check("MatMul", x, target.w, target.out);
  if (x.extent(0) == 0) return;
  OpTimer timer(ctx, "MatMul");
  for (const MatMulTarget& target : targets) Note(ctx, timer, target.w, x);
  for (std::size_t index = 0; index < targets.size(); ++index) {
    const Sharing sharing = {KernelFor(ctx, targets[index].w), targets[index].w.input_scale};
    bool done = false;  // by an earlier target's turn
    for (std::size_t earlier = 0; earlier < index; ++earlier) {
      done = done || sharing.has(ctx, targets[earlier].w);
    }
    if (!done) RunSharing(ctx, sharing, x, targets, scratch);
  }
}

void MatMulMany(Context& ctx, View<const float, 2> x, std::span<const MatMulTarget> targets) {
  MatMulManyIn(ctx, x, targets, ctx.Scratch(MatMulScratchBytes(x.extent(0), x.extent(1))));
}

void MatMul(Context& ctx, View<const float, 2> x, const Matrix& w, View<float, 2> out) {
  const MatMulTarget target{w, out};
  MatMulMany(ctx, x, {&target, 1});
}

void MatMulGeGlu(Context& ctx, View<const float, 2> x, const Matrix& gate, const Matrix& up,
                 View<float, 2> out) {
  Check("MatMulGeGlu", x, gate, out);
  Check("MatMulGeGlu", x, up, out);
  const std::int64_t rows = x.extent(0);
  if (rows == 0) return;
  OpTimer timer(ctx, "MatMul");
  Note(ctx, timer, gate, x);
  Note(ctx, timer, up, x);
  const std::int64_t operand_bytes =
      static_cast<std::int64_t>(MatMulScratchBytes(rows, x.extent(1)));
  std::byte* scratch =
      ctx.Scratch(MatMulGeGluScratchBytes(rows, x.extent(1), ctx.pool().threads()));
  const Sharing sharing = {KernelFor(ctx, gate), gate.input_scale};
  Pack(ctx, sharing, x, scratch);
  const bool shared = sharing.has(ctx, up);
  const std::byte* up_operand = shared ? scratch : scratch + operand_bytes;
  if (!shared) Pack(ctx, {KernelFor(ctx, up), up.input_scale}, x, scratch + operand_bytes);
  auto* factors = reinterpret_cast<float*>(scratch + 2 * operand_bytes);
  const auto bytes = static_cast<std::int64_t>(gate.bytes() + up.bytes());
  OverUnits(ctx, x, Units(gate), 2, bytes, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* factor = factors + thread * GeGluFloats(rows);
    const std::int64_t last = std::min(end * kUnitOutputs, gate.rows);
    const std::int64_t step = GeGluOutputs(rows);
    for (std::int64_t n = begin * kUnitOutputs; n < last; n += step) {
      const std::int64_t count = std::min(step, last - n);
      RunOutputs(ctx, gate, scratch, rows, n, n + count, out.data(), out.stride(0));
      RunOutputs(ctx, up.slice(n, count), up_operand, rows, 0, count, factor, count);
      for (std::int64_t row = 0; row < rows; ++row) {
        float* to = out.row(row) + n;
        ctx.kernels().gelu_mul(to, factor + row * count, to, count);
      }
    }
  });
}

std::size_t MatMulGeGluScratchBytes(std::int64_t rows, std::int64_t max_cols, int threads) {
  return 2 * MatMulScratchBytes(rows, max_cols) +
         static_cast<std::size_t>(threads * GeGluFloats(rows)) * sizeof(float);
}

std::size_t MatMulScratchBytes(std::int64_t rows, std::int64_t max_cols) {
  // The widest operand is f32, its rows padded to tiles of 2 to 6. Those of tiles of 16 rows have
  // values of at most 2 bytes, and (rows + 15) · 2 ≤ (rows + 7) · 4. Columns are padded to at most
  // 64, those of one byte to 128. Of short sums there may be three values of 2 bytes for one.
  const std::int64_t bytes = (rows + 7) * RoundUp(max_cols, 64) * 4;
  const std::int64_t exact = (rows + 15) * RoundUp(std::min(max_cols, kExactCols), 64) * 6;
  return static_cast<std::size_t>(std::max(bytes, exact));
}

}  // namespace culet
