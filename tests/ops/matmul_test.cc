// If this fails, every projection of the model is wrong, or a row's result depends on its
// neighbours.
#include "ops/matmul.h"

#include "bounds.h"
#include "ops/testing.h"

namespace culet {
namespace {

class MatMulTest : public OnEveryLevel {};
CULET_ON_EVERY_LEVEL(MatMulTest);

struct Case {
  std::int64_t rows, n, k;
};

// The formula in double; long sums over bf16 weights see x rounded to bf16.
void CheckAgainstFormula(Context& ctx, DType dtype, const Case& c, Values values) {
  Random random(static_cast<std::uint64_t>(c.rows * 1000003 + c.n * 1009 + c.k));
  std::vector<float> x = RandomFloats(random, c.rows * c.k, values);
  const TestMatrix w(dtype, c.n, c.k, RandomFloats(random, c.n * c.k));
  Guarded input(c.rows, c.k);
  Guarded out(c.rows, c.n);
  input.Set(x);
  MatMul(ctx, input.view(), w.matrix(), out.view());
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t n = 0; n < c.n; ++n) {
      double sum = 0;
      double sum_abs = 0;
      double max_abs = 0;
      for (std::int64_t i = 0; i < c.k; ++i) {
        float value = x[static_cast<std::size_t>(r * c.k + i)];
        if (dtype == DType::kBF16 && c.k > kExactCols) value = RoundToBf16(value);
        const double product =
            static_cast<double>(value) * w.widened()[static_cast<std::size_t>(n * c.k + i)];
        sum += product;
        sum_abs += std::fabs(product);
        max_abs = std::max(max_abs, std::fabs(static_cast<double>(value)));
      }
      ASSERT_NEAR(out.row(r)[n], sum, DotBound(c.k, sum_abs, max_abs))
          << DTypeName(dtype) << " rows " << c.rows << " n " << c.n << " k " << c.k << " at [" << r
          << ", " << n << "], seed " << TestSeed();
    }
  }
}

TEST_P(MatMulTest, EqualsTheFormulaAtEverySizeAroundATile) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const std::int64_t k : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 130}) {
      CheckAgainstFormula(ctx(), dtype, {1, 5, k}, Values::kOrdinary);
      CheckAgainstFormula(ctx(), dtype, {7, 3, k}, Values::kOrdinary);
      CheckAgainstFormula(ctx(), dtype, {29, 6, k}, Values::kOrdinary);
      // The kernels of long sums of bf16 weights, at the same tails.
      CheckAgainstFormula(ctx(), dtype, {3, 5, kExactCols + k}, Values::kOrdinary);
      CheckAgainstFormula(ctx(), dtype, {15, 5, kExactCols + k}, Values::kOrdinary);
    }
    for (const std::int64_t n : {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 61, 67, 130}) {
      CheckAgainstFormula(ctx(), dtype, {2, n, 40}, Values::kOrdinary);
      CheckAgainstFormula(ctx(), dtype, {37, n, 40}, Values::kOrdinary);
      CheckAgainstFormula(ctx(), dtype, {14, n, 600}, Values::kOrdinary);
    }
    for (std::int64_t rows = 1; rows <= 40; ++rows) {
      CheckAgainstFormula(ctx(), dtype, {rows, 9, 35}, Values::kOrdinary);
      CheckAgainstFormula(ctx(), dtype, {rows, 5, 545}, Values::kOrdinary);
    }
  }
}

TEST_P(MatMulTest, EqualsTheFormulaOverSeveralBlocksOfK) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const std::int64_t k : {1023, 1024, 1025, 1536, 2047, 2048, 2049, 4099, 6144}) {
      CheckAgainstFormula(ctx(), dtype, {1, 6, k}, Values::kOrdinary);
      CheckAgainstFormula(ctx(), dtype, {26, 6, k}, Values::kOrdinary);
    }
  }
}

TEST_P(MatMulTest, EqualsTheFormulaForTinyHugeAndOutlyingValues) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const Values values : {Values::kTiny, Values::kHuge, Values::kOutlier}) {
      CheckAgainstFormula(ctx(), dtype, {3, 21, 257}, values);
      CheckAgainstFormula(ctx(), dtype, {33, 21, 257}, values);
      CheckAgainstFormula(ctx(), dtype, {3, 21, 557}, values);
      CheckAgainstFormula(ctx(), dtype, {33, 21, 557}, values);
    }
  }
}

