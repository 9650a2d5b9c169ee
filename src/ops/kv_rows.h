// What attention and appending share of the paged KV cache: its checks, where a position lies, and
// the order of a row that holds both K and V.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/types.h"

namespace culet {

// These throw Error(kInternal) that begins with `op`.
void CheckKvCache(const char* op, const KvLayer& cache);
void CheckKvPlan(const char* op, const BatchPlan& plan, std::int64_t rows);
// The page of `position`; also where it was given back or never was.
std::int64_t KvPageOf(const char* op, const KindPlan& kind, std::int64_t sequence,
                      std::int64_t position);

// The dimensions of a head in the order of a row that holds K and V (base/kv_format.h): two runs
// that turn, and two that rest.
struct TurningRuns {
  std::int64_t turn;  // length of each run that turns: [0, turn) and [half, half + turn)
  std::int64_t rest;  // of each that rests: [turn, half) and [half + turn, head_dim)
  std::int64_t half;

  explicit TurningRuns(const KvLayer& cache)
      : turn(cache.turning / 2), rest(cache.head_dim / 2 - turn), half(cache.head_dim / 2) {}

  float* Turning(const float* from, float* to) const {
    return std::copy_n(from + half, turn, std::copy_n(from, turn, to));
  }
  float* Resting(const float* from, float* to) const {
    return std::copy_n(from + half + turn, rest, std::copy_n(from + turn, rest, to));
  }
  // V as the row has it, in the order of its dimensions; not in place.
  void FromV(const float* from, float* to) const {
    const auto take = [&](std::int64_t begin, std::int64_t count) {
      std::copy_n(from, count, to + begin);
      from += count;
    };
    take(0, turn);
    take(half, turn);
    take(turn, rest);
    take(half + turn, rest);
  }
};

}  // namespace culet
