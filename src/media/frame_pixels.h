// A frame of libav → RGB. Only sources of this folder include it.
#pragma once

#include <memory>
#include <vector>

#include "media/image.h"
#include "media/libav.h"

namespace culet::av {

// Whether a frame of that format has red, green and blue or grey, which GreyOrRgb turns exactly.
bool IsGreyOrRgb(int pixel_format);

// Pixels over white where the frame has alpha, unless that is not to be used; of more than 8 bits
// the upper ones.
RgbImage GreyOrRgb(const AVFrame& frame, bool use_alpha = true);

// Y, U and V by libswscale, in the accurate mode that gives the same on every CPU. Keeps what it
// needs from frame to frame.
class YuvToRgb {
 public:
  YuvToRgb();
  ~YuvToRgb();
  YuvToRgb(const YuvToRgb&) = delete;
  YuvToRgb& operator=(const YuvToRgb&) = delete;

  // False where libswscale does not know the frame's format.
  bool Convert(const AVFrame& frame, RgbImage* image);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace culet::av
