// Cases of matrix products, by weight format.
#include "bounds.h"
#include "ops/checkops/cases.h"
#include "ops/matmul.h"
#include "ops/values.h"

namespace culet {
namespace {

class MatMulCase : public Case {
 public:
  MatMulCase(DType dtype, std::int64_t rows, std::int64_t n, std::int64_t k, std::uint64_t seed,
             bool bounded = true)
      : rows_(rows),
        n_(n),
        k_(k),
        random_(seed),
        x_(RandomFloats(random_, rows * k)),
        w_(dtype, n, k, RandomFloats(random_, n * k)) {
    bounds.assign(static_cast<std::size_t>(rows * n), 0);
    if (!bounded) return;  // only timed
    const bool rounded = dtype == DType::kBF16 && k > kExactCols;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t column = 0; column < n; ++column) {
        double sum = 0;
        for (std::int64_t i = 0; i < k; ++i) {
          const float x = x_[static_cast<std::size_t>(r * k + i)];
          sum += std::fabs(static_cast<double>(rounded ? RoundToBf16(x) : x) *
                           w_.widened()[static_cast<std::size_t>(column * k + i)]);
        }
        bounds[static_cast<std::size_t>(r * n + column)] = 2 * DotBound(k, sum);
      }
    }
  }

  std::string Text() const override {
    return "rows " + std::to_string(rows_) + " n " + std::to_string(n_) + " k " +
           std::to_string(k_);
  }
  void Run(Context& ctx, std::vector<float>& out) const override {
    MatMul(ctx, View<const float, 2>(x_.data(), {rows_, k_}), w_.matrix(),
           View<float, 2>(out.data(), {rows_, n_}));
  }

 private:
  std::int64_t rows_, n_, k_;
  Random random_;
  std::vector<float> x_;
  TestMatrix w_;
};

class QuantizedMatMulCase : public Case {
 public:
  QuantizedMatMulCase(WeightFormat format, std::int64_t rows, std::int64_t n, std::int64_t k,
                      std::int64_t group, std::uint64_t seed, bool bounded = true)
      : rows_(rows),
        random_(seed),
        x_(RandomFloats(random_, rows * k)),
        w_(random_, format, n, k, group) {
    bounds.assign(static_cast<std::size_t>(rows * n), 0);
    if (!bounded) return;  // only timed
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t column = 0; column < n; ++column) {
        double sum = 0;
        for (std::int64_t i = 0; i < k; ++i) {
          // Of x rounded to a 127th of the largest in its group, all within 1.
          sum += (std::fabs(static_cast<double>(x_[static_cast<std::size_t>(r * k + i)])) +
                  1.0 / 254) *
                 std::fabs(w_.q(column, i) * w_.scale(column, i));
        }
        bounds[static_cast<std::size_t>(r * n + column)] = 2 * QuantizedDotBound(k, sum);
      }
    }
  }

  std::string Text() const override {
    const Matrix& w = w_.matrix();
    return "rows " + std::to_string(rows_) + " n " + std::to_string(w.rows) + " k " +
           std::to_string(w.cols) + " group " + std::to_string(w.group);
  }
  void Run(Context& ctx, std::vector<float>& out) const override {
    MatMul(ctx, View<const float, 2>(x_.data(), {rows_, w_.matrix().cols}), w_.matrix(),
           View<float, 2>(out.data(), {rows_, w_.matrix().rows}));
  }

 private:
  std::int64_t rows_;
  Random random_;
  std::vector<float> x_;
  QuantMatrix w_;
};

Check QuantizedMatMulCheck(const std::string& name, WeightFormat format,
                           MatMulKernel CpuKernels::*kernel) {
  Check check;
  check.name = name;
  check.level = [kernel](const CpuKernels& table) { return (table.*kernel).level; };
  check.cases = [=](std::uint64_t seed) {
    std::vector<std::unique_ptr<Case>> cases;
    Random random(seed);
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 37, 64}) {
      for (const std::int64_t group : {32, 64, 128, 1 << 20}) {
        cases.push_back(std::make_unique<QuantizedMatMulCase>(
            format, rows, 1 + random.Below(90), 1 + random.Below(2100), group, random.Bits()));
      }
    }
    return cases;
  };
  check.timed = [=](std::uint64_t seed) -> std::unique_ptr<Case> {
    return std::make_unique<QuantizedMatMulCase>(format, 64, 1024, 1536, 32, seed, false);
  };
  return check;
}

Check MatMulCheck(const std::string& name, DType dtype, MatMulKernel CpuKernels::*kernel,
                  std::int64_t least_k, std::int64_t most_k, std::int64_t timed_k) {
  Check check;
  check.name = name;
  check.level = [kernel](const CpuKernels& table) { return (table.*kernel).level; };
  check.cases = [=](std::uint64_t seed) {
    std::vector<std::unique_ptr<Case>> cases;
    Random random(seed);
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 13, 29, 30, 31, 37, 64}) {
      for (int index = 0; index < 3; ++index) {
        cases.push_back(std::make_unique<MatMulCase>(dtype, rows, 1 + random.Below(70),
                                                     least_k + random.Below(most_k - least_k + 1),
                                                     random.Bits()));
      }
    }
    return cases;
  };
  check.timed = [=](std::uint64_t seed) -> std::unique_ptr<Case> {
    return std::make_unique<MatMulCase>(dtype, 64, 1024, timed_k, seed, false);
  };
  return check;
}

}  // namespace

std::vector<Check> MatMulChecks() {
  return {MatMulCheck("matmul_f32", DType::kF32, &CpuKernels::matmul_f32, 1, 2100, 1536),
          MatMulCheck("matmul_f16", DType::kF16, &CpuKernels::matmul_f16, 1, 2100, 1536),
          MatMulCheck("matmul_bf16", DType::kBF16, &CpuKernels::matmul_bf16, kExactCols + 1, 4000,
                      1536),
          MatMulCheck("matmul_bf16_exact", DType::kBF16, &CpuKernels::matmul_bf16_exact, 1,
                      kExactCols, kExactCols),
          QuantizedMatMulCheck("matmul_int8", WeightFormat::kInt8Tiles, &CpuKernels::matmul_int8),
          QuantizedMatMulCheck("matmul_int4", WeightFormat::kInt4Tiles, &CpuKernels::matmul_int4)};
}

}  // namespace culet
