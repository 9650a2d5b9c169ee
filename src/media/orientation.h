// Which way up a picture is, as cameras write it (EXIF tag 274), and turning it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "media/image.h"

namespace culet {

// Values 1 … 8 of EXIF: 1 upright, 2 mirrored, 3 by 180°, 4 flipped, 5 transposed, 6 to be turned
// by 90° clockwise, 7 transversed, 8 by 90° counter-clockwise.
inline constexpr int kUpright = 1;

// The picture as it is to be seen.
RgbImage Upright(RgbImage image, int orientation);

// Fields of the first directory of a TIFF, which is also what EXIF is: bytes from "II*" or "MM*"
// on. Nothing where the field is not there, of another type, or the bytes make no sense; of a field
// of several values the first. Never reads outside.
std::optional<std::uint32_t> TiffField(std::span<const std::byte> tiff, std::uint16_t tag);
inline constexpr std::uint16_t kTiffWidth = 256;
inline constexpr std::uint16_t kTiffHeight = 257;
inline constexpr std::uint16_t kTiffCompression = 259;

// Orientation of EXIF data; kUpright where it says none that exists.
int TiffOrientation(std::span<const std::byte> tiff);

// Finds the EXIF data of a whole file (JPEG, PNG, WebP, TIFF) and its orientation.
int JpegOrientation(std::span<const std::byte> file);
int PngOrientation(std::span<const std::byte> file);
int WebpOrientation(std::span<const std::byte> file);

}  // namespace culet
