// What culet_checkops runs: each case makes random input, calls one op and gives its output with a
// bound on how far a right kernel may be from the plain one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/context.h"
#include "ops/cpu/kernels.h"

namespace culet {

// One input, made once, run by any context.
class Case {
 public:
  virtual ~Case() = default;
  // What went in, for messages: "rows 7 n 33 k 1025".
  virtual std::string Text() const = 0;
  // `out` has as many values as `bounds`; what lay in it before is guard values.
  virtual void Run(Context& ctx, std::vector<float>& out) const = 0;
  // |kernel − plain| ≤ bound, by output; both may be off, so twice the bound of one.
  std::vector<double> bounds;
  // Wider by this where the kernel is that of `level`.
  virtual double MoreAt(CpuLevel) const { return 0; }
};

// A kernel of the table: how to know whether a level has its own, and its cases.
struct Check {
  std::string name;
  std::function<CpuLevel(const CpuKernels&)> level;
  // Cases for `seed`, small and odd ones first, and one of real size for timing.
  std::function<std::vector<std::unique_ptr<Case>>(std::uint64_t seed)> cases;
  std::function<std::unique_ptr<Case>(std::uint64_t seed)> timed;
};

std::vector<Check> MatMulChecks();
std::vector<Check> AttentionChecks();
std::vector<Check> RowChecks();
std::vector<Check> EncoderChecks();

}  // namespace culet