TEST_P(MatMulTest, OneRowEqualsItselfAmongManyBitForBitOnOneAndTwoThreads) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const auto& [n, k] : {std::pair{67, 45}, {130, 1000}, {33, 2500}, {129, 5000}}) {
      if (GetParam() == CpuLevel::kPlain && k > 1000) continue;  // slow, and plain has no blocks
      Random random(static_cast<std::uint64_t>(n + k));
      const std::int64_t most = 100;
      std::vector<float> x = RandomFloats(random, most * k);
      const TestMatrix w(dtype, n, k, RandomFloats(random, std::int64_t{n} * k));
      Guarded alone(most, n);
      for (std::int64_t r = 0; r < most; ++r) {
        const View<const float, 2> row(x.data() + r * k, {1, k});
        MatMul(ctx(), row, w.matrix(), View<float, 2>(alone.row(r), {1, n}));
      }
      for (Context* context : {&ctx(), &two_threads()}) {
        for (const std::int64_t rows :
             {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 25, 30, 31, 33, 64, 100}) {
          Guarded together(rows, n);
          MatMul(*context, View<const float, 2>(x.data(), {rows, k}), w.matrix(), together.view());
          std::vector<float> expected = alone.Dense();
          expected.resize(static_cast<std::size_t>(rows * n));
          ASSERT_TRUE(SameBits(together.Dense(), expected))
              << DTypeName(dtype) << " " << rows << " rows, n " << n << ", k " << k << ", "
              << context->pool().threads() << " threads, seed " << TestSeed();
        }
      }
    }
  }
}

// Products that underflow leave −0 in some kernels' sums.
TEST_P(MatMulTest, OneRowEqualsItselfAmongManyWhereSumsUnderflow) {
  const std::int64_t k = 768;
  const std::int64_t n = 33;
  const TestMatrix w(DType::kBF16, n, k, std::vector<float>(static_cast<std::size_t>(n * k), 1.0f));
  std::vector<float> x(static_cast<std::size_t>(17 * k));
  for (std::size_t block = 0; block < 3; ++block) {
    x[block * 256 + 192] = 0x1.8p-126f;
    x[block * 256 + 224] = -0x1.cp-126f;
  }
  Guarded together(17, n), alone(1, n);
  MatMul(ctx(), View<const float, 2>(x.data(), {17, k}), w.matrix(), together.view());
  MatMul(ctx(), View<const float, 2>(x.data(), {1, k}), w.matrix(), alone.view());
  std::vector<float> first = together.Dense();
  first.resize(static_cast<std::size_t>(n));
  EXPECT_TRUE(SameBits(first, alone.Dense()));
}

TEST_P(MatMulTest, SumsOverNoColumnsAreZero) {
  using enum WeightFormat;
  for (const WeightFormat format : {kDense, kInt8Tiles, kInt4Tiles}) {
    Matrix w;
    w.rows = 33;
    w.format = format;
    w.dtype = format == kDense ? DType::kBF16 : DType::kU8;
    w.group = 32;
    for (const std::int64_t rows : {1, 5, 20}) {
      Guarded out(rows, w.rows);
      MatMul(ctx(), View<const float, 2>(nullptr, {rows, 0}), w, out.view());
      EXPECT_TRUE(
          SameBits(out.Dense(), std::vector<float>(static_cast<std::size_t>(rows * w.rows))));
    }
  }
}

TEST_P(MatMulTest, ManyTargetsEqualOneByOneBitForBitAlsoOfMixedFormats) {
  Random random(5);
  for (const auto& [rows, k] :
       {std::pair<std::int64_t, std::int64_t>{1, 100}, {30, 100}, {1, 700}, {30, 700}}) {
    const std::vector<float> x = RandomFloats(random, rows * k);
    const View<const float, 2> input(x.data(), {rows, k});
    const TestMatrix a(DType::kBF16, 70, k, RandomFloats(random, 70 * k));
    const TestMatrix b(DType::kF32, 17, k, RandomFloats(random, 17 * k));
    const TestMatrix c(DType::kBF16, 1, k, RandomFloats(random, k));
    const TestMatrix d(DType::kF16, 33, k, RandomFloats(random, 33 * k));
    Guarded out_a(rows, 70), out_b(rows, 17), out_c(rows, 1), out_d(rows, 33);
    const MatMulTarget targets[] = {{a.matrix(), out_a.view()},
                                    {b.matrix(), out_b.view()},
                                    {c.matrix(), out_c.view()},
                                    {d.matrix(), out_d.view()}};
    MatMulMany(two_threads(), input, targets);
    for (const MatMulTarget& target : targets) {
      Guarded single(rows, target.w.rows);
      MatMul(ctx(), input, target.w, single.view());
      std::vector<float> many;
      for (std::int64_t r = 0; r < rows; ++r) {
        many.insert(many.end(), target.out.row(r), target.out.row(r) + target.w.rows);
      }
      EXPECT_TRUE(SameBits(many, single.Dense()));
    }
  }
}

