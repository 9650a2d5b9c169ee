#include "media/orientation.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "media/byte_reader.h"

namespace culet {
namespace {

using namespace std::string_view_literals;

constexpr std::uint16_t kOrientationTag = 274;
constexpr std::uint32_t kTypeShort = 3;
constexpr std::uint32_t kTypeLong = 4;

// Of a picture of `width` × `height` as it lies in the file.
struct Turn {
  bool transpose = false;  // then the seen picture's rows are the file's columns
  bool flip_x = false;     // in the file's axes
  bool flip_y = false;
};

Turn TurnOf(int orientation) {
  switch (orientation) {
    case 2: return {false, true, false};
    case 3: return {false, true, true};
    case 4: return {false, false, true};
    case 5: return {true, false, false};
    case 6: return {true, false, true};
    case 7: return {true, true, true};
    case 8: return {true, true, false};
    default: return {};
  }
}

}  // namespace

RgbImage Upright(RgbImage image, int orientation) {
  const Turn turn = TurnOf(orientation);
  if (!turn.transpose && !turn.flip_x && !turn.flip_y) return image;
  const std::int64_t height = image.size.height;
  const std::int64_t width = image.size.width;
  RgbImage seen;
  seen.size = turn.transpose ? ImageSize{width, height} : image.size;
  seen.pixels.resize(image.pixels.size());
  // Squares, so that neither the rows that are read nor those that are written leave the cache.
  constexpr std::int64_t kSquare = 64;
  for (std::int64_t y0 = 0; y0 < seen.size.height; y0 += kSquare) {
    for (std::int64_t x0 = 0; x0 < seen.size.width; x0 += kSquare) {
      for (std::int64_t y = y0; y < std::min(y0 + kSquare, seen.size.height); ++y) {
        std::uint8_t* out = seen.pixels.data() + 3 * (y * seen.size.width + x0);
        for (std::int64_t x = x0; x < std::min(x0 + kSquare, seen.size.width); ++x, out += 3) {
          std::int64_t from_x = turn.transpose ? y : x;
          std::int64_t from_y = turn.transpose ? x : y;
          if (turn.flip_x) from_x = width - 1 - from_x;
          if (turn.flip_y) from_y = height - 1 - from_y;
          std::memcpy(out, image.pixels.data() + 3 * (from_y * width + from_x), 3);
        }
      }
    }
  }
  return seen;
}

std::optional<std::uint32_t> TiffField(std::span<const std::byte> tiff, std::uint16_t tag) {
  const ByteReader bytes(tiff);
  const bool big = bytes.Is(0, "MM\0*"sv);
  if (!big && !bytes.Is(0, "II*\0"sv)) return std::nullopt;
  const auto number = [&](std::uint64_t offset, int count) {
    return big ? bytes.Big(offset, count) : bytes.Little(offset, count);
  };
  const std::uint64_t directory = number(4, 4);
  if (!bytes.Has(directory, 2)) return std::nullopt;
  const std::uint32_t entries = number(directory, 2);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::uint64_t entry = directory + 2 + std::uint64_t{12} * i;
    if (!bytes.Has(entry, 12)) return std::nullopt;
    if (number(entry, 2) != tag) continue;
    const std::uint32_t type = number(entry + 2, 2);
    if (number(entry + 4, 4) != 1) return std::nullopt;
    if (type == kTypeShort) return number(entry + 8, 2);
    if (type == kTypeLong) return number(entry + 8, 4);
    return std::nullopt;
  }
  return std::nullopt;
}

int TiffOrientation(std::span<const std::byte> tiff) {
  const std::uint32_t value = TiffField(tiff, kOrientationTag).value_or(kUpright);
  return value >= 1 && value <= 8 ? static_cast<int>(value) : kUpright;
}

int JpegOrientation(std::span<const std::byte> file) {
  const ByteReader bytes(file);
  std::uint64_t at = 2;  // behind the start of the image
  while (bytes.Has(at, 4) && bytes.Big(at, 1) == 0xff) {
    const std::uint32_t marker = bytes.Big(at + 1, 1);
    if (marker == 0xff) {  // filling
      ++at;
      continue;
    }
    // Start of scan: nothing of interest behind. Markers without a length stand nowhere before it.
    if (marker == 0xda || marker == 0xd9 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      break;
    }
    const std::uint32_t length = bytes.Big(at + 2, 2);
    if (length < 2) break;
    if (marker == 0xe1 && bytes.Is(at + 4, "Exif\0\0"sv)) {
      return length < 8 ? kUpright : TiffOrientation(bytes.Part(at + 10, length - 8));
    }
    at += 2 + length;
  }
  return kUpright;
}

int PngOrientation(std::span<const std::byte> file) {
  const ByteReader bytes(file);
  for (std::uint64_t at = 8; bytes.Has(at, 12);) {
    const std::uint64_t length = bytes.Big(at, 4);
    if (bytes.Is(at + 4, "eXIf")) return TiffOrientation(bytes.Part(at + 8, length));
    at += 12 + length;
  }
  return kUpright;
}

int WebpOrientation(std::span<const std::byte> file) {
  const ByteReader bytes(file);
  for (std::uint64_t at = 12; bytes.Has(at, 8);) {
    const std::uint64_t length = bytes.Little(at + 4, 4);
    if (bytes.Is(at, "EXIF")) {
      // Some writers keep the six bytes that JPEG has in front.
      const bool prefixed = bytes.Is(at + 8, "Exif\0\0"sv);
      return TiffOrientation(bytes.Part(at + 8 + (prefixed ? 6 : 0), length));
    }
    at += 8 + length + length % 2;
  }
  return kUpright;
}

}  // namespace culet
