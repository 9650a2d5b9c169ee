#include "ops/moe.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/kernels.h"
#include "ops/matmul_scratch.h"
#include "ops/profile.h"
#include "ops/rows.h"
#include "ops/shapes.h"

namespace culet {
namespace {

// Where each part of Experts' scratch begins, in bytes.
struct Layout {
  std::size_t first;    // [experts + 1] i32: where an expert's pairs begin in `pairs`
  std::size_t pairs;    // [rows · k] i32: row · k + j, by expert, rising
  std::size_t place;    // [rows · k] i32: where a pair stands in `pairs`
  std::size_t inputs;   // [rows, hidden]: rows of z that one expert gets
  std::size_t hidden;   // [rows, 2 · width]: gate | up
  std::size_t outputs;  // [rows · k, hidden]: down projections, by pair
  std::size_t product;  // MatMul's own
  std::size_t bytes;
};

Layout MakeLayout(std::int64_t rows, std::int64_t k, std::int64_t hidden, std::int64_t width,
                  std::int64_t experts) {
  std::size_t at = 0;
  const auto take = [&at](std::int64_t count) {
    const std::size_t begin = at;
    at += AlignUp(static_cast<std::size_t>(count) * 4);
    return begin;
  };
  Layout layout{};
  layout.first = take(experts + 1);
  layout.pairs = take(rows * k);
  layout.place = take(rows * k);
  layout.inputs = take(rows * hidden);
  layout.hidden = take(rows * 2 * width);
  layout.outputs = take(rows * k * hidden);
  layout.product = at;
  layout.bytes = at + MatMulScratchBytes(rows, std::max(hidden, width));
  return layout;
}

}  // namespace

void RouteTopK(Context& ctx, View<const float, 2> logits, std::span<const float> expert_scale,
               View<std::int32_t, 2> expert, View<float, 2> weight) {
  const std::int64_t experts = logits.extent(1);
  const std::int64_t k = expert.extent(1);
  if (expert.extents() != weight.extents() || expert.extent(0) != logits.extent(0) || k < 1 ||
      k > experts || static_cast<std::int64_t>(expert_scale.size()) != experts) {
    ThrowShape("RouteTopK: logits " + ShapeText(logits) + ", expert_scale [" +
               std::to_string(expert_scale.size()) + "], expert " + ShapeText(expert) +
               " and weight " + ShapeText(weight) + " do not fit");
  }
  CheckContiguous("RouteTopK", "logits", logits);
  CheckContiguous("RouteTopK", "expert", expert);
  CheckContiguous("RouteTopK", "weight", weight);
  const OpTimer timer(ctx, "RouteTopK");
  OverRows(ctx, logits.extent(0), experts * k, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* logit = logits.row(row);
      std::int32_t* chosen = expert.row(row);
      float* weights = weight.row(row);
      // Probabilities rise with logits, so logits choose; the softmax's sum over all experts falls
      // out of the renormalising.
      for (std::int64_t j = 0; j < k; ++j) {
        std::int64_t best = -1;
        for (std::int64_t e = 0; e < experts; ++e) {
          if (best >= 0 && !(logit[e] > logit[best])) continue;
          const std::int32_t* taken = chosen + j;
          if (std::find(static_cast<const std::int32_t*>(chosen), taken,
                        static_cast<std::int32_t>(e)) == taken) {
            best = e;
          }
        }
        chosen[j] = static_cast<std::int32_t>(best);
      }
      double sum = 0;
      for (std::int64_t j = 0; j < k; ++j) {
        const double exponential =
            std::exp(static_cast<double>(logit[chosen[j]]) - logit[chosen[0]]);
        weights[j] = static_cast<float>(exponential);
        sum += exponential;
      }
      for (std::int64_t j = 0; j < k; ++j) {
        weights[j] = static_cast<float>(weights[j] / sum) *
                     expert_scale[static_cast<std::size_t>(chosen[j])];
      }
    }
  });
}

