// Cases of the decoder's row kernels. Inputs are within [−1, 1] (gelu and the soft cap within ±
// 40).
#include "bounds.h"
#include "ops/checkops/row_check.h"

namespace culet {
namespace {

constexpr float kEps = 1e-6f;

double Exact(double, double, std::int64_t) { return 0; }

}  // namespace

std::vector<Check> RowChecks() {
  constexpr double kU = kF32Roundoff;
  return {
      RowCheck(
          "widen", &CpuKernels::widen,
          [](const RowArgs& r) {
            r.kernels.widen(static_cast<const void*>(r.half), DType::kBF16, 1.5f, r.out, r.n);
          },
          Exact),
      RowCheck(
          "narrow", &CpuKernels::narrow,
          [](const RowArgs& r) {
            // Into the upper half's place of `out`, read back as values.
            std::vector<std::uint16_t> bits(static_cast<std::size_t>(r.n));
            r.kernels.narrow(r.a, DType::kBF16, static_cast<void*>(bits.data()), r.n);
            for (std::int64_t i = 0; i < r.n; ++i)
              r.out[i] = Bf16ToF32(bits[static_cast<std::size_t>(i)]);
          },
          Exact),
      // A norm's outputs: |x/rms| ≤ √n.
      RowCheck(
          "rms_norm", &CpuKernels::rms_norm,
          [](const RowArgs& r) { r.kernels.rms_norm(r.a, r.b, kEps, r.out, r.n); },
          [](double, double b, std::int64_t n) {
            return NormRelativeBound(n) * std::sqrt(static_cast<double>(n)) * b;
          }),
      RowCheck(
          "add_norm", &CpuKernels::add_norm,
          [](const RowArgs& r) { r.kernels.add_norm(r.b, 0.5f, r.a, kEps, 0.7f, r.out, r.n); },
          [](double a, double, std::int64_t n) {
            return (NormRelativeBound(n) + 3 * kU) * (std::sqrt(static_cast<double>(n)) + 1) * a;
          }),
      RowCheck(
          "rope", &CpuKernels::rope,
          [](const RowArgs& r) { r.kernels.rope(r.out, r.b, r.b + r.n / 2, r.n); },
          [](double, double, std::int64_t) { return 4 * kU * 2; }, 1, 2),
      RowCheck(
          "gelu_mul", &CpuKernels::gelu_mul,
          [](const RowArgs& r) { r.kernels.gelu_mul(r.a, r.b, r.out, r.n); },
          // e^(−2u) carries the roundings of u, |2u| ≤ 104 where the result is not 0.
          [](double a, double b, std::int64_t) { return (5 * 104 + 8) * kU * a * b; }, 40),
      RowCheck(
          "scale", &CpuKernels::scale,
          [](const RowArgs& r) { r.kernels.scale(r.b, 0.3f, r.out, r.n); },
          [](double a, double b, std::int64_t) { return 3 * kU * a * b; }),
      RowCheck(
          "add", &CpuKernels::add, [](const RowArgs& r) { r.kernels.add(r.a, r.b, r.out, r.n); },
          Exact),
      RowCheck(
          "soft_cap", &CpuKernels::soft_cap,
          [](const RowArgs& r) { r.kernels.soft_cap(30.0f, r.out, r.n); },
          [](double a, double, std::int64_t) { return 8 * kU * a; }, 40),
      RowCheck(
          "add_scaled", &CpuKernels::add_scaled,
          [](const RowArgs& r) { r.kernels.add_scaled(r.b, 0.7f, r.out, r.n); },
          [](double a, double b, std::int64_t) { return 2 * kU * (a + b); }),
  };
}

}  // namespace culet
