// What the benchmarks share: clocks and medians.
#pragma once

#include <time.h>

#include <algorithm>
#include <vector>

namespace culet {

inline double Now(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace culet
