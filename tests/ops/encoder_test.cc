// If this fails, an op of the media encoders computes something else than its formula: wrong soft
// tokens for every image or sound.
#include "ops/encoder.h"

#include <algorithm>
#include <cmath>

#include "bounds.h"
#include "ops/dense_attention.h"
#include "ops/local_attention.h"
#include "ops/rows.h"
#include "ops/testing.h"

namespace culet {
namespace {

class EncoderOps : public OnEveryLevel {};
CULET_ON_EVERY_LEVEL(EncoderOps);

constexpr std::int64_t kSizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 97, 256, 1031};
constexpr double kU = kF32Roundoff;

View<const float, 3> View3(const std::vector<float>& values, std::int64_t rows, std::int64_t heads,
                           std::int64_t head_dim) {
  return {values.data(), {rows, heads, head_dim}};
}

TEST_P(EncoderOps, ClampKeepsWhatIsBetweenItsBounds) {
  Random random(1);
  for (const std::int64_t n : kSizes) {
    const std::vector<float> x = RandomFloats(random, 2 * n);
    Guarded in(2, n), out(2, n);
    in.Set(x);
    Clamp(ctx(), in.view(), -0.3f, 0.6f, out.view());
    Clamp(ctx(), in.view(), -0.3f, 0.6f, in.view());  // in place
    EXPECT_TRUE(SameBits(in.Dense(), out.Dense()));
    for (std::int64_t i = 0; i < 2 * n; ++i) {
      const float value = x[static_cast<std::size_t>(i)];
      ASSERT_EQ(out.row(i / n)[i % n], value < -0.3f ? -0.3f : value > 0.6f ? 0.6f : value);
    }
  }
}

TEST_P(EncoderOps, ClampPassesNotANumberOn) {
  Guarded x(1, 3);
  x.Set({NAN, 2, -2});
  Clamp(ctx(), x.view(), -1, 1, x.view());
  EXPECT_TRUE(std::isnan(x.row(0)[0]));
  EXPECT_EQ(x.row(0)[1], 1);
  EXPECT_EQ(x.row(0)[2], -1);
}

TEST_P(EncoderOps, LayerNormEqualsTheFormulaWithAndWithoutBias) {
  Random random(2);
  for (const std::int64_t n : kSizes) {
    std::vector<float> x = RandomFloats(random, 2 * n);
    for (float& value : x) value += 3;  // a mean that is not 0
    const std::vector<float> w = RandomFloats(random, n);
    const std::vector<float> b = RandomFloats(random, n);
    for (const bool biased : {true, false}) {
      Guarded in(2, n), out(2, n);
      in.Set(x);
      LayerNorm(ctx(), in.view(), w, biased ? std::span<const float>(b) : std::span<const float>(),
                1e-3f, out.view());
      for (std::int64_t r = 0; r < 2; ++r) {
        double mean = 0;
        double variance = 0;
        for (std::int64_t i = 0; i < n; ++i) mean += x[static_cast<std::size_t>(r * n + i)];
        mean /= static_cast<double>(n);
        for (std::int64_t i = 0; i < n; ++i) {
          const double value = x[static_cast<std::size_t>(r * n + i)] - mean;
          variance += value * value;
        }
        const double deviation = std::sqrt(variance / static_cast<double>(n) + 1e-3);
        for (std::int64_t i = 0; i < n; ++i) {
          const auto index = static_cast<std::size_t>(i);
          const double normed = (x[static_cast<std::size_t>(r * n + i)] - mean) / deviation;
          const double expected = normed * w[index] + (biased ? b[index] : 0.0f);
          // The mean is off by some units of the largest value, 4; so is what it is taken from.
          const double bound = (static_cast<double>(n) / 8 + 12) * kU * 8 / deviation *
                                   (1 + std::fabs(normed)) * std::fabs(w[index]) +
                               4 * kU * (std::fabs(expected) + 1);
          ASSERT_NEAR(out.row(r)[i], expected, bound) << "n " << n << " i " << i;
        }
      }
    }
  }
}

TEST_P(EncoderOps, StandardizeShiftsBeforeItScales) {
  Random random(3);
  for (const std::int64_t n : kSizes) {
    const std::vector<float> x = RandomFloats(random, n);
    const std::vector<float> shift = RandomFloats(random, n);
    const std::vector<float> scale = RandomFloats(random, n);
    Guarded rows(1, n);
    rows.Set(x);
    Standardize(ctx(), rows.view(), shift, scale, rows.view());
    for (std::int64_t i = 0; i < n; ++i) {
      const auto index = static_cast<std::size_t>(i);
      ASSERT_EQ(rows.row(0)[i], (x[index] - shift[index]) * scale[index]);
    }
  }
}

TEST_P(EncoderOps, AddBiasAddsOneVectorToEveryRow) {
  Random random(4);
  const std::vector<float> x = RandomFloats(random, 3 * 17);
  const std::vector<float> b = RandomFloats(random, 17);
  Guarded rows(3, 17);
  rows.Set(x);
  AddBias(ctx(), b, rows.view());
  for (std::int64_t i = 0; i < 3 * 17; ++i) {
    ASSERT_EQ(rows.row(i / 17)[i % 17],
              x[static_cast<std::size_t>(i)] + b[static_cast<std::size_t>(i % 17)]);
  }
}

double Sigmoid(double t) { return 1 / (1 + std::exp(-t)); }

TEST_P(EncoderOps, SiluAndGluEqualTheirFormulas) {
  Random random(5);
  for (const std::int64_t n : kSizes) {
    std::vector<float> x = RandomFloats(random, 2 * n);
    for (float& value : x) value *= 20;
    Guarded silu(1, 2 * n), pair(1, 2 * n), glu(1, n);
    silu.Set(x);
    pair.Set(x);
    Silu(ctx(), silu.view());
    Glu(ctx(), pair.view(), glu.view());
    for (std::int64_t i = 0; i < 2 * n; ++i) {
      const double value = x[static_cast<std::size_t>(i)];
      ASSERT_NEAR(silu.row(0)[i], value * Sigmoid(value), 8 * kU * std::fabs(value) + 1e-37);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const double value = x[static_cast<std::size_t>(i)];
      const double gate = Sigmoid(x[static_cast<std::size_t>(n + i)]);
      ASSERT_NEAR(glu.row(0)[i], value * gate, 8 * kU * std::fabs(value) + 1e-37);
    }
  }
}

TEST_P(EncoderOps, CausalConvLooksBackAndNoFurther) {
  Random random(6);
  for (const std::int64_t n : {1, 9, 33}) {
    for (const std::int64_t taps : {1, 2, 5}) {
      for (const std::int64_t rows : {1, 3, 12}) {
        const std::vector<float> x = RandomFloats(random, rows * n);
        const std::vector<float> w = RandomFloats(random, taps * n);
        Guarded in(rows, n), out(rows, n);
        in.Set(x);
        CausalConv(ctx(), in.view(), {w.data(), {taps, n}}, out.view());
        for (std::int64_t t = 0; t < rows; ++t) {
          for (std::int64_t i = 0; i < n; ++i) {
            double expected = 0;
            for (std::int64_t k = 0; k < taps; ++k) {
              const std::int64_t s = t - (taps - 1) + k;
              if (s < 0) continue;
              expected += static_cast<double>(w[static_cast<std::size_t>(k * n + i)]) *
                          x[static_cast<std::size_t>(s * n + i)];
            }
            ASSERT_NEAR(out.row(t)[i], expected, 2 * kU * static_cast<double>(taps));
          }
        }
      }
    }
  }
}

// One value of a picture [frames, bins, channels], 0 outside.
float At(const std::vector<float>& x, std::int64_t frames, std::int64_t bins, std::int64_t channels,
         std::int64_t frame, std::int64_t bin, std::int64_t channel) {
  if (frame < 0 || frame >= frames || bin < 0 || bin >= bins) return 0;
  return x[static_cast<std::size_t>((frame * bins + bin) * channels + channel)];
}

TEST_P(EncoderOps, Unfold3x3IsWhatAConvolutionOfStrideTwoSees) {
  Random random(7);
  for (const std::int64_t frames : {1, 2, 7, 8}) {
    for (const std::int64_t bins : {1, 5, 6}) {
      const std::int64_t channels = 3;
      const std::vector<float> x = RandomFloats(random, frames * bins * channels);
      const std::int64_t steps = (frames + 1) / 2;
      const std::int64_t half = (bins + 1) / 2;
      // In one go, and the second half of the steps from no more frames than it sees.
      for (const std::int64_t first : {std::int64_t{0}, steps / 2}) {
        const std::int64_t first_frame = std::max<std::int64_t>(0, 2 * first - 1);
        Guarded out((steps - first) * half, channels * 9);
        const View<const float, 3> seen(x.data() + first_frame * bins * channels,
                                        {frames - first_frame, bins, channels});
        Unfold3x3(ctx(), seen, first_frame, frames, first, steps - first, out.view());
        for (std::int64_t row = 0; row < (steps - first) * half; ++row) {
          for (std::int64_t col = 0; col < channels * 9; ++col) {
            ASSERT_EQ(out.row(row)[col],
                      At(x, frames, bins, channels, 2 * (first + row / half) - 1 + col % 9 / 3,
                         2 * (row % half) - 1 + col % 3, col / 9));
          }
        }
      }
    }
  }
}

TEST_P(EncoderOps, PoolGridAveragesSquares) {
  Random random(8);
  const std::int64_t width = 6, height = 4, size = 2, n = 19;
  const std::vector<float> x = RandomFloats(random, width * height * n);
  Guarded in(width * height, n), out(width * height / 4, n);
  in.Set(x);
  PoolGrid(ctx(), in.view(), width, size, out.view());
  for (std::int64_t row = 0; row < height / size; ++row) {
    for (std::int64_t column = 0; column < width / size; ++column) {
      for (std::int64_t i = 0; i < n; ++i) {
        double sum = 0;
        for (std::int64_t dy = 0; dy < size; ++dy) {
          for (std::int64_t dx = 0; dx < size; ++dx) {
            sum += x[static_cast<std::size_t>(((row * size + dy) * width + column * size + dx) * n +
                                              i)];
          }
        }
        ASSERT_NEAR(out.row(row * (width / size) + column)[i], sum / 4, 6 * kU);
      }
    }
  }
}

TEST_P(EncoderOps, NormRopeOfTwoAxesTurnsEachHalfByItsOwnAngles) {
  Random random(9);
  for (const std::int64_t head_dim : {4, 8, 12, 36, 64, 72}) {
    const std::int64_t rows = 3, heads = 2;
    const std::vector<float> x = RandomFloats(random, rows * heads * head_dim);
    std::vector<float> cos, sin;
    for (std::int64_t i = 0; i < rows * head_dim / 2; ++i) {
      const float angle = random.Uniform(-3, 3);
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
    std::vector<float> normed = x;
    NormRope(ctx(), {normed.data(), {rows, heads, head_dim}}, {}, 1e-6f, {}, {});
    std::vector<float> turned = x;
    NormRope(ctx(), {turned.data(), {rows, heads, head_dim}}, {}, 1e-6f,
             {cos.data(), {rows, head_dim / 2}}, {sin.data(), {rows, head_dim / 2}}, 2);
    const std::int64_t half = head_dim / 2;
    const std::int64_t pairs = half / 2;
    for (std::int64_t at = 0; at < rows * heads; ++at) {
      for (std::int64_t axis = 0; axis < 2; ++axis) {
        for (std::int64_t j = 0; j < pairs; ++j) {
          const auto low = static_cast<std::size_t>(at * head_dim + axis * half + j);
          const std::size_t high = low + static_cast<std::size_t>(pairs);
          const auto angle = static_cast<std::size_t>(at / heads * half + axis * pairs + j);
          const double expected_low = static_cast<double>(normed[low]) * cos[angle] -
                                      static_cast<double>(normed[high]) * sin[angle];
          const double expected_high = static_cast<double>(normed[high]) * cos[angle] +
                                       static_cast<double>(normed[low]) * sin[angle];
          const double bound = 4 * kU * (std::fabs(normed[low]) + std::fabs(normed[high]));
          ASSERT_NEAR(turned[low], expected_low, bound);
          ASSERT_NEAR(turned[high], expected_high, bound);
        }
      }
    }
  }
}

// Softmax attention of one query over keys [begin, end), in double.
struct Plain {
  std::int64_t heads, kv_heads, head_dim;
  const std::vector<float>&q, &k, &v;

  double Score(std::int64_t row, std::int64_t head, std::int64_t key) const {
    double score = 0;
    for (std::int64_t i = 0; i < head_dim; ++i) {
      score +=
          static_cast<double>(q[static_cast<std::size_t>((row * heads + head) * head_dim + i)]) *
          k[static_cast<std::size_t>((key * kv_heads + head / (heads / kv_heads)) * head_dim + i)];
    }
    return score;
  }
  double Value(std::int64_t head, std::int64_t key, std::int64_t i) const {
    return v[static_cast<std::size_t>((key * kv_heads + head / (heads / kv_heads)) * head_dim + i)];
  }
};

TEST_P(EncoderOps, DenseAttentionSeesAllOfItsGroupAndNothingElse) {
  Random random(10);
  struct Shape {
    std::int64_t heads, kv_heads, head_dim;
    std::vector<std::int64_t> lengths;
  };
  const Shape shapes[] = {{1, 1, 4, {1}},       {2, 2, 8, {9, 1, 16}},     {4, 2, 12, {47, 49}},
                          {3, 3, 16, {255}},    {2, 1, 64, {256, 17}},     {2, 2, 72, {257, 12}},
                          {1, 1, 20, {530, 3}}, {2, 2, 33, {48, 96, 100}}, {16, 16, 2, {5}}};
  for (const Shape& shape : shapes) {
    std::int64_t rows = 0;
    for (const std::int64_t length : shape.lengths) rows += length;
    const std::int64_t n = shape.heads * shape.head_dim;
    const std::int64_t kv_n = shape.kv_heads * shape.head_dim;
    const std::vector<float> q = RandomFloats(random, rows * n);
    const std::vector<float> k = RandomFloats(random, rows * kv_n);
    const std::vector<float> v = RandomFloats(random, rows * kv_n);
    std::vector<float> out(q.size(), -7.0f), other(q);
    const auto run = [&](Context& context, const std::vector<float>& query,
                         std::vector<float>* result) {
      DenseAttention(context, View3(query, rows, shape.heads, shape.head_dim),
                     View3(k, rows, shape.kv_heads, shape.head_dim),
                     View3(v, rows, shape.kv_heads, shape.head_dim), shape.lengths,
                     {result->data(), {rows, shape.heads, shape.head_dim}});
    };
    run(ctx(), q, &out);
    run(two_threads(), other, &other);  // in place
    EXPECT_TRUE(SameBits(out, other));
    const Plain plain{shape.heads, shape.kv_heads, shape.head_dim, q, k, v};
    std::int64_t begin = 0;
    for (const std::int64_t length : shape.lengths) {
      const double bound =
          AttentionBound(length, shape.head_dim, static_cast<double>(shape.head_dim), 1);
      for (std::int64_t row = begin; row < begin + length; row += 1 + random.Below(5)) {
        for (std::int64_t head = 0; head < shape.heads; ++head) {
          double sum = 0;
          std::vector<double> expected(static_cast<std::size_t>(shape.head_dim));
          for (std::int64_t key = begin; key < begin + length; ++key) {
            const double weight = std::exp(plain.Score(row, head, key));
            sum += weight;
            for (std::int64_t i = 0; i < shape.head_dim; ++i) {
              expected[static_cast<std::size_t>(i)] += weight * plain.Value(head, key, i);
            }
          }
          for (std::int64_t i = 0; i < shape.head_dim; ++i) {
            ASSERT_NEAR(
                out[static_cast<std::size_t>((row * shape.heads + head) * shape.head_dim + i)],
                expected[static_cast<std::size_t>(i)] / sum, bound)
                << "length " << length << " head_dim " << shape.head_dim << " row " << row;
          }
        }
      }
      begin += length;
    }
  }
}

TEST_P(EncoderOps, DenseAttentionBearsScoresThatNoExponentialHolds) {
  // One key of a later block is ahead by far: what was summed before counts for nothing.
  const std::int64_t rows = 300;
  std::vector<float> q(rows, 100.0f), k(rows, 1.0f), v(rows, 1.0f), out(rows);
  k[290] = 30.0f;
  v[290] = 5.0f;
  const std::vector<std::int64_t> lengths = {rows};
  DenseAttention(ctx(), View3(q, rows, 1, 1), View3(k, rows, 1, 1), View3(v, rows, 1, 1), lengths,
                 {out.data(), {rows, 1, 1}});
  for (const float value : out) ASSERT_EQ(value, 5.0f);
}

TEST_P(EncoderOps, LocalAttentionSeesItsWindowWithRelativeKeys) {
  Random random(11);
  struct Shape {
    std::int64_t steps, heads, head_dim, past, future, positions;
  };
  const Shape shapes[] = {{1, 1, 4, 1, 0, 1},   {5, 2, 8, 12, 0, 13}, {40, 2, 16, 12, 0, 13},
                          {30, 3, 6, 5, 3, 6},  {9, 1, 33, 3, 9, 2},  {200, 8, 16, 12, 0, 13},
                          {13, 2, 128, 4, 1, 9}};
  for (const Shape& shape : shapes) {
    const std::int64_t n = shape.heads * shape.head_dim;
    const std::vector<float> q = RandomFloats(random, shape.steps * n);
    const std::vector<float> k = RandomFloats(random, shape.steps * n);
    const std::vector<float> v = RandomFloats(random, shape.steps * n);
    const std::vector<float> relative = RandomFloats(random, shape.positions * n);
    const LocalWindow window = {shape.past, shape.future, 1.5f};
    std::vector<float> out(q.size(), -7.0f), other(q);
    const auto run = [&](Context& context, const std::vector<float>& query,
                         std::vector<float>* result) {
      LocalAttention(context, View3(query, shape.steps, shape.heads, shape.head_dim),
                     View3(k, shape.steps, shape.heads, shape.head_dim),
                     View3(v, shape.steps, shape.heads, shape.head_dim),
                     View3(relative, shape.positions, shape.heads, shape.head_dim), window,
                     {result->data(), {shape.steps, shape.heads, shape.head_dim}});
    };
    run(ctx(), q, &out);
    run(two_threads(), other, &other);
    EXPECT_TRUE(SameBits(out, other));
    const Plain plain{shape.heads, shape.heads, shape.head_dim, q, k, v};
    const Plain near{shape.heads, shape.heads, shape.head_dim, q, relative, v};
    for (std::int64_t t = 0; t < shape.steps; ++t) {
      for (std::int64_t head = 0; head < shape.heads; ++head) {
        double sum = 0;
        std::vector<double> expected(static_cast<std::size_t>(shape.head_dim));
        for (std::int64_t s = 0; s < shape.steps; ++s) {
          const bool seen =
              s == t || (s < t && t - s < shape.past) || (s > t && s - t < shape.future);
          if (!seen) continue;
          const std::int64_t row = shape.past - (t - s);
          double score = plain.Score(t, head, s);
          if (row < shape.positions) score += near.Score(t, head, row);
          const double weight = std::exp(1.5 * std::tanh(score / 1.5));
          sum += weight;
          for (std::int64_t i = 0; i < shape.head_dim; ++i) {
            expected[static_cast<std::size_t>(i)] += weight * plain.Value(head, s, i);
          }
        }
        const double bound = AttentionBound(shape.past + shape.future, shape.head_dim,
                                            2 * static_cast<double>(shape.head_dim), 1);
        for (std::int64_t i = 0; i < shape.head_dim; ++i) {
          ASSERT_NEAR(out[static_cast<std::size_t>((t * shape.heads + head) * shape.head_dim + i)],
                      expected[static_cast<std::size_t>(i)] / sum, bound)
              << "steps " << shape.steps << " t " << t;
        }
      }
    }
  }
}

TEST_P(EncoderOps, ShapesThatDoNotFitAreRefused) {
  std::vector<float> values(64, 1.0f);
  const View<float, 2> two(values.data(), {2, 8});
  const View<float, 2> three(values.data() + 32, {3, 8});
  const std::vector<float> seven(7);
  const std::vector<std::int64_t> lengths = {3};
  const View<float, 3> heads(values.data(), {2, 2, 4});
  EXPECT_THROW(Clamp(ctx(), two, 0, 1, three), Error);
  EXPECT_THROW(LayerNorm(ctx(), two, seven, {}, 1e-6f, two), Error);
  EXPECT_THROW(Standardize(ctx(), two, seven, seven, two), Error);
  EXPECT_THROW(AddBias(ctx(), seven, two), Error);
  EXPECT_THROW(Glu(ctx(), two, three), Error);
  EXPECT_THROW(CausalConv(ctx(), two, two, two), Error);
  EXPECT_THROW(PoolGrid(ctx(), two, 3, 1, two), Error);
  EXPECT_THROW(DenseAttention(ctx(), heads, heads, heads, lengths, heads), Error);
  EXPECT_THROW(NormRope(ctx(), heads, {}, 1e-6f, two, two, 2), Error);
}

}  // namespace
}  // namespace culet
