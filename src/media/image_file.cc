#include "media/image_file.h"

#include <utility>

#include "media/content.h"
#include "media/image_codecs.h"
#include "media/orientation.h"

namespace culet {

void RequireImageSize(const EncodedImage& image, std::int64_t width, std::int64_t height) {
  const std::string size = std::to_string(width) + " × " + std::to_string(height) + " pixels";
  if (width < 1 || height < 1) {
    image.source.Refuse(ErrorKind::kCorrupt,
                        "is a picture of " + size + "; each side must have at least one");
  }
  if (width > image.limits.image_pixels || height > image.limits.image_pixels ||
      width * height > image.limits.image_pixels) {
    image.source.Refuse(ErrorKind::kResource,
                        "is a picture of " + size + "; at most " +
                            std::to_string(image.limits.image_pixels) +
                            " pixels are decoded. Shrink it, or raise the limit");
  }
}

void RefuseDamaged(const EncodedImage& image, const char* name, const std::string& detail) {
  image.source.Refuse(ErrorKind::kCorrupt, std::string("begins as ") + name + ", but " + detail +
                                               ": it is cut off or damaged");
}

void ComposeOverWhite(std::span<const std::uint8_t> rgba, std::uint8_t* rgb) {
  for (std::size_t i = 0; i + 3 < rgba.size(); i += 4) {
    for (std::size_t c = 0; c < 3; ++c) *rgb++ = OverWhite(rgba[i + c], rgba[i + 3]);
  }
}

RgbImage LoadImage(MediaSource& source, const MediaLimits& limits) {
  source.RequireSize(limits.image_bytes, "picture");
  std::vector<std::byte> buffer;
  const EncodedImage image{source, source.All(&buffer), limits};
  const Content content =
      RecognizeContent(image.bytes.first(std::min(image.bytes.size(), kContentHead)));
  switch (content.format) {
    case ContentFormat::kJpeg: return Upright(DecodeJpeg(image), JpegOrientation(image.bytes));
    case ContentFormat::kPng: return Upright(DecodePng(image), PngOrientation(image.bytes));
    case ContentFormat::kWebp: return Upright(DecodeWebp(image), WebpOrientation(image.bytes));
    case ContentFormat::kTiff:
      return Upright(DecodeByLibav(image, content.format), TiffOrientation(image.bytes));
    case ContentFormat::kGif:
    case ContentFormat::kBmp: return DecodeByLibav(image, content.format);
    default: break;
  }
  source.Refuse(ErrorKind::kUnsupported, "is " + content.name +
                                             "; a picture is expected: JPEG, PNG, WebP, GIF, BMP "
                                             "or TIFF. Convert it to one of them");
}

}  // namespace culet
