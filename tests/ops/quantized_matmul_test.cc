// If this fails, products with integer weights are wrong, or a row's result depends on its
// neighbours.
#include "bounds.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/quantized_rows.h"
#include "ops/matmul.h"
#include "ops/rows.h"
#include "ops/testing.h"

namespace culet {
namespace {

class QuantizedMatMulTest : public OnEveryLevel {};
CULET_ON_EVERY_LEVEL(QuantizedMatMulTest);

constexpr WeightFormat kTiles[] = {WeightFormat::kInt8Tiles, WeightFormat::kInt4Tiles};

// x as products with integer weights see it: int8 in groups of 128, in double.
std::vector<double> Quantized(const std::vector<float>& x, std::int64_t rows, std::int64_t k) {
  constexpr std::int64_t kColumns = 128;
  std::vector<double> result(x.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < k; i += kColumns) {
      std::int8_t q[kColumns];
      QuantGroup groups[4];
      const std::int64_t count = std::min(kColumns, k - i);
      QuantizeGroups(x.data() + r * k + i, count, 0, q, groups);
      for (std::int64_t j = 0; j < count; ++j) {
        result[static_cast<std::size_t>(r * k + i + j)] =
            static_cast<double>(q[j]) * groups[j / 32].scale;
      }
    }
  }
  return result;
}

void CheckAgainstFormula(Context& ctx, WeightFormat format, std::int64_t rows, std::int64_t n,
                         std::int64_t k, std::int64_t group, Values values,
                         DType scales = DType::kBF16) {
  Random random(static_cast<std::uint64_t>(rows * 1000003 + n * 1009 + k));
  const std::vector<float> x = RandomFloats(random, rows * k, values);
  const std::vector<double> seen = Quantized(x, rows, k);
  const QuantMatrix w(random, format, n, k, group, 1, scales);
  Guarded input(rows, k);
  Guarded out(rows, n);
  input.Set(x);
  MatMul(ctx, input.view(), w.matrix(), out.view());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t column = 0; column < n; ++column) {
      double sum = 0;
      double sum_abs = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        const double product =
            seen[static_cast<std::size_t>(r * k + i)] * w.q(column, i) * w.scale(column, i);
        sum += product;
        sum_abs += std::fabs(product);
      }
      ASSERT_NEAR(out.row(r)[column], sum, QuantizedDotBound(k, sum_abs))
          << WeightFormatName(format) << " rows " << rows << " n " << n << " k " << k << " group "
          << group << " at [" << r << ", " << column << "], seed " << TestSeed();
    }
  }
}

TEST_P(QuantizedMatMulTest, EqualsTheFormulaAtEverySizeAroundATile) {
  for (const WeightFormat format : kTiles) {
    for (const std::int64_t k :
         {1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 129, 260}) {
      CheckAgainstFormula(ctx(), format, 1, 17, k, 32, Values::kOrdinary);
      CheckAgainstFormula(ctx(), format, 7, 16, k, 128, Values::kOrdinary);
      CheckAgainstFormula(ctx(), format, 18, 16, k, 128, Values::kOrdinary);
    }
    for (const std::int64_t n : {1, 2, 7, 8, 9, 15, 16, 17, 33, 63, 64, 65, 130}) {
      CheckAgainstFormula(ctx(), format, 2, n, 70, 32, Values::kOrdinary);
      CheckAgainstFormula(ctx(), format, 19, n, 70, 128, Values::kOrdinary);
    }
    for (std::int64_t rows = 1; rows <= 20; ++rows) {
      CheckAgainstFormula(ctx(), format, rows, 20, 97, 32, Values::kOrdinary);
    }
    // More rows than one pass beside a strip of weights has.
    CheckAgainstFormula(ctx(), format, 100, 70, 2100, 128, Values::kOrdinary);
    CheckAgainstFormula(ctx(), format, 12, 20, 700, 64, Values::kOrdinary);
    CheckAgainstFormula(ctx(), format, 3, 20, 3000, 1 << 20, Values::kOrdinary);
    CheckAgainstFormula(ctx(), format, 33, 20, 2100, 96, Values::kOrdinary);
  }
}

