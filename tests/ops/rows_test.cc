// If this fails, norms, embeddings, gelu, rope or the soft cap are wrong somewhere in the model.
#include "ops/rows.h"

#include "bounds.h"
#include "ops/testing.h"

namespace culet {
namespace {

class RowsTest : public OnEveryLevel {};
CULET_ON_EVERY_LEVEL(RowsTest);

constexpr std::int64_t kSizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 97, 256, 1031};
constexpr float kEps = 1e-6f;

// Relative to the largest terms that entered: u for each of a few roundings.
double Few(int roundings, double magnitude) { return roundings * kF32Roundoff * magnitude + 1e-37; }

double Rms(const float* x, std::int64_t n, double scale = 1) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i] * scale * x[i] * scale;
  return std::sqrt(sum / static_cast<double>(n) + kEps);
}

TEST_P(RowsTest, EmbedScalesTheColumnsAsked) {
  Random random(1);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const std::int64_t n : kSizes) {
      const TestMatrix table(dtype, 5, n + 4, RandomFloats(random, 5 * (n + 4)));
      const std::vector<std::int32_t> ids = {4, 0, 4, 2};
      Guarded out(4, n);
      Embed(ctx(), table.matrix(), ids, 3, 1.7f, out.view());
      for (std::int64_t r = 0; r < 4; ++r) {
        for (std::int64_t i = 0; i < n; ++i) {
          const auto index =
              static_cast<std::size_t>(ids[static_cast<std::size_t>(r)] * (n + 4) + 3 + i);
          ASSERT_EQ(out.row(r)[i], table.widened()[index] * 1.7f);
        }
      }
    }
  }
}

TEST_P(RowsTest, EmbedWidensEveryHalfPrecisionValueExactly) {
  std::vector<std::uint16_t> codes(65536);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint16_t>(i);
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const Matrix table{dtype, codes.data(), 1, 65536};
    std::vector<float> out(65536);
    const std::vector<std::int32_t> ids = {0};
    Embed(ctx(), table, ids, 0, 1.0f, View<float, 2>(out.data(), {1, 65536}));
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const float expected = dtype == DType::kF16 ? F16ToF32(codes[i]) : Bf16ToF32(codes[i]);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(out[i]));
      } else {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(expected))
            << i;
      }
    }
  }
}

TEST_P(RowsTest, RmsNormEqualsTheFormulaWithAndWithoutWeight) {
  Random random(2);
  for (const std::int64_t n : kSizes) {
    for (const Values values :
         {Values::kOrdinary, Values::kTiny, Values::kHuge, Values::kOutlier}) {
      const std::vector<float> x = RandomFloats(random, 3 * n, values);
      const std::vector<float> w = RandomFloats(random, n);
      for (const bool weighted : {true, false}) {
        Guarded in(3, n), out(3, n);
        in.Set(x);
        const std::span<const float> weight =
            weighted ? std::span<const float>(w) : std::span<const float>();
        RmsNorm(ctx(), in.view(), weight, kEps, out.view());
        RmsNorm(ctx(), in.view(), weight, kEps, in.view());  // in place
        EXPECT_TRUE(SameBits(in.Dense(), out.Dense()));
        for (std::int64_t r = 0; r < 3; ++r) {
          const double rms = Rms(x.data() + r * n, n);
          for (std::int64_t i = 0; i < n; ++i) {
            const double expected = x[static_cast<std::size_t>(r * n + i)] / rms *
                                    (weighted ? w[static_cast<std::size_t>(i)] : 1.0f);
            ASSERT_NEAR(out.row(r)[i], expected, NormRelativeBound(n) * std::fabs(expected) + 1e-37)
                << "n " << n << " i " << i;
          }
        }
      }
    }
  }
}

