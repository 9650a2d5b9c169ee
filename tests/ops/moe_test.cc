// If this fails, the mixture of experts routes to wrong experts, weighs them wrongly or mixes rows.
#include "ops/moe.h"

#include <algorithm>
#include <numeric>

#include "bounds.h"
#include "ops/matmul.h"
#include "ops/testing.h"

namespace culet {
namespace {

class MoeTest : public OnEveryLevel {};
CULET_ON_EVERY_LEVEL(MoeTest);

TEST_P(MoeTest, RouteTakesTheLargestLowerIndexFirstAndScalesAfterRenormalising) {
  const std::vector<float> logits = {1, 3, 3, -2, 2,  //
                                     0, 0, 0, 0,  0};
  const std::vector<float> scale = {0.5f, 2, 1, 3, 4};
  std::vector<std::int32_t> expert(6);
  std::vector<float> weight(6);
  RouteTopK(ctx(), View<const float, 2>(logits.data(), {2, 5}), scale,
            View<std::int32_t, 2>(expert.data(), {2, 3}), View<float, 2>(weight.data(), {2, 3}));
  EXPECT_EQ(expert, (std::vector<std::int32_t>{1, 2, 4, 0, 1, 2}));
  const double e = std::exp(-1.0);
  EXPECT_NEAR(weight[0], 2 / (2 + e), 4e-7);
  EXPECT_NEAR(weight[1], 1 / (2 + e), 4e-7);
  EXPECT_NEAR(weight[2], 4 * e / (2 + e), 4e-7);
  EXPECT_NEAR(weight[3], 0.5 / 3, 1e-7);
  EXPECT_NEAR(weight[4], 2.0 / 3, 1e-7);
}

struct Layer {
  std::int64_t experts, hidden, width;
};

TEST_P(MoeTest, ExpertsEqualTheFormulaAndARowAloneEqualsItselfInABatchBitForBit) {
  Random random(21);
  for (const Layer& layer :
       {Layer{1, 8, 4}, Layer{4, 16, 12}, Layer{7, 33, 20}, Layer{8, 64, 48}, Layer{2, 520, 513}}) {
    for (const std::int64_t k : {std::int64_t{1}, std::min<std::int64_t>(3, layer.experts)}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        const std::int64_t rows = layer.hidden > 100 ? 14 : 45;
        const auto& [experts, hidden, width] = layer;
        const TestMatrix gate_up(dtype, experts * 2 * width, hidden,
                                 RandomFloats(random, experts * 2 * width * hidden));
        const TestMatrix down(dtype, experts * hidden, width,
                              RandomFloats(random, experts * hidden * width));
        const std::vector<float> z = RandomFloats(random, rows * hidden);
        std::vector<std::int32_t> expert;
        for (std::int64_t r = 0; r < rows; ++r) {
          std::vector<std::int32_t> all(static_cast<std::size_t>(experts));
          std::iota(all.begin(), all.end(), 0);
          for (std::int64_t j = 0; j < k; ++j) {
            std::swap(all[static_cast<std::size_t>(j)],
                      all[static_cast<std::size_t>(j + random.Below(experts - j))]);
            expert.push_back(all[static_cast<std::size_t>(j)]);
          }
        }
        const std::vector<float> weight = RandomFloats(random, rows * k);
        Guarded out(rows, hidden);
        Experts(two_threads(), View<const float, 2>(z.data(), {rows, hidden}), gate_up.matrix(),
                down.matrix(), experts, View<const std::int32_t, 2>(expert.data(), {rows, k}),
                View<const float, 2>(weight.data(), {rows, k}), out.view());
        Guarded alone(rows, hidden);
        for (std::int64_t r = 0; r < rows; ++r) {
          Experts(ctx(), View<const float, 2>(z.data() + r * hidden, {1, hidden}), gate_up.matrix(),
                  down.matrix(), experts,
                  View<const std::int32_t, 2>(expert.data() + r * k, {1, k}),
                  View<const float, 2>(weight.data() + r * k, {1, k}),
                  View<float, 2>(alone.row(r), {1, hidden}));
        }
        ASSERT_TRUE(SameBits(out.Dense(), alone.Dense())) << "seed " << TestSeed();
        // Long sums over bf16 weights round their operand.
        const bool round_z = dtype == DType::kBF16 && hidden > kExactCols;
        const double operand = dtype == DType::kBF16 && width > kExactCols ? kBf16Roundoff : 0;
        for (std::int64_t r = 0; r < rows; ++r) {
          std::vector<double> sum(static_cast<std::size_t>(hidden));
          std::vector<double> bound(static_cast<std::size_t>(hidden), 1e-30);
          for (std::int64_t j = 0; j < k; ++j) {
            const std::int64_t e = expert[static_cast<std::size_t>(r * k + j)];
            const double share = weight[static_cast<std::size_t>(r * k + j)];
            for (std::int64_t u = 0; u < width; ++u) {
              double gate = 0, up = 0, gate_abs = 0, up_abs = 0;
              for (std::int64_t i = 0; i < hidden; ++i) {
                const float value = z[static_cast<std::size_t>(r * hidden + i)];
                const double x = round_z ? RoundToBf16(value) : value;
                const double g =
                    x *
                    gate_up.widened()[static_cast<std::size_t>((e * 2 * width + u) * hidden + i)];
                const double v = x * gate_up.widened()[static_cast<std::size_t>(
                                         (e * 2 * width + width + u) * hidden + i)];
                gate += g, up += v;
                gate_abs += std::fabs(g), up_abs += std::fabs(v);
              }
              const double inner = 0.79788456080286535588 * (gate + 0.044715 * gate * gate * gate);
              const double middle = gate / (1 + std::exp(-2 * inner)) * up;
              // |gelu'| ≤ 1.13; the rounding of the operand of `down` may fall either way.
              const double middle_bound = 1.13 * DotBound(hidden, gate_abs) * std::fabs(up) +
                                          DotBound(hidden, up_abs) * std::fabs(gate) +
                                          (600 * kF32Roundoff + operand) * std::fabs(middle) +
                                          1e-30;
              for (std::int64_t i = 0; i < hidden; ++i) {
                const double w =
                    down.widened()[static_cast<std::size_t>((e * hidden + i) * width + u)];
                sum[static_cast<std::size_t>(i)] += share * middle * w;
                bound[static_cast<std::size_t>(i)] +=
                    std::fabs(share * w) * middle_bound +
                    (DotDepth(width) + 4) * kF32Roundoff * std::fabs(share * middle * w);
              }
            }
          }
          for (std::int64_t i = 0; i < hidden; ++i) {
            ASSERT_NEAR(out.row(r)[i], sum[static_cast<std::size_t>(i)],
                        bound[static_cast<std::size_t>(i)])
                << "row " << r << " of " << hidden << ", " << experts << " experts";
          }
        }
      }
    }
  }
}

TEST_P(MoeTest, NothingIsAllocatedOnceScratchIsReserved) {
  Random random(22);
  const TestMatrix gate_up(DType::kBF16, 4 * 2 * 6, 16, RandomFloats(random, 4 * 2 * 6 * 16));
  const TestMatrix down(DType::kBF16, 4 * 16, 6, RandomFloats(random, 4 * 16 * 6));
  const std::vector<float> z = RandomFloats(random, 20 * 16);
  const std::vector<std::int32_t> expert(40, 3);  // all rows at one expert, twice
  const std::vector<float> weight(40, 0.5f);
  Context fresh(1, GetParam());
  fresh.Scratch(ExpertsScratchBytes(20, 2, 16, 6, 4));
  const std::size_t reserved = fresh.scratch_bytes();
  Guarded out(20, 16);
  Experts(fresh, View<const float, 2>(z.data(), {20, 16}), gate_up.matrix(), down.matrix(), 4,
          View<const std::int32_t, 2>(expert.data(), {20, 2}),
          View<const float, 2>(weight.data(), {20, 2}), out.view());
  EXPECT_EQ(fresh.scratch_bytes(), reserved);
}

TEST(Moe, AnExpertThatIsNotThereIsNamed) {
  Context ctx(1);
  const std::vector<float> gate_up(2 * 2 * 3 * 4), down(2 * 4 * 3), z(4), weight(1);
  const std::vector<std::int32_t> expert = {2};
  std::vector<float> out(4);
  try {
    Experts(ctx, View<const float, 2>(z.data(), {1, 4}), Matrix{DType::kF32, gate_up.data(), 12, 4},
            Matrix{DType::kF32, down.data(), 8, 3}, 2,
            View<const std::int32_t, 2>(expert.data(), {1, 1}),
            View<const float, 2>(weight.data(), {1, 1}), View<float, 2>(out.data(), {1, 4}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("expert 2 of row 0 is not one of 2"));
  }
}

}  // namespace
}  // namespace culet