TEST_P(QuantizedMatMulTest, EqualsTheFormulaWithScalesInF32) {
  for (const WeightFormat format : kTiles) {
    for (const std::int64_t rows : {1, 2, 3, 5, 8, 9, 17}) {
      CheckAgainstFormula(ctx(), format, rows, 37, 200, 32, Values::kOrdinary, DType::kF32);
      CheckAgainstFormula(ctx(), format, rows, 70, 200, 1 << 20, Values::kOrdinary, DType::kF32);
    }
    // Groups that begin and end within and across the columns that a kernel takes at once.
    CheckAgainstFormula(ctx(), format, 9, 37, 2100, 96, Values::kOrdinary, DType::kF32);
    CheckAgainstFormula(ctx(), format, 17, 20, 1100, 32, Values::kOrdinary, DType::kF32);
  }
}

// Values at the middle between two steps, at both ends and beyond them.
std::vector<float> ValuesAtSteps(Random& random, std::int64_t count, float step) {
  std::vector<float> x = RandomFloats(random, count);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto whole = static_cast<float>(static_cast<int>(random.Below(300)) - 150);
    if (i % 3 == 0) x[i] = (whole + 0.5f) * step;
    if (i % 31 == 7) x[i] = whole * 1000.0f * step;
    if (i % 31 == 8) x[i] = 0;
  }
  return x;
}

// transformers' apply_srq, in f32 as there.
float RoundedToSteps(float x, float step) {
  return std::nearbyint(std::clamp(x / step, -128.0f, 127.0f)) * step;
}

TEST_P(QuantizedMatMulTest, GivenScalesRoundInputsAndOutputsAsTheFormulaSays) {
  for (const WeightFormat format : kTiles) {
    // A power of two has ties that are exact; of others the quotient decides.
    for (const float step : {0.03125f, 0.0137f}) {
      for (const auto& [rows, n, k] :
           {std::tuple<std::int64_t, std::int64_t, std::int64_t>{1, 37, 100},
            {2, 16, 32},
            {5, 70, 333},
            {13, 17, 64}}) {
        Random random(static_cast<std::uint64_t>(rows * n * k));
        const std::vector<float> x = ValuesAtSteps(random, rows * k, step);
        const QuantMatrix w(random, format, n, k, 1 << 20, 1, DType::kF32);
        Matrix matrix = w.matrix();
        matrix.input_scale = step;
        Guarded out(rows, n), rounded(rows, n);
        const View<const float, 2> input(x.data(), {rows, k});
        MatMul(ctx(), input, matrix, out.view());
        matrix.output_scale = 0.217f;
        MatMul(two_threads(), input, matrix, rounded.view());
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t column = 0; column < n; ++column) {
            double sum = 0, sum_abs = 0;
            for (std::int64_t i = 0; i < k; ++i) {
              const double product = static_cast<double>(RoundedToSteps(
                                         x[static_cast<std::size_t>(r * k + i)], step)) *
                                     w.q(column, i) * w.scale(column, i);
              sum += product;
              sum_abs += std::fabs(product);
            }
            // One more rounding: of the step times a whole number.
            const double bound = QuantizedDotBound(k, sum_abs) + kF32Roundoff * sum_abs;
            ASSERT_NEAR(out.row(r)[column], sum, bound)
                << WeightFormatName(format) << " " << rows << " " << n << " " << k;
            ASSERT_EQ(rounded.row(r)[column], RoundedToSteps(out.row(r)[column], 0.217f));
          }
        }
      }
    }
  }
}