TEST_P(RowsTest, AddNormAddsTheNormedBranchThenScales) {
  Random random(3);
  for (const std::int64_t n : kSizes) {
    const std::vector<float> branch = RandomFloats(random, 2 * n);
    const std::vector<float> w = RandomFloats(random, n);
    const std::vector<float> x = RandomFloats(random, 2 * n);
    Guarded b(2, n), out(2, n);
    b.Set(branch);
    out.Set(x);
    AddNorm(ctx(), b.view(), w, kEps, 0.75f, out.view());
    for (std::int64_t r = 0; r < 2; ++r) {
      const double rms = Rms(branch.data() + r * n, n);
      for (std::int64_t i = 0; i < n; ++i) {
        const auto index = static_cast<std::size_t>(r * n + i);
        const double normed = branch[index] / rms * w[static_cast<std::size_t>(i)];
        const double magnitude = std::fabs(x[index]) + std::fabs(normed);
        ASSERT_NEAR(out.row(r)[i], (x[index] + normed) * 0.75,
                    NormRelativeBound(n) * magnitude + Few(3, magnitude));
      }
    }
  }
}

TEST_P(RowsTest, PleCombineNormsEachLayerAlone) {
  Random random(4);
  for (const std::int64_t width : {1, 8, 16, 20, 33, 256}) {
    const std::int64_t layers = 3;
    const std::int64_t n = layers * width;
    const std::vector<float> projected = RandomFloats(random, 2 * n);
    const std::vector<float> w = RandomFloats(random, width);
    const std::vector<float> token = RandomFloats(random, 2 * n);
    Guarded p(2, n), out(2, n);
    p.Set(projected);
    out.Set(token);
    const float scale = 0.0255f;
    PleCombine(ctx(), p.view(), scale, w, kEps, out.view());
    for (std::int64_t r = 0; r < 2; ++r) {
      for (std::int64_t i = 0; i < n; ++i) {
        const float* slice = projected.data() + r * n + i / width * width;
        const double normed = slice[i % width] * static_cast<double>(scale) /
                              Rms(slice, width, scale) * w[static_cast<std::size_t>(i % width)];
        const double before = token[static_cast<std::size_t>(r * n + i)];
        const double magnitude = std::fabs(before) + std::fabs(normed);
        ASSERT_NEAR(out.row(r)[i], (before + normed) * std::sqrt(0.5),
                    NormRelativeBound(width) * magnitude + Few(4, magnitude));
      }
    }
  }
}

TEST_P(RowsTest, NormRopeTurnsEachHeadInHalfSplitPairs) {
  Random random(5);
  for (const std::int64_t head_dim : {2, 4, 6, 8, 12, 16, 20, 24, 30, 32, 34, 64, 256, 512}) {
    const std::int64_t rows = 3;
    const std::int64_t heads = 2;
    const std::vector<float> x = RandomFloats(random, rows * heads * head_dim);
    const std::vector<float> w = RandomFloats(random, head_dim);
    std::vector<float> frequencies(static_cast<std::size_t>(head_dim / 2));
    for (std::size_t j = 0; j < frequencies.size(); ++j) {
      frequencies[j] = j % 3 == 2 ? 0.0f : std::pow(10000.0f, -static_cast<float>(j) / 32);
    }
    const std::vector<std::int32_t> positions = {0, 7, 131071};
    Guarded cos(rows, head_dim / 2), sin(rows, head_dim / 2);
    RopeTables(ctx(), positions, frequencies, cos.view(), sin.view());
    EXPECT_EQ(cos.row(0)[0], 1.0f);
    EXPECT_EQ(sin.row(0)[0], 0.0f);
    Guarded out(rows, heads * head_dim);
    out.Set(x);
    const View<float, 2> flat = out.view();
    const View<float, 3> view(flat.data(), {rows, heads, head_dim}, {flat.stride(0), head_dim, 1});
    NormRope(ctx(), view, w, kEps, cos.view(), sin.view());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const float* head = x.data() + (r * heads + h) * head_dim;
        const double rms = Rms(head, head_dim);
        for (std::int64_t j = 0; j < head_dim / 2; ++j) {
          const float angle = static_cast<float>(positions[static_cast<std::size_t>(r)]) *
                              frequencies[static_cast<std::size_t>(j)];
          const double c = std::cos(static_cast<double>(angle));
          const double s = std::sin(static_cast<double>(angle));
          const double low = head[j] / rms * w[static_cast<std::size_t>(j)];
          const double high =
              head[j + head_dim / 2] / rms * w[static_cast<std::size_t>(j + head_dim / 2)];
          const double bound = NormRelativeBound(head_dim) * (std::fabs(low) + std::fabs(high)) +
                               Few(4, std::fabs(low) + std::fabs(high));
          ASSERT_NEAR(out.row(r)[h * head_dim + j], low * c - high * s, bound) << head_dim;
          ASSERT_NEAR(out.row(r)[h * head_dim + j + head_dim / 2], high * c + low * s, bound);
        }
      }
    }
  }
}

