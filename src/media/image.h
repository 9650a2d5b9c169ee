// A decoded picture, as plain as it gets.
#pragma once

#include <cstdint>
#include <vector>

namespace culet {

struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const ImageSize&) const = default;
};

// 8-bit RGB, rows from the top, no padding between them.
struct RgbImage {
  ImageSize size;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]
};

}  // namespace culet
