#include "cli/sizes.h"

#include <fmt/format.h>

namespace culet::cli {

std::string FormatBytes(std::uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= (1u << 30)) return fmt::format("{:.2f} GiB", value / (1u << 30));
  if (bytes >= (1u << 20)) return fmt::format("{:.1f} MiB", value / (1u << 20));
  if (bytes >= (1u << 10)) return fmt::format("{:.1f} KiB", value / (1u << 10));
  return fmt::format("{} B", bytes);
}

std::string FormatCount(std::uint64_t count) {
  const double value = static_cast<double>(count);
  if (count >= 1000000000) return fmt::format("{:.2f} B", value / 1e9);
  if (count >= 1000000) return fmt::format("{:.2f} M", value / 1e6);
  if (count >= 10000) return fmt::format("{:.1f} k", value / 1e3);
  return std::to_string(count);
}

std::string FormatMilliseconds(double ms) {
  return ms < 1000 ? fmt::format("{:.1f} ms", ms) : fmt::format("{:.2f} s", ms / 1000);
}

double Rate(std::int64_t count, double ms) {
  return ms > 0 ? static_cast<double>(count) * 1000.0 / ms : 0.0;
}

}  // namespace culet::cli
