// A picture in a file or in memory → RGB, upright, transparency over white.
#pragma once

#include "media/image.h"
#include "media/limits.h"
#include "media/source.h"

namespace culet {

// JPEG, PNG, WebP, GIF (the first frame), BMP and TIFF (the first page), by content, whatever the
// name. Turned as EXIF says; transparent pixels show white; grey, palettes, CMYK and 1 bit become
// RGB; of 16 bits the upper eight remain. Colour profiles are not applied.
//
// Throws Error naming the source: kNotFound, kIo, kCorrupt (empty, cut off, damaged), kUnsupported
// (no picture, or of another format), kResource (beyond `limits`). Any thread.
RgbImage LoadImage(MediaSource& source, const MediaLimits& limits = {});

}  // namespace culet