TEST_P(QuantizedMatMulTest, WithGivenScalesNanShowsAndAnInfinityIsTheEnd) {
  Random random(11);
  for (const WeightFormat format : kTiles) {
    const QuantMatrix w(random, format, 20, 70, 32);
    Matrix matrix = w.matrix();
    matrix.input_scale = 0.5f;
    std::vector<float> x(2 * 70, 1.0f);
    std::vector<float> bounded = x;
    x[40] = std::numeric_limits<float>::quiet_NaN();
    x[70 + 3] = std::numeric_limits<float>::infinity();
    bounded[70 + 3] = 127 * 0.5f;
    Guarded out(2, 20), expected(2, 20);
    MatMul(ctx(), View<const float, 2>(x.data(), {2, 70}), matrix, out.view());
    MatMul(ctx(), View<const float, 2>(bounded.data(), {2, 70}), matrix, expected.view());
    matrix.output_scale = 0.1f;
    Guarded rounded(2, 20);
    MatMul(ctx(), View<const float, 2>(x.data(), {2, 70}), matrix, rounded.view());
    for (std::int64_t n = 0; n < 20; ++n) {
      EXPECT_TRUE(std::isnan(out.row(0)[n]));
      EXPECT_TRUE(std::isnan(rounded.row(0)[n]));
      EXPECT_EQ(out.row(1)[n], expected.row(1)[n]);
    }
  }
}

TEST_P(QuantizedMatMulTest, EqualsTheFormulaForTinyHugeAndOutlyingValues) {
  for (const WeightFormat format : kTiles) {
    for (const Values values : {Values::kTiny, Values::kHuge, Values::kOutlier}) {
      CheckAgainstFormula(ctx(), format, 3, 21, 257, 32, values);
      CheckAgainstFormula(ctx(), format, 33, 21, 257, 128, values);
    }
  }
}

// Each pair, and each sum of 16 pairs, is as large as it can be.
TEST_P(QuantizedMatMulTest, NothingOverflowsWhereAllValuesAreAtTheEnds) {
  Random random(1);
  for (const WeightFormat format : kTiles) {
    for (const int w_end : {0, 1}) {
      for (const float x_end : {1.0f, -1.0f}) {
        const std::int64_t k = 96;
        QuantMatrix w(random, format, 16, k, 32);
        const int q = IsInt4(format) ? (w_end == 0 ? -8 : 7) : (w_end == 0 ? -128 : 127);
        auto* data = static_cast<std::uint8_t*>(const_cast<void*>(w.matrix().data));
        for (std::int64_t n = 0; n < 16; ++n) {
          for (std::int64_t i = 0; i < k; ++i) SetQuant(w.matrix().layout(), data, n, i, q);
        }
        for (const std::int64_t rows : {5, 17}) {
          const std::vector<float> x(static_cast<std::size_t>(rows * k), x_end);
          Guarded out(rows, 16);
          MatMul(ctx(), View<const float, 2>(x.data(), {rows, k}), w.matrix(), out.view());
          for (std::int64_t n = 0; n < 16; ++n) {
            double sum = 0;
            for (std::int64_t i = 0; i < k; ++i) sum += q * w.scale(n, i);
            for (std::int64_t r = 0; r < rows; ++r) {
              ASSERT_NEAR(out.row(r)[n], x_end * sum, 1e-5 * (std::fabs(sum) + 100));
            }
          }
        }
      }
    }
  }
}

TEST_P(QuantizedMatMulTest, OneRowEqualsItselfAmongManyBitForBitOnOneAndTwoThreads) {
  for (const WeightFormat format : kTiles) {
    for (const auto& [n, k] : {std::pair{67, 45}, {130, 1000}, {129, 5000}}) {
      if (GetParam() == CpuLevel::kPlain && k > 1000) continue;  // slow, and plain has no blocks
      Random random(static_cast<std::uint64_t>(n + k));
      const std::int64_t most = 60;
      const std::vector<float> x = RandomFloats(random, most * k);
      const QuantMatrix w(random, format, n, k, 32);
      Guarded alone(most, n);
      for (std::int64_t r = 0; r < most; ++r) {
        MatMul(ctx(), View<const float, 2>(x.data() + r * k, {1, k}), w.matrix(),
               View<float, 2>(alone.row(r), {1, n}));
      }
      for (Context* context : {&ctx(), &two_threads()}) {
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 31, 60}) {
          Guarded together(rows, n);
          MatMul(*context, View<const float, 2>(x.data(), {rows, k}), w.matrix(), together.view());
          std::vector<float> expected = alone.Dense();
          expected.resize(static_cast<std::size_t>(rows * n));
          ASSERT_TRUE(SameBits(together.Dense(), expected))
              << WeightFormatName(format) << " " << rows << " rows, n " << n << ", k " << k << ", "
              << context->pool().threads() << " threads, seed " << TestSeed();
        }
      }
    }
  }
}

