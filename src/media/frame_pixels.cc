#include "media/frame_pixels.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

#include "media/image_codecs.h"

extern "C" {
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

namespace culet::av {
namespace {

// A component of `depth` bits as a level of 8.
std::uint8_t Level(std::uint32_t value, int depth) {
  if (depth >= 8) return static_cast<std::uint8_t>(value >> (depth - 8));
  return static_cast<std::uint8_t>(value * 255 / ((1U << depth) - 1));
}

}  // namespace

bool IsGreyOrRgb(int pixel_format) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(pixel_format));
  if (format == nullptr) return false;
  constexpr std::uint64_t kOther =
      AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
  if ((format->flags & kOther) != 0) return false;
  return (format->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0 ||
         format->nb_components <= 2;
}

RgbImage GreyOrRgb(const AVFrame& frame, bool use_alpha) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
  const bool palette = (format->flags & AV_PIX_FMT_FLAG_PAL) != 0;
  const bool grey = !palette && format->nb_components <= 2;
  const int alpha = palette ? 3 : (format->flags & AV_PIX_FMT_FLAG_ALPHA) == 0 ? -1 : grey ? 1 : 3;
  const bool inverted = frame.format == AV_PIX_FMT_MONOWHITE;
  const std::uint8_t* planes[4] = {frame.data[0], frame.data[1], frame.data[2], frame.data[3]};
  RgbImage image;
  image.size = {frame.height, frame.width};
  image.pixels.resize(static_cast<std::size_t>(3 * image.size.height * image.size.width));
  const std::size_t width = static_cast<std::size_t>(frame.width);
  std::vector<std::uint16_t> line(width);
  std::vector<std::uint8_t> row(4 * width, 255);  // red, green, blue, alpha
  std::uint8_t* out = image.pixels.data();
  for (int y = 0; y < frame.height; ++y) {
    for (int c = 0; c < format->nb_components; ++c) {
      av_read_image_line2(line.data(), planes, frame.linesize, format, 0, y, c, frame.width, 0,
                          sizeof line[0]);
      for (std::size_t x = 0; x < width; ++x) {
        std::uint8_t* pixel = row.data() + 4 * x;
        if (palette) {
          std::uint32_t entry;  // alpha, red, green, blue from the top
          std::memcpy(&entry, frame.data[1] + std::size_t{4} * (line[x] & 255), sizeof entry);
          pixel[0] = static_cast<std::uint8_t>(entry >> 16);
          pixel[1] = static_cast<std::uint8_t>(entry >> 8);
          pixel[2] = static_cast<std::uint8_t>(entry);
          pixel[3] = static_cast<std::uint8_t>(entry >> 24);
          continue;
        }
        std::uint8_t level = Level(line[x], format->comp[c].depth);
        if (inverted) level = static_cast<std::uint8_t>(255 - level);
        if (c == alpha) {
          pixel[3] = level;
        } else if (grey) {
          pixel[0] = pixel[1] = pixel[2] = level;
        } else {
          pixel[c] = level;
        }
      }
    }
    for (std::size_t x = 0; x < width; ++x, out += 3) {
      const std::uint8_t* pixel = row.data() + 4 * x;
      for (int c = 0; c < 3; ++c) {
        out[c] = use_alpha ? OverWhite(pixel[c], pixel[3]) : pixel[c];
      }
    }
  }
  return image;
}

struct YuvToRgb::State {
  SwsContext* context = nullptr;
  int width = 0;
  int height = 0;
  int format = AV_PIX_FMT_NONE;
  ~State() { sws_freeContext(context); }
};

YuvToRgb::YuvToRgb() : state_(std::make_unique<State>()) {}
YuvToRgb::~YuvToRgb() = default;

bool YuvToRgb::Convert(const AVFrame& frame, RgbImage* image) {
  State& state = *state_;
  if (state.context == nullptr || state.width != frame.width || state.height != frame.height ||
      state.format != frame.format) {
    sws_freeContext(state.context);
    state.width = frame.width;
    state.height = frame.height;
    state.format = frame.format;
    const auto format = static_cast<AVPixelFormat>(frame.format);
    state.context = sws_isSupportedInput(format) == 0
                        ? nullptr
                        : sws_getContext(frame.width, frame.height, format, frame.width,
                                         frame.height, AV_PIX_FMT_RGB24,
                                         SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT |
                                             SWS_FULL_CHR_H_INP | SWS_BITEXACT,
                                         nullptr, nullptr, nullptr);
    if (state.context == nullptr) return false;
  }
  // What a stream does not say is BT.601, as libav itself has it.
  const int space =
      frame.colorspace == AVCOL_SPC_BT709 ? SWS_CS_ITU709
      : frame.colorspace == AVCOL_SPC_BT2020_NCL || frame.colorspace == AVCOL_SPC_BT2020_CL
          ? SWS_CS_BT2020
      : frame.colorspace == AVCOL_SPC_FCC       ? SWS_CS_FCC
      : frame.colorspace == AVCOL_SPC_SMPTE240M ? SWS_CS_SMPTE240M
                                                : SWS_CS_DEFAULT;
  const bool full = frame.color_range == AVCOL_RANGE_JPEG || frame.format == AV_PIX_FMT_YUVJ420P ||
                    frame.format == AV_PIX_FMT_YUVJ422P || frame.format == AV_PIX_FMT_YUVJ444P ||
                    frame.format == AV_PIX_FMT_YUVJ440P;
  constexpr int kOne = 1 << 16;
  sws_setColorspaceDetails(state.context, sws_getCoefficients(space), full ? 1 : 0,
                           sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, kOne, kOne);
  image->size = {frame.height, frame.width};
  image->pixels.resize(static_cast<std::size_t>(3 * image->size.height * image->size.width));
  std::uint8_t* rows[4] = {image->pixels.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {3 * frame.width, 0, 0, 0};
  return sws_scale(state.context, frame.data, frame.linesize, 0, frame.height, rows, strides) ==
         frame.height;
}

}  // namespace culet::av