TEST_P(RowsTest, NormRopeWithoutWeightOrTurnOnlyNorms) {
  Random random(6);
  std::vector<float> x = RandomFloats(random, 2 * 3 * 20);
  std::vector<float> expected = x;
  RmsNorm(ctx(), View<const float, 2>(x.data(), {6, 20}), {}, kEps,
          View<float, 2>(expected.data(), {6, 20}));
  NormRope(ctx(), View<float, 3>(x.data(), {2, 3, 20}), {}, kEps, {}, {});
  EXPECT_TRUE(SameBits(x, expected));
}

TEST_P(RowsTest, GeluMulEqualsTheFormulaOverTheWholeRange) {
  std::vector<float> gate;
  for (float t = -40; t <= 40; t += 0.0137f) gate.push_back(t);
  for (const float t : {0.0f, -0.0f, 1e-30f, -1e-30f, 1e10f, -1e10f, 2e38f, -2e38f})
    gate.push_back(t);
  const auto n = static_cast<std::int64_t>(gate.size());
  const std::vector<float> up(gate.size(), 1.5f);
  std::vector<float> out(gate.size());
  GeluMul(ctx(), View<const float, 2>(gate.data(), {1, n}), View<const float, 2>(up.data(), {1, n}),
          View<float, 2>(out.data(), {1, n}));
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double t = gate[i];
    const double inner = 0.79788456080286535588 * (t + 0.044715 * t * t * t);
    // t·σ(2·inner) instead of t/2·(1 + tanh): the same, with no cancellation for negative t.
    const double expected = t / (1 + std::exp(-2 * inner)) * 1.5;
    // The exponent 2·inner carries 5 roundings, which the exponential turns into relative error.
    const double exponent = std::min(std::fabs(2 * inner), 104.0);
    const double relative = (5 * exponent + 8) * kF32Roundoff;
    // Plain takes 1 + tanh in double, which cancels for negative t.
    const double cancelled = 0x1p-53 * std::fabs(t) * 1.5;
    ASSERT_NEAR(out[i], expected, relative * std::fabs(expected) + cancelled + 2e-37)
        << "gate " << t;
  }
}

TEST_P(RowsTest, GeluMulOfOneRowDoesNotDependOnThreadsOrOtherRows) {
  Random random(7);
  const std::int64_t n = 12289;
  const std::int64_t rows = 5;
  const std::vector<float> gate = RandomFloats(random, rows * n);
  const std::vector<float> up = RandomFloats(random, rows * n);
  Guarded together(rows, n);
  GeluMul(two_threads(), View<const float, 2>(gate.data(), {rows, n}),
          View<const float, 2>(up.data(), {rows, n}), together.view());
  Guarded alone(rows, n);
  for (std::int64_t r = 0; r < rows; ++r) {
    GeluMul(ctx(), View<const float, 2>(gate.data() + r * n, {1, n}),
            View<const float, 2>(up.data() + r * n, {1, n}), View<float, 2>(alone.row(r), {1, n}));
  }
  EXPECT_TRUE(SameBits(together.Dense(), alone.Dense()));
}

