#include "hub/clock.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <random>
#include <thread>

namespace culet::hub {

double Clock::Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::int64_t Clock::UnixSeconds() { return static_cast<std::int64_t>(std::time(nullptr)); }

double Clock::Random() {
  thread_local std::minstd_rand engine(std::random_device{}());
  return std::uniform_real_distribution<double>(0, 1)(engine);
}

void Clock::Sleep(double seconds, const CancelCheck& cancelled) {
  const double end = Seconds() + seconds;
  for (;;) {
    if (cancelled && cancelled()) throw Cancelled();
    const double left = end - Seconds();
    if (left <= 0) return;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 0.05)));
  }
}

Clock& Clock::Real() {
  static Clock real;
  return real;
}

}  // namespace culet::hub
