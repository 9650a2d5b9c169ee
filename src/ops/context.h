// Where ops run: threads, the kernels chosen for this CPU, and scratch memory.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu_features.h"
#include "base/thread_pool.h"
#include "ops/types.h"

namespace culet {

struct CpuKernels;  // ops/cpu/kernels.h
class OpProfile;    // ops/profile.h

// Sees the weight and the operand of each matrix product before it is computed.   x [rows, cols]
using ProductTap = std::function<void(const Matrix& weight, View<const float, 2> x)>;

// Threads: one op at a time.
class Context {
 public:
  // Of ChosenLevel().
  explicit Context(int threads);
  // A level that the machine lacks throws Error(kInvalidArgument) listing those that it has.
  Context(int threads, CpuLevel level, ThreadPriority priority = ThreadPriority::kNormal);
  ~Context();

  ThreadPool& pool() { return *pool_; }
  CpuLevel level() const { return level_; }
  const CpuKernels& kernels() const { return *kernels_; }

  // Scratch that lives until the next call with a larger size; ops use it inside one call only.
  // Reserve it for the largest batch before the first step, so that a step allocates nothing.
  std::byte* Scratch(std::size_t bytes);
  std::size_t scratch_bytes() const { return scratch_bytes_; }

  // For calibration. Empty: none, which costs a step nothing.
  void set_product_tap(ProductTap tap) { product_tap_ = std::move(tap); }
  const ProductTap& product_tap() const { return product_tap_; }

  // Where ops write their times; null: nowhere, which costs a step nothing. It must outlive its
  // use.
  void set_profile(OpProfile* profile) { profile_ = profile; }
  OpProfile* profile() const { return profile_; }

 private:
  std::unique_ptr<ThreadPool> pool_;
  CpuLevel level_;
  const CpuKernels* kernels_;
  std::unique_ptr<std::byte[]> scratch_storage_;
  std::byte* scratch_ = nullptr;  // 64-byte aligned
  std::size_t scratch_bytes_ = 0;
  ProductTap product_tap_;
  OpProfile* profile_ = nullptr;
};

// BestLevel(), or what CULET_CPU names; a level that the machine lacks, or an unknown name, throws
// Error(kInvalidArgument) listing those that it has.
CpuLevel ChosenLevel();

// The highest level of this CPU whose kernels have run on real hardware.
CpuLevel BestLevel();

// Levels that this machine can run, from plain upwards.
std::vector<CpuLevel> AvailableLevels();

}  // namespace culet
