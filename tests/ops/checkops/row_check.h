// Cases of kernels that work on one row, called as the table has them. Inputs are within [−1, 1]
// times the range of a check, so that bounds can be told from sizes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/checkops/cases.h"
#include "ops/values.h"

namespace culet {

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

}  // namespace culet