TEST_P(QuantizedMatMulTest, ManyTargetsOfMixedFormatsEqualOneByOneBitForBit) {
  Random random(5);
  for (const auto& [rows, k] : {std::pair<std::int64_t, std::int64_t>{1, 100}, {30, 700}}) {
    const std::vector<float> x = RandomFloats(random, rows * k);
    const View<const float, 2> input(x.data(), {rows, k});
    const QuantMatrix a(random, WeightFormat::kInt8Tiles, 70, k, 128);
    const QuantMatrix b(random, WeightFormat::kInt4Tiles, 17, k, 32);
    const TestMatrix c(DType::kBF16, 33, k, RandomFloats(random, 33 * k));
    Guarded out_a(rows, 70), out_b(rows, 17), out_c(rows, 33);
    Guarded out_d(rows, 17), out_e(rows, 17);
    Matrix d = b.matrix(), e = b.matrix();  // other operands of the same weight
    d.input_scale = 0.03f;
    e.input_scale = 0.05f;
    e.output_scale = 0.2f;
    const MatMulTarget targets[] = {{a.matrix(), out_a.view()},
                                    {b.matrix(), out_b.view()},
                                    {d, out_d.view()},
                                    {c.matrix(), out_c.view()},
                                    {e, out_e.view()}};
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

TEST_P(QuantizedMatMulTest, GeGluEqualsItsTwoProductsAndGeluMulBitForBit) {
  Random random(12);
  const std::int64_t k = 70;
  // The last one has more outputs than a thread has at once.
  for (const auto& [rows, n] : {std::pair<std::int64_t, std::int64_t>{1, 70},
                                {1, 8300},
                                {3, 300},
                                {70, 300},
                                {600, 1100}}) {
    if (GetParam() == CpuLevel::kPlain && rows * n > 30000) continue;  // slow, and has no blocks
    const std::vector<float> x = RandomFloats(random, rows * k);
    const View<const float, 2> input(x.data(), {rows, k});
    const QuantMatrix a(random, WeightFormat::kInt8Tiles, n, k, 128);
    const QuantMatrix b(random, WeightFormat::kInt4Tiles, n, k, 32);
    const QuantMatrix c(random, WeightFormat::kInt4Tiles, n, k, 32);
    const TestMatrix d(DType::kBF16, n, k, RandomFloats(random, n * k));
    Matrix stepped = c.matrix();  // another operand
    stepped.input_scale = 0.03f;
    stepped.output_scale = 0.2f;
    for (const auto& [gate, up] : {std::pair{b.matrix(), c.matrix()},
                                   {a.matrix(), b.matrix()},
                                   {d.matrix(), d.matrix()},
                                   {stepped, b.matrix()},
                                   {b.matrix(), stepped}}) {
      Guarded gates(rows, n), ups(rows, n), out(rows, n);
      MatMul(ctx(), input, gate, gates.view());
      MatMul(ctx(), input, up, ups.view());
      GeluMul(ctx(), gates.view(), ups.view(), gates.view());
      MatMulGeGlu(two_threads(), input, gate, up, out.view());
      ASSERT_TRUE(SameBits(out.Dense(), gates.Dense())) << rows << " rows, n " << n;
    }
  }
}

// Where groups end, and where a kernel takes sums up, fall together or not.
TEST_P(QuantizedMatMulTest, OneRowEqualsItselfAmongManyAtEveryGroupBitForBit) {
  if (GetParam() == CpuLevel::kPlain) GTEST_SKIP() << "slow, and has no blocks";
  Random random(99);
  for (const WeightFormat format : kTiles) {
    for (const std::int64_t k : {31, 33, 64, 96, 128, 225, 513, 768, 800, 1537}) {
      for (const std::int64_t group : {32, 64, 96, 128, 160, 384, 1664}) {
        const DType scales = (k + group) % 2 == 0 ? DType::kBF16 : DType::kF32;
        const std::int64_t n = 16 * (1 + (k + group) % 19) + k % 16;
        const QuantMatrix w(random, format, n, k, group, 1, scales);
        const std::int64_t rows =
            std::vector<std::int64_t>{9, 17, 33, 16, 31}[static_cast<std::size_t>((k + group) % 5)];
        const std::vector<float> x = RandomFloats(random, rows * k);
        Guarded out(rows, n);
        MatMul(ctx(), View<const float, 2>(x.data(), {rows, k}), w.matrix(), out.view());
        for (std::int64_t r = 0; r < rows; r += 5) {
          Guarded one(1, n);
          MatMul(ctx(), View<const float, 2>(x.data() + r * k, {1, k}), w.matrix(), one.view());
          for (std::int64_t i = 0; i < n; ++i) {
            ASSERT_EQ(one.row(0)[i], out.row(r)[i]) << k << " " << group << " " << rows << " " << i;
          }
        }
      }
    }
  }
}

TEST_P(QuantizedMatMulTest, ASliceEqualsThoseRowsOfTheWhole) {
  Random random(6);
  for (const WeightFormat format : kTiles) {
    const QuantMatrix w(random, format, 80, 100, 32);
    const std::int64_t rows = 20;
    const std::vector<float> x = RandomFloats(random, rows * 100);
    const View<const float, 2> input(x.data(), {rows, 100});
    Guarded whole(rows, 80), part(rows, 37);
    MatMul(ctx(), input, w.matrix(), whole.view());
    MatMul(ctx(), input, w.matrix().slice(32, 37), part.view());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t n = 0; n < 37; ++n) ASSERT_EQ(part.row(r)[n], whole.row(r)[32 + n]);
    }
  }
}

