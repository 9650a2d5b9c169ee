// Cases of row kernels, called as the table has them. Inputs are within [−1, 1] (gelu and the soft
// cap within ± 40), so that bounds can be told from sizes.
#include "bounds.h"
#include "ops/checkops/cases.h"
#include "ops/values.h"

namespace culet {
namespace {

constexpr float kEps = 1e-6f;

// The inputs of a row kernel and where it writes.
struct RowArgs {
  const CpuKernels& kernels;
  const float* a;
  const float* b;
  const std::uint16_t* half;
  float* out;  // holds `a` before
  std::int64_t n;
};

using Body = void (*)(const RowArgs& args);
using Bound = double (*)(double a, double b, std::int64_t n);

class RowCase : public Case {
 public:
  RowCase(std::int64_t n, float range, Body body, Bound bound, std::uint64_t seed)
      : n_(n),
        body_(body),
        random_(seed),
        a_(RandomFloats(random_, n)),
        b_(RandomFloats(random_, n)) {
    for (std::int64_t i = 0; i < n; ++i) {
      half_.push_back(F32ToBf16(a_[static_cast<std::size_t>(i)]));
      a_[static_cast<std::size_t>(i)] *= range;
      bounds.push_back(2 * bound(std::fabs(a_[static_cast<std::size_t>(i)]),
                                 std::fabs(b_[static_cast<std::size_t>(i)]), n) +
                       1e-37);
    }
  }
  std::string Text() const override { return "n " + std::to_string(n_); }
  void Run(Context& ctx, std::vector<float>& out) const override {
    std::copy(a_.begin(), a_.end(), out.begin());
    body_({ctx.kernels(), a_.data(), b_.data(), half_.data(), out.data(), n_});
  }

 private:
  std::int64_t n_;
  Body body_;
  Random random_;
  std::vector<float> a_, b_;
  std::vector<std::uint16_t> half_;
};

template <typename Fn>
Check RowCheck(const std::string& name, Kernel<Fn> CpuKernels::*kernel, Body body, Bound bound,
               float range = 1, std::int64_t multiple = 1) {
  Check check;
  check.name = name;
  check.level = [kernel](const CpuKernels& table) { return (table.*kernel).level; };
  check.cases = [=](std::uint64_t seed) {
    std::vector<std::unique_ptr<Case>> cases;
    for (const std::int64_t n : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 127, 256, 1031}) {
      cases.push_back(std::make_unique<RowCase>(n * multiple, range, body, bound,
                                                seed + static_cast<std::uint64_t>(n)));
    }
    return cases;
  };
  check.timed = [=](std::uint64_t seed) -> std::unique_ptr<Case> {
    return std::make_unique<RowCase>(12288, range, body, bound, seed);
  };
  return check;
}

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
