#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <new>
#include <vector>

#include "media/image_codecs.h"

namespace culet {
namespace {

constexpr const char* kName = "a WebP picture";

struct FreeAnimation {
  void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

// The first frame on its canvas, [canvas pixels, 4]; `size` was checked.
std::vector<std::uint8_t> FirstFrame(const EncodedImage& image, ImageSize size) {
  WebPAnimDecoderOptions options;
  if (WebPAnimDecoderOptionsInit(&options) == 0) throw std::bad_alloc();
  options.color_mode = MODE_RGBA;
  const WebPData data{reinterpret_cast<const std::uint8_t*>(image.bytes.data()),
                      image.bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, FreeAnimation> decoder(
      WebPAnimDecoderNew(&data, &options));
  WebPAnimInfo info;
  std::uint8_t* pixels = nullptr;
  int timestamp = 0;
  if (!decoder || WebPAnimDecoderGetInfo(decoder.get(), &info) == 0 ||
      info.canvas_width != size.width || info.canvas_height != size.height ||
      WebPAnimDecoderGetNext(decoder.get(), &pixels, &timestamp) == 0) {
    RefuseDamaged(image, kName, "its first frame cannot be decoded");
  }
  return {pixels, pixels + 4 * size.width * size.height};
}

}  // namespace

RgbImage DecodeWebp(const EncodedImage& image) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(image.bytes.data());
  const std::size_t count = image.bytes.size();
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, count, &features) != VP8_STATUS_OK) {
    RefuseDamaged(image, kName, "its header cannot be read");
  }
  RequireImageSize(image, features.width, features.height);
  RgbImage result;
  result.size = {features.height, features.width};
  const std::size_t pixels = static_cast<std::size_t>(result.size.height * result.size.width);
  result.pixels.resize(3 * pixels);
  if (features.has_animation != 0) {
    ComposeOverWhite(FirstFrame(image, result.size), result.pixels.data());
    return result;
  }
  if (features.has_alpha != 0) {
    std::vector<std::uint8_t> rgba(4 * pixels);
    if (WebPDecodeRGBAInto(data, count, rgba.data(), rgba.size(), 4 * features.width) == nullptr) {
      RefuseDamaged(image, kName, "cannot be decoded");
    }
    ComposeOverWhite(rgba, result.pixels.data());
    return result;
  }
  if (WebPDecodeRGBInto(data, count, result.pixels.data(), result.pixels.size(),
                        3 * features.width) == nullptr) {
    RefuseDamaged(image, kName, "cannot be decoded");
  }
  return result;
}

}  // namespace culet
