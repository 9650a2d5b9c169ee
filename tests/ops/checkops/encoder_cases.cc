// Cases of the media encoders' kernels. Inputs are within [−1, 1] (gates within ± 40).
#include "bounds.h"
#include "ops/checkops/row_check.h"
#include "ops/dense_attention.h"

namespace culet {
namespace {

constexpr float kEps = 1e-2f;
constexpr double kU = kF32Roundoff;

// Groups of rows that see each other.
class DenseAttentionCase : public Case {
 public:
  DenseAttentionCase(std::vector<std::int64_t> lengths, std::int64_t group, std::int64_t kv_heads,
                     std::int64_t head_dim, std::uint64_t seed)
      : lengths_(std::move(lengths)),
        heads_(group * kv_heads),
        kv_heads_(kv_heads),
        head_dim_(head_dim),
        random_(seed) {
    std::int64_t longest = 0;
    for (const std::int64_t length : lengths_) {
      rows_ += length;
      longest = std::max(longest, length);
    }
    q_ = RandomFloats(random_, rows_ * heads_ * head_dim);
    k_ = RandomFloats(random_, rows_ * kv_heads * head_dim);
    v_ = RandomFloats(random_, rows_ * kv_heads * head_dim);
    // |q|, |k| ≤ 1: Σ|q·k| ≤ head_dim; |v| ≤ 1.
    bounds.assign(q_.size(),
                  2 * AttentionBound(longest, head_dim, static_cast<double>(head_dim), 1));
  }

  std::string Text() const override {
    return "rows " + std::to_string(rows_) + " in " + std::to_string(lengths_.size()) +
           " groups, heads " + std::to_string(heads_) + "/" + std::to_string(kv_heads_) +
           " head_dim " + std::to_string(head_dim_);
  }
  void Run(Context& ctx, std::vector<float>& out) const override {
    const View<const float, 3>::Extents extents = {rows_, heads_, head_dim_};
    const View<const float, 3>::Extents kv_extents = {rows_, kv_heads_, head_dim_};
    DenseAttention(ctx, {q_.data(), extents}, {k_.data(), kv_extents}, {v_.data(), kv_extents},
                   lengths_, {out.data(), extents});
  }

 private:
  std::vector<std::int64_t> lengths_;
  std::int64_t rows_ = 0;
  std::int64_t heads_, kv_heads_, head_dim_;
  Random random_;
  std::vector<float> q_, k_, v_;
};

Check DenseAttentionCheck() {
  Check check;
  check.name = "dense_attention_block";
  check.level = [](const CpuKernels& table) { return table.dense_attention_block.level; };
  check.cases = [](std::uint64_t seed) {
    std::vector<std::unique_ptr<Case>> cases;
    Random random(seed);
    for (const std::int64_t head_dim : {1, 4, 12, 16, 20, 64, 72}) {
      for (const std::int64_t length : {1, 15, 48, 49, 256, 257}) {
        cases.push_back(std::make_unique<DenseAttentionCase>(
            std::vector<std::int64_t>{length, 1 + random.Below(40)}, 1 + random.Below(3),
            1 + random.Below(3), head_dim, random.Bits()));
      }
    }
    return cases;
  };
  check.timed = [](std::uint64_t seed) -> std::unique_ptr<Case> {
    return std::make_unique<DenseAttentionCase>(std::vector<std::int64_t>{630}, 1, 12, 64, seed);
  };
  return check;
}

}  // namespace

std::vector<Check> EncoderChecks() {
  std::vector<Check> checks = {
      RowCheck(
          "clamp", &CpuKernels::clamp,
          [](const RowArgs& r) { r.kernels.clamp(r.a, -0.5f, 0.25f, r.out, r.n); },
          [](double, double, std::int64_t) { return 0.0; }),
      // A norm's outputs: |x − mean| ≤ 2, the deviation is at least √eps; the mean, and the root of
      // the variance, are off by as much as a sum of n values.
      RowCheck(
          "layer_norm", &CpuKernels::layer_norm,
          [](const RowArgs& r) { r.kernels.layer_norm(r.a, r.b, r.b, kEps, r.out, r.n); },
          [](double, double b, std::int64_t n) {
            const double root = std::sqrt(static_cast<double>(kEps));
            return (static_cast<double>(n) / 8 + 16) * kU * (1 / root + 2 / root) * b + 4 * kU * b;
          }),
      RowCheck(
          "standardize", &CpuKernels::standardize,
          [](const RowArgs& r) { r.kernels.standardize(r.a, r.b, r.b, r.out, r.n); },
          [](double a, double b, std::int64_t) { return 2 * kU * (a + b) * b; }),
      RowCheck(
          "silu", &CpuKernels::silu, [](const RowArgs& r) { r.kernels.silu(r.a, r.out, r.n); },
          [](double a, double, std::int64_t) { return 8 * kU * a; }, 40),
      RowCheck(
          "glu", &CpuKernels::glu, [](const RowArgs& r) { r.kernels.glu(r.b, r.a, r.out, r.n); },
          [](double, double b, std::int64_t) { return 8 * kU * b; }, 40),
      RowCheck(
          "mul_add", &CpuKernels::mul_add,
          [](const RowArgs& r) { r.kernels.mul_add(r.a, r.b, r.out, r.n); },
          [](double a, double b, std::int64_t) { return 2 * kU * (a + a * b); }),
      // One sum, in the place of the first output.
      RowCheck(
          "dot", &CpuKernels::dot, [](const RowArgs& r) { r.kernels.dot(r.a, r.b, r.out, r.n); },
          [](double, double, std::int64_t n) { return DotBound(n, static_cast<double>(n)); }),
  };
  checks.push_back(DenseAttentionCheck());
  return checks;
}

}  // namespace culet