void Experts(Context& ctx, View<const float, 2> z, const Matrix& gate_up, const Matrix& down,
             std::int64_t experts, View<const std::int32_t, 2> expert, View<const float, 2> weight,
             View<float, 2> out) {
  const std::int64_t rows = z.extent(0);
  const std::int64_t hidden = z.extent(1);
  const std::int64_t k = expert.extent(1);
  const std::int64_t width = down.cols;
  if (experts < 1 || gate_up.cols != hidden || gate_up.rows != experts * 2 * width ||
      down.rows != experts * hidden || out.extents() != z.extents() ||
      expert.extents() != weight.extents() || expert.extent(0) != rows) {
    ThrowShape("Experts: z " + ShapeText(z) + ", gate_up [" + std::to_string(gate_up.rows) + ", " +
               std::to_string(gate_up.cols) + "], down [" + std::to_string(down.rows) + ", " +
               std::to_string(down.cols) + "], expert " + ShapeText(expert) + ", weight " +
               ShapeText(weight) + " and out " + ShapeText(out) + " do not fit for " +
               std::to_string(experts) + " experts");
  }
  CheckContiguous("Experts", "z", z);
  CheckContiguous("Experts", "expert", expert);
  CheckContiguous("Experts", "weight", weight);
  CheckContiguous("Experts", "out", out);
  if (rows == 0) return;
  OpTimer timer(ctx, "Experts");

  const Layout layout = MakeLayout(rows, k, hidden, width, experts);
  std::byte* scratch = ctx.Scratch(layout.bytes);
  auto* first = reinterpret_cast<std::int32_t*>(scratch + layout.first);
  auto* pairs = reinterpret_cast<std::int32_t*>(scratch + layout.pairs);
  auto* inputs = reinterpret_cast<float*>(scratch + layout.inputs);
  auto* middle = reinterpret_cast<float*>(scratch + layout.hidden);
  auto* outputs = reinterpret_cast<float*>(scratch + layout.outputs);

  // Pairs (row, j) by expert: counted, then placed in rising order.
  std::fill(first, first + experts + 1, 0);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int32_t e = expert.row(row)[j];
      if (e < 0 || e >= experts) {
        ThrowShape("Experts: expert " + std::to_string(e) + " of row " + std::to_string(row) +
                   " is not one of " + std::to_string(experts));
      }
      ++first[e + 1];
    }
  }
  for (std::int64_t e = 0; e < experts; ++e) first[e + 1] += first[e];
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t j = 0; j < k; ++j) {
      pairs[first[expert.row(row)[j]]++] = static_cast<std::int32_t>(row * k + j);
    }
  }
  // Placing moved each begin to its end, which is the next one's begin.
  for (std::int64_t e = experts; e > 0; --e) first[e] = first[e - 1];
  first[0] = 0;

  if (timer.running()) {
    std::int64_t read = 0;
    for (std::int64_t e = 0; e < experts; ++e) read += first[e] < first[e + 1] ? 1 : 0;
    const double share = static_cast<double>(read) / static_cast<double>(experts);
    const auto products = static_cast<double>(rows * k * hidden * width);
    timer.Add(gate_up, {share * static_cast<double>(gate_up.bytes()), 2 * products});
    timer.Add(down, {share * static_cast<double>(down.bytes()), products});
  }
  const CpuKernels& kernels = ctx.kernels();
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::int64_t begin = first[e];
    std::int64_t remaining = first[e + 1] - begin;
    std::int64_t from = begin;
    // A row may name an expert twice (never by RouteTopK), so a group may exceed `rows`.
    while (remaining > 0) {
      const std::int64_t count = std::min(remaining, rows);
      const std::int64_t base = from;
      OverRows(ctx, count, hidden, [&](std::int64_t row_begin, std::int64_t row_end) {
        for (std::int64_t i = row_begin; i < row_end; ++i) {
          std::memcpy(inputs + i * hidden, z.row(pairs[base + i] / k),
                      static_cast<std::size_t>(hidden) * sizeof(float));
        }
      });
      const View<float, 2> projected(middle, {count, 2 * width});
      const MatMulTarget up_target{gate_up.slice(e * 2 * width, 2 * width), projected};
      MatMulManyIn(ctx, View<const float, 2>(inputs, {count, hidden}), {&up_target, 1},
                   scratch + layout.product);
      const View<float, 2> gate(middle, {count, width}, {2 * width, 1});
      const View<float, 2> up(middle + width, {count, width}, {2 * width, 1});
      GeluMul(ctx, gate, up, gate);
      const MatMulTarget down_target{down.slice(e * hidden, hidden),
                                     View<float, 2>(outputs + base * hidden, {count, hidden})};
      MatMulManyIn(ctx, gate, {&down_target, 1}, scratch + layout.product);
      from += count;
      remaining -= count;
    }
  }

  auto* place = reinterpret_cast<std::int32_t*>(scratch + layout.place);
  for (std::int64_t index = 0; index < rows * k; ++index) {
    place[pairs[index]] = static_cast<std::int32_t>(index);
  }
  OverRows(ctx, rows, hidden * k, [&](std::int64_t row_begin, std::int64_t row_end) {
    for (std::int64_t row = row_begin; row < row_end; ++row) {
      float* sum = out.row(row);
      std::memset(sum, 0, static_cast<std::size_t>(hidden) * sizeof(float));
      for (std::int64_t j = 0; j < k; ++j) {
        const std::int64_t index = place[row * k + j];
        kernels.add_scaled(outputs + index * hidden, weight.row(row)[j], sum, hidden);
      }
    }
  });
}

std::size_t ExpertsScratchBytes(std::int64_t rows, std::int64_t k, std::int64_t hidden,
                                std::int64_t width, std::int64_t experts) {
  return MakeLayout(rows, k, hidden, width, experts).bytes;
}

}  // namespace culet
