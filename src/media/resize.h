// Bicubic resizing with antialias, in the fixed point that the references use.
// Source: Pillow's Resample.c as its documentation and results show it; torchvision's uint8 path.
//
//   scale = in / out, s = max(scale, 1); output o sees the inputs within 2·s of (o + ½)·scale, with
//   weights k(distance / s), k the cubic of a = −½, divided by their sum and rounded to B bits
//   out[o] = clamp((½ + Σ weight·in) >> B)        one axis, that as uint8, then the other
//
// The first pass is clamped to 0 … 255 before the second sees it: a resize that rounds only at the
// end is up to 28 levels off at hard edges. The columns come first, but in Pillow 13 the rows where
// more than twice as many rows as columns go.
#pragma once

#include "media/image.h"

namespace culet {

enum class ResizeRule {
  kPillow,       // B = 22: bit for bit what Pillow 13 gives
  kTorchvision,  // B as large as 16-bit weights allow: bit for bit torchvision on a CPU
};

// `image` in `target`'s size; an axis whose size stays is not touched. Both sides from 1 to 2^24.
// Cost: in height · out width · 12·max(scale, 1) multiply-adds and less than half of that again.
// Memory: the result, and rows of its width for as many inputs as one output row sees.
RgbImage ResizeBicubic(const RgbImage& image, ImageSize target,
                       ResizeRule rule = ResizeRule::kPillow);

}  // namespace culet
