// What goes into the goldens of tests/golden/media, made as tools/reference/make_media_goldens.py
// makes it, and the checksum that large results are compared by.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "media/image.h"

namespace culet::testing {

inline std::filesystem::path MediaGolden(const char* name) {
  return std::filesystem::path(CULET_SOURCE_DIR) / "tests/golden/media" / name;
}

inline const Json& Goldens() {
  static const Json goldens = [] {
    const std::string path = MediaGolden("media.json").string();
    return ParseJson(FileSystem::Real().ReadFile(path, 1 << 24), path);
  }();
  return goldens;
}

inline std::string Checksum(std::span<const std::byte> bytes) {
  std::uint64_t state = 0;
  std::uint64_t sum = 0;
  for (const std::byte byte : bytes) {
    sum += (static_cast<std::uint64_t>(byte) + 1) * NextRandom(&state);
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum));
  return text;
}

template <typename T>
std::string Checksum(const std::vector<T>& values) {
  return Checksum(std::as_bytes(std::span(values)));
}

inline RgbImage Picture(const std::string& pattern, std::uint64_t seed, ImageSize size) {
  RgbImage image{size, {}};
  image.pixels.reserve(static_cast<std::size_t>(3 * size.height * size.width));
  std::uint64_t state = seed;
  for (std::int64_t y = 0; y < size.height; ++y) {
    for (std::int64_t x = 0; x < size.width; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) {
        std::int64_t value = 0;
        if (pattern == "noise") value = static_cast<std::int64_t>(NextRandom(&state) & 255);
        if (pattern == "edges") value = (x / 7 + y / 5 + c) % 2 * 255;
        if (pattern == "lines") value = (x + 2 * y + c) % 3 == 0 ? 255 : 0;
        if (pattern == "slope") value = (x * 3 + y * 5 + c * 40) % 256;
        if (pattern == "plain") value = c == 0 ? 12 : c == 1 ? 130 : 251;
        image.pixels.push_back(static_cast<std::uint8_t>(value));
      }
    }
  }
  return image;
}

inline ImageSize SizeOf(const Json& pair) {
  return {pair.at(0).get<std::int64_t>(), pair.at(1).get<std::int64_t>()};
}

}  // namespace culet::testing