TEST_P(RowsTest, SoftCapEqualsTheFormulaAlsoNearZero) {
  std::vector<float> x;
  for (float t = -300; t <= 300; t += 0.173f) x.push_back(t);
  for (float t = 1e-12f; t < 10; t *= 1.7f) x.push_back(t), x.push_back(-t);
  x.push_back(0);
  x.push_back(1e30f);
  const std::vector<float> before = x;
  const auto n = static_cast<std::int64_t>(x.size());
  SoftCap(ctx(), 30.0f, View<float, 2>(x.data(), {1, n}));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = 30 * std::tanh(static_cast<double>(before[i]) / 30);
    ASSERT_NEAR(x[i], expected, 8 * kF32Roundoff * std::fabs(expected)) << before[i];
  }
}

TEST_P(RowsTest, SimpleRowOpsEqualTheirFormulas) {
  Random random(8);
  for (const std::int64_t n : kSizes) {
    const std::vector<float> a = RandomFloats(random, 3 * n);
    const std::vector<float> b = RandomFloats(random, 3 * n);
    const std::vector<float> w = RandomFloats(random, n);
    Guarded sum(3, n), scaled(3, n), gathered(2, n);
    AddRows(ctx(), View<const float, 2>(a.data(), {3, n}), View<const float, 2>(b.data(), {3, n}),
            sum.view());
    scaled.Set(a);
    ScaleRows(ctx(), w, 0.3f, scaled.view());
    Guarded unweighted(3, n);
    unweighted.Set(a);
    ScaleRows(ctx(), {}, 0.3f, unweighted.view());
    const std::vector<std::int32_t> rows = {2, 0};
    GatherRows(ctx(), View<const float, 2>(a.data(), {3, n}), rows, gathered.view());
    for (std::int64_t r = 0; r < 3; ++r) {
      for (std::int64_t i = 0; i < n; ++i) {
        const auto index = static_cast<std::size_t>(r * n + i);
        ASSERT_EQ(sum.row(r)[i], a[index] + b[index]);
        ASSERT_EQ(unweighted.row(r)[i], a[index] * 0.3f);
        const double product =
            static_cast<double>(a[index]) * w[static_cast<std::size_t>(i)] * 0.3f;
        ASSERT_NEAR(scaled.row(r)[i], product, Few(3, std::fabs(product)));
      }
    }
    EXPECT_TRUE(SameBits(std::vector<float>(gathered.row(0), gathered.row(0) + n),
                         std::vector<float>(a.begin() + 2 * n, a.begin() + 3 * n)));
    EXPECT_TRUE(SameBits(std::vector<float>(gathered.row(1), gathered.row(1) + n),
                         std::vector<float>(a.begin(), a.begin() + n)));
  }
}

TEST_P(RowsTest, RowsInParallelEqualRowsAlone) {
  Random random(9);
  const std::int64_t rows = 40;
  const std::int64_t n = 1031;
  const std::vector<float> x = RandomFloats(random, rows * n);
  const std::vector<float> w = RandomFloats(random, n);
  Guarded together(rows, n), alone(rows, n);
  RmsNorm(two_threads(), View<const float, 2>(x.data(), {rows, n}), w, kEps, together.view());
  for (std::int64_t r = 0; r < rows; ++r) {
    RmsNorm(ctx(), View<const float, 2>(x.data() + r * n, {1, n}), w, kEps,
            View<float, 2>(alone.row(r), {1, n}));
  }
  EXPECT_TRUE(SameBits(together.Dense(), alone.Dense()));
}

TEST(Rows, AnIdOutsideOfTheTableIsNamed) {
  Context ctx(1);
  const std::vector<float> table(20);
  std::vector<float> out(5);
  const std::vector<std::int32_t> ids = {4};
  try {
    Embed(ctx, Matrix{DType::kF32, table.data(), 4, 5}, ids, 0, 1,
          View<float, 2>(out.data(), {1, 5}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("id 4 is not in a table of 4 rows"));
  }
}

}  // namespace
}  // namespace culet
