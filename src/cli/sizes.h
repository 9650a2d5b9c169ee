// Numbers for people.
#pragma once

#include <cstdint>
#include <string>

namespace culet::cli {

std::string FormatBytes(std::uint64_t bytes);  // "12.9 GiB", "340 KiB"
std::string FormatCount(std::uint64_t count);  // "2.31 B", "2.95 M"
std::string FormatMilliseconds(double ms);     // "12.3 ms", "4.56 s"
// Per second; 0 where no time has passed.
double Rate(std::int64_t count, double ms);

}  // namespace culet::cli