TEST_P(QuantizedMatMulTest, InfinitiesAndNanShowInEverySumOverThem) {
  Random random(7);
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::int64_t k = 300;
  for (const WeightFormat format : kTiles) {
    for (const std::int64_t group : {32, 128}) {
      const QuantMatrix w(random, format, 20, k, group);
      Matrix stepped = w.matrix();
      stepped.input_scale = 0.5f;
      for (const auto& [matrix, bad] :
           {std::pair{w.matrix(), inf}, {w.matrix(), nan}, {stepped, nan}}) {
        for (const std::int64_t rows : {2, 18}) {
          for (const std::int64_t at :
               {3, 40, 70, 100, 250, 270, 299}) {  // quarters of 128, and a rest
            std::vector<float> x = RandomFloats(random, rows * k);
            x[static_cast<std::size_t>(at)] = bad;
            Guarded out(rows, 20);
            MatMul(ctx(), View<const float, 2>(x.data(), {rows, k}), matrix, out.view());
            for (std::int64_t n = 0; n < 20; ++n) {
              EXPECT_TRUE(std::isnan(out.row(0)[n])) << group << " " << rows << " " << at;
              for (std::int64_t r = 1; r < rows; ++r) EXPECT_TRUE(std::isfinite(out.row(r)[n]));
            }
          }
        }
      }
    }
  }
}

