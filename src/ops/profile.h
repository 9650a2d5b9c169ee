// What a model's time goes to, op by op: what `culet bench --profile` prints.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "ops/context.h"
#include "ops/types.h"

namespace culet {

// What an op must do at least.
struct OpWork {
  double bytes = 0;          // of weights, tables and KV, each counted once
  double multiply_adds = 0;  // of matrix products and attention
};

// Sums over the calls of ops, by op and weights. Threads: as the context that writes it.
class OpProfile {
 public:
  static constexpr std::size_t kWeights = 3;
  struct Entry {
    const char* op = nullptr;                     // "MatMul", a literal
    int kind = -1;                                // of layer, where the op is told; else -1
    std::array<const void*, kWeights> weights{};  // data of the first few matrices; null: none
    WeightFormat format = WeightFormat::kDense;   // of the first
    DType dtype = DType::kF32;  // of the first where dense; of attention, that it multiplies in
    std::int64_t calls = 0;
    std::chrono::nanoseconds time{0};
    OpWork work;
  };

  const std::vector<Entry>& entries() const { return entries_; }

 private:
  friend class OpTimer;
  std::vector<Entry> entries_;
  bool inside_ = false;  // an op that is timed; those that it calls are its own
};

// Times an op from here to the end of its scope where the context has a profile, and costs two
// comparisons where it has none:
//
//   OpTimer timer(ctx, "MatMul");
//   if (timer.running()) timer.Add(w, {bytes, products});
class OpTimer {
 public:
  OpTimer(Context& ctx, const char* op, int kind = -1);
  ~OpTimer();
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

  bool running() const { return profile_ != nullptr; }
  void Add(const Matrix& weight, const OpWork& work);
  void Add(const OpWork& work);
  void Add(const OpWork& work, DType operands);

 private:
  OpProfile* profile_;
  OpProfile::Entry entry_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace culet
