#include "ops/machine_limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "ops/cpu/kernels.h"

namespace culet {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Keeps results alive.
std::atomic<std::uint64_t> sink{0};

// 10^9 operations a second of all threads in `run`; a step of it is `step` multiply-adds.
double PeakOf(Context& ctx, float (*run)(std::int64_t), std::int64_t step) {
  constexpr std::int64_t kSteps = 200000;  // some tenths of a millisecond; 5 ms of tiles
  double operations = 0;
  const Clock::time_point start = Clock::now();
  double elapsed = 0;
  do {
    ctx.pool().ParallelFor(ctx.pool().threads(), 1, [&](std::int64_t, std::int64_t, int) {
      sink.fetch_add(static_cast<std::uint64_t>(run(kSteps) != 0.0f), std::memory_order_relaxed);
    });
    operations += 2.0 * static_cast<double>(step * kSteps) * ctx.pool().threads();
    elapsed = SecondsSince(start);
  } while (elapsed < 0.1);
  return operations / elapsed * 1e-9;
}

}  // namespace

double MeasureReadGbS(ThreadPool& pool, std::span<const std::span<const std::byte>> buffers,
                      double seconds) {
  const CpuKernels& kernels = KernelsOf(BestLevel());
  constexpr std::int64_t kGrain = 4096;
  constexpr int kPieces = 8;  // as products deal their weights
  // A loop reads a part, so that all of them do not overrun `seconds` by much.
  const std::size_t most = (std::size_t{16} << 20) * static_cast<std::size_t>(pool.threads());
  std::vector<std::span<const std::byte>> parts;
  for (const std::span<const std::byte> buffer : buffers) {
    for (std::size_t at = 0; at + kGrain <= buffer.size(); at += most) {
      const std::size_t length = std::min(most, buffer.size() - at) / kGrain * kGrain;
      parts.push_back(buffer.subspan(at, length));
    }
  }
  if (parts.empty()) return 0;
  // Steps of the golden ratio: the first parts of any number lie evenly among all.
  std::size_t stride = std::max<std::size_t>(1, parts.size() * 382 / 1000);
  while (std::gcd(stride, parts.size()) > 1) ++stride;
  std::size_t part = 0;
  double bytes = 0;
  const Clock::time_point start = Clock::now();
  double elapsed = 0;
  do {
    const std::span<const std::byte> here = parts[part];
    pool.ParallelFor(
        static_cast<std::int64_t>(here.size()), kGrain,
        [&](std::int64_t begin, std::int64_t end, int) {
          sink.fetch_add(
              kernels.read_stream(here.data() + begin, static_cast<std::size_t>(end - begin)),
              std::memory_order_relaxed);
        },
        kPieces);
    bytes += static_cast<double>(here.size());
    part = (part + stride) % parts.size();
    elapsed = SecondsSince(start);
  } while (elapsed < seconds);
  return bytes / elapsed * 1e-9;
}

double MeasureReadGbS(ThreadPool& pool, std::size_t buffer_bytes, double seconds) {
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(buffer_bytes);
  pool.ParallelFor(static_cast<std::int64_t>(buffer_bytes), 4096,
                   [&](std::int64_t begin, std::int64_t end, int) {
                     std::memset(buffer.get() + begin, 1, static_cast<std::size_t>(end - begin));
                   });
  const std::span<const std::byte> all(buffer.get(), buffer_bytes);
  return MeasureReadGbS(pool, {&all, 1}, seconds);
}

double MeasurePeakGflops(Context& ctx, DType dtype) {
  const CpuKernels& kernels = ctx.kernels();
  if (dtype == DType::kBF16) return PeakOf(ctx, kernels.peak_bf16, kernels.peak_bf16_step);
  return PeakOf(ctx, kernels.peak_f32, kernels.peak_f32_step);
}

double MeasurePeakGflops(Context& ctx, WeightFormat format) {
  const CpuKernels& kernels = ctx.kernels();
  if (format == WeightFormat::kDense) return MeasurePeakGflops(ctx, DType::kBF16);
  if (IsInt4(format)) return PeakOf(ctx, kernels.peak_int4, kernels.peak_int4_step);
  return PeakOf(ctx, kernels.peak_int8, kernels.peak_int8_step);
}

}  // namespace culet