// Rows are quantised to the same bits on every level. (Products of int8 may keep them wider, and
// scales as parts of themselves. Where sums begin is two numbers, or one: their sum.)
TEST_P(QuantizedMatMulTest, PackedRowsEqualTheDefinitionBitForBit) {
  Random random(8);
  for (const std::int64_t k : {1, 31, 32, 33, 100, 128, 300, 1536}) {
    for (const Values values :
         {Values::kOrdinary, Values::kTiny, Values::kHuge, Values::kOutlier}) {
      std::vector<float> x = RandomFloats(random, 3 * k, values);
      x[0] = 1e-38f;
      if (k > 256) std::fill(x.begin() + 128, x.begin() + 256, 1e-36f);  // a group that is zero
      for (const float scale : {0.0f, 0.0137f}) {
        for (const bool wide : {false, true}) {
          const CpuKernels& kernels = ctx().kernels();
          const MatMulKernel& kernel = wide ? kernels.matmul_int4_wide : kernels.matmul_int4;
          std::vector<std::byte> operand(kernel.operand_bytes(3, k));
          kernel.pack(x.data(), k, 3, k, 0, 3, scale, operand.data());
          const QuantizedRows packed(operand.data(), 3, k);
          const bool one_start = kernel.level >= CpuLevel::kAvx512Vnni;
          for (std::int64_t r = 0; r < 3; ++r) {
            for (std::int64_t i = 0; i < k; i += 128) {
              std::int8_t q[128];
              QuantGroup groups[4];
              const std::int64_t count = std::min<std::int64_t>(128, k - i);
              QuantizeGroups(x.data() + r * k + i, count, scale, q, groups);
              std::int32_t sum_of_starts = 0, sum_of_packed = 0;
              for (std::int64_t b = 0; b * 32 < count; ++b) {
                const QuantGroup& got = packed.groups(r)[i / 32 + b];
                std::int32_t start;
                std::memcpy(&start, got.start, sizeof(start));
                sum_of_packed += start;
                sum_of_starts += groups[b].start[0] + groups[b].start[1];
                EXPECT_TRUE(std::equal(q + b * 32, q + b * 32 + 32, packed.row(r) + i + b * 32) &&
                            got.scale == groups[b].scale &&
                            (one_start || std::ranges::equal(got.start, groups[b].start)))
                    << "k " << k << ", group " << i / 32 + b << " of row " << r << ", scale "
                    << scale << ", seed " << TestSeed();
                // Where a sum runs over all of them, it does so from the first one's start on.
                EXPECT_TRUE(!one_start ||
                            (wide ? b == 0 || start == 0 : sum_of_packed == sum_of_starts));
              }
              EXPECT_TRUE(!one_start || sum_of_packed == sum_of_starts);
            }
          }
        }
      }
    }
  }
}

TEST_P(QuantizedMatMulTest, EmbedReadsRowsOfEveryLayout) {
  Random random(9);
  for (const WeightFormat format : {WeightFormat::kInt8Tiles, WeightFormat::kInt4Tiles,
                                    WeightFormat::kInt8Rows, WeightFormat::kInt4Rows}) {
    const QuantMatrix table(random, format, 50, 160, 64);
    const std::vector<std::int32_t> ids = {0, 49, 17, 17};
    for (const std::int64_t first : {0, 64, 37}) {
      Guarded out(4, 80);
      Embed(ctx(), table.matrix(), ids, first, 3.0f, out.view());
      for (std::int64_t r = 0; r < 4; ++r) {
        const std::int64_t id = ids[static_cast<std::size_t>(r)];
        for (std::int64_t i = 0; i < 80; ++i) {
          const float step = static_cast<float>(table.scale(id, first + i)) * 3.0f;
          ASSERT_EQ(out.row(r)[i], static_cast<float>(table.q(id, first + i)) * step);
        }
      }
    }
  }
}

TEST(QuantizedMatMul, ALookupTableIsNoWeightOfProducts) {
  Random random(10);
  Context ctx(1);
  const QuantMatrix table(random, WeightFormat::kInt8Rows, 20, 64, 32);
  const std::vector<float> x(64);
  std::vector<float> out(20);
  try {
    MatMul(ctx, View<const float, 2>(x.data(), {1, 64}), table.matrix(),
           View<float, 2>(out.data(), {1, 20}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("int8 rows"));
  }
}

}  // namespace
}  // namespace culet