TEST_P(MatMulTest, ColumnsPastTheLastAreNeverRead) {
  // Weights end where the buffer ends and NaN follows each row of x: reading either shows.
  Random random(9);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const auto& [rows, k] :
         {std::pair<std::int64_t, std::int64_t>{1, 37}, {40, 37}, {1, 549}, {5, 549}, {40, 549}}) {
      Guarded x(rows, k);
      x.Set(RandomFloats(random, rows * k));
      const TestMatrix w(dtype, 4, k, RandomFloats(random, 4 * k));
      Guarded out(rows, 4);
      MatMul(ctx(), x.view(), w.matrix(), out.view());
      for (const float value : out.Dense()) ASSERT_TRUE(std::isfinite(value));
    }
  }
}

// Of sums that do not round x: the greatest f32 stays finite, and what is not finite stays what it
// is and touches no other row.
TEST_P(MatMulTest, InfinitiesNaNAndTheGreatestValueComeThrough) {
  constexpr float kGreatest = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto nan_of_low_bits = std::bit_cast<float>(0x7f800001u);
  constexpr std::int64_t kCols = 100;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const TestMatrix w(dtype, 33, kCols, std::vector<float>(33 * kCols, 0.5f));
    for (const std::int64_t rows : {5, 20}) {
      std::vector<float> values(static_cast<std::size_t>(rows * kCols), 0.0f);
      const float special[] = {kGreatest, -kInfinity, nan_of_low_bits, 3.0f};
      for (std::int64_t r = 0; r < 4; ++r) {
        values[static_cast<std::size_t>(r * kCols + 40 + r)] = special[r];
      }
      Guarded x(rows, kCols), out(rows, 33);
      x.Set(values);
      MatMul(ctx(), x.view(), w.matrix(), out.view());
      for (std::int64_t n = 0; n < 33; ++n) {
        EXPECT_EQ(out.view().row(0)[n], kGreatest / 2);
        EXPECT_EQ(out.view().row(1)[n], -kInfinity);
        EXPECT_TRUE(std::isnan(out.view().row(2)[n]));
        EXPECT_EQ(out.view().row(3)[n], 1.5f);
        EXPECT_EQ(out.view().row(4)[n], 0.0f);
      }
    }
  }
}

TEST_P(MatMulTest, NothingIsAllocatedOnceScratchIsReserved) {
  Random random(3);
  const TestMatrix w(DType::kBF16, 64, 300, RandomFloats(random, 64 * 300));
  ctx().Scratch(MatMulGeGluScratchBytes(50, 300, ctx().pool().threads()));
  const std::size_t reserved = ctx().scratch_bytes();
  const std::vector<float> x = RandomFloats(random, 50 * 300);
  Guarded out(50, 64);
  for (const std::int64_t rows : {1, 8, 9, 50}) {
    const View<const float, 2> input(x.data(), {rows, 300});
    MatMul(ctx(), input, w.matrix(), out.view().first(rows));
    MatMulGeGlu(ctx(), input, w.matrix(), w.matrix(), out.view().first(rows));
  }
  EXPECT_EQ(ctx().scratch_bytes(), reserved);
}

TEST_P(MatMulTest, ScratchOfManyRowsIsEnoughForFewer) {
  Random random(4);
  Context eight(8, GetParam());
  const TestMatrix w(DType::kBF16, 64, 96, RandomFloats(random, 64 * 96));
  eight.Scratch(MatMulGeGluScratchBytes(300, 96, 8));
  const std::size_t reserved = eight.scratch_bytes();
  const std::vector<float> x = RandomFloats(random, 300 * 96);
  Guarded out(300, 64);
  for (const std::int64_t rows : {1, 200, 256, 300}) {
    const View<const float, 2> input(x.data(), {rows, 96});
    MatMulGeGlu(eight, input, w.matrix(), w.matrix(), out.view().first(rows));
    EXPECT_EQ(eight.scratch_bytes(), reserved) << rows;
  }
}

TEST(MatMul, ShapesThatDoNotFitAreNamed) {
  Context ctx(1);
  const std::vector<float> x(15), w(42);
  std::vector<float> out(21);
  try {
    MatMul(ctx, View<const float, 2>(x.data(), {3, 5}), Matrix{DType::kF32, w.data(), 7, 6},
           View<float, 2>(out.data(), {3, 7}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    EXPECT_THAT(error.what(), testing::HasSubstr("MatMul: x [3, 5] does not fit W [7, 6]"));
  }
}

}  // namespace
}  // namespace culet
