// Time behind a seam, so that tests of long waits do not wait.
#pragma once

#include <cstdint>
#include <functional>

namespace culet::hub {

// Thrown where the caller asked to stop. What was fetched is kept and gone on from.
struct Cancelled {};

using CancelCheck = std::function<bool()>;  // called from any thread

class Clock {
 public:
  virtual ~Clock() = default;
  virtual double Seconds();            // since some moment, never backwards
  virtual std::int64_t UnixSeconds();  // since 1970
  virtual double Random();             // [0, 1), for jitter
  // Throws Cancelled as soon as `cancelled` says so.
  virtual void Sleep(double seconds, const CancelCheck& cancelled);

  static Clock& Real();
};

}  // namespace culet::hub
