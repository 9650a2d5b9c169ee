// Decoders of single formats, for media/image_file.h: whole file in, picture as it lies in the file
// out. JPEG, PNG and WebP go through the libraries that Pillow uses too, so that the pixels are the
// same; the others through libav.
//
// Each refuses by the header a picture that is larger than `limits` allow, before any of it is
// decoded, and throws Error with the source's name for data that is cut off or damaged.
#pragma once

#include <cstddef>
#include <span>

#include "media/content.h"
#include "media/image.h"
#include "media/limits.h"
#include "media/source.h"

namespace culet {

struct EncodedImage {
  const MediaSource& source;  // for messages
  std::span<const std::byte> bytes;
  const MediaLimits& limits;
};

// Throws where a picture of that size is none, or too large.
void RequireImageSize(const EncodedImage& image, std::int64_t width, std::int64_t height);
// Throws: "…: begins as NAME, but DETAIL: it is cut off or damaged".
[[noreturn]] void RefuseDamaged(const EncodedImage& image, const char* name,
                                const std::string& detail);

RgbImage DecodeJpeg(const EncodedImage& image);
RgbImage DecodePng(const EncodedImage& image);
RgbImage DecodeWebp(const EncodedImage& image);  // of an animation the first frame
RgbImage DecodeByLibav(const EncodedImage& image, ContentFormat format);  // GIF, BMP, TIFF

// A level above white, as Pillow composes it: 255 where alpha is 0.
inline std::uint8_t OverWhite(std::uint32_t level, std::uint32_t alpha) {
  const std::uint32_t sum = (level * alpha + 255 * (255 - alpha) + 128) << 7;
  return static_cast<std::uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

// `rgba` [pixels, 4] → over white [pixels, 3].
void ComposeOverWhite(std::span<const std::uint8_t> rgba, std::uint8_t* rgb);

}  // namespace culet
