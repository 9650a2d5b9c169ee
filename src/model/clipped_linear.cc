#include "model/clipped_linear.h"

#include <array>
#include <limits>

#include "ops/encoder.h"
#include "ops/matmul.h"

namespace culet {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kMostTargets = 3;  // q, k and v

bool SameInput(const ClippedLinear& a, const ClippedLinear& b) {
  return a.input_min == b.input_min && a.input_max == b.input_max;
}

}  // namespace

void ClippedProducts(Context& ctx, View<const float, 2> x, std::span<const ClippedTarget> targets,
                     View<float, 2> clipped) {
  CULET_DCHECK(targets.size() <= kMostTargets);
  std::array<bool, kMostTargets> done = {};
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (done[i]) continue;
    // All that bound their input alike share one operand.
    const ClippedLinear& linear = *targets[i].linear;
    std::array<MatMulTarget, kMostTargets> products;
    std::size_t count = 0;
    for (std::size_t j = i; j < targets.size(); ++j) {
      if (done[j] || !SameInput(*targets[j].linear, linear)) continue;
      products[count++] = {targets[j].linear->w, targets[j].out};
      done[j] = true;
    }
    View<const float, 2> operand = x;
    if (linear.input_min != -kInfinity || linear.input_max != kInfinity) {
      Clamp(ctx, x, linear.input_min, linear.input_max, clipped);
      operand = clipped;
    }
    MatMulMany(ctx, operand, std::span(products.data(), count));
  }
  for (const ClippedTarget& target : targets) {
    const ClippedLinear& linear = *target.linear;
    if (linear.output_min == -kInfinity && linear.output_max == kInfinity) continue;
    Clamp(ctx, target.out, linear.output_min, linear.output_max, target.out);
  }
}

void ClippedProduct(Context& ctx, View<const float, 2> x, const ClippedLinear& linear,
                    View<float, 2> clipped, View<float, 2> out) {
  const ClippedTarget target = {&linear, out};
  ClippedProducts(ctx, x, {&target, 1}, clipped);
}

}  // namespace culet
