#include <cstring>
#include <new>
#include <string>

#include "media/byte_reader.h"
#include "media/frame_pixels.h"
#include "media/image_codecs.h"
#include "media/libav.h"
#include "media/orientation.h"

namespace culet {
namespace {

struct Kind {
  AVCodecID codec;
  const char* name;
};

Kind KindOf(ContentFormat format) {
  switch (format) {
    case ContentFormat::kGif: return {AV_CODEC_ID_GIF, "a GIF picture"};
    case ContentFormat::kBmp: return {AV_CODEC_ID_BMP, "a BMP picture"};
    default: return {AV_CODEC_ID_TIFF, "a TIFF picture"};
  }
}

// As the header says it; libav's decoder is held to the same limit.
ImageSize HeaderSize(const EncodedImage& image, ContentFormat format) {
  const ByteReader bytes(image.bytes);
  if (format == ContentFormat::kGif) return {bytes.Little(8, 2), bytes.Little(6, 2)};
  if (format == ContentFormat::kBmp) {
    const bool small = bytes.Little(14, 4) < 40;  // OS/2's header counts in 16 bits
    if (small) return {bytes.Little(20, 2), bytes.Little(18, 2)};
    // A negative height: rows from the top.
    const std::int64_t height = static_cast<std::int32_t>(bytes.Little(22, 4));
    return {height < 0 ? -height : height, bytes.Little(18, 4)};
  }
  const auto width = TiffField(image.bytes, kTiffWidth);
  const auto height = TiffField(image.bytes, kTiffHeight);
  if (!width || !height)
    RefuseDamaged(image, "a TIFF picture", "its first directory names no size");
  return {*height, *width};
}

// The fourth byte of a pixel is alpha only where the header has a mask for it.
bool BmpHasAlpha(std::span<const std::byte> file) {
  const ByteReader bytes(file);
  constexpr std::uint32_t kBitFields = 3;
  return bytes.Little(14, 4) >= 56 && bytes.Little(30, 4) == kBitFields && bytes.Little(66, 4) != 0;
}

// Whether all rows of an uncompressed picture are there, which libav does not look at for each
// kind.
bool BmpIsWhole(std::span<const std::byte> file, ImageSize size) {
  const ByteReader bytes(file);
  const bool small = bytes.Little(14, 4) < 40;
  const std::uint32_t compression = small ? 0 : bytes.Little(30, 4);
  if (compression != 0 && compression != 3) return true;
  const std::uint64_t bits = bytes.Little(small ? 24 : 28, 2);
  const std::uint64_t row_bytes = (static_cast<std::uint64_t>(size.width) * bits + 31) / 32 * 4;
  return bytes.Has(bytes.Little(10, 4), row_bytes * static_cast<std::uint64_t>(size.height));
}

// libav makes do with a GIF whose picture ends early; its blocks tell.
bool GifIsWhole(std::span<const std::byte> file) {
  const ByteReader bytes(file);
  const auto table = [](std::uint32_t flags) {
    return (flags & 0x80) != 0 ? std::uint64_t{3} << ((flags & 7) + 1) : 0;
  };
  std::uint64_t at = 13 + table(bytes.Big(10, 1));
  const auto skip_blocks = [&] {
    while (bytes.Has(at, 1)) {
      const std::uint32_t length = bytes.Big(at, 1);
      at += 1 + length;
      if (length == 0) return true;
    }
    return false;
  };
  while (bytes.Has(at, 1)) {
    const std::uint32_t kind = bytes.Big(at, 1);
    if (kind == 0x2c) {
      if (!bytes.Has(at, 11)) return false;
      at += 11 + table(bytes.Big(at + 9, 1));
      return skip_blocks();
    }
    if (kind != 0x21) return false;
    at += 2;
    if (!skip_blocks()) return false;
  }
  return false;
}

}  // namespace

RgbImage DecodeByLibav(const EncodedImage& image, ContentFormat format) {
  const av::Silence silence;
  const Kind kind = KindOf(format);
  const ImageSize size = HeaderSize(image, format);
  RequireImageSize(image, size.width, size.height);
  const std::uint32_t compression = TiffField(image.bytes, kTiffCompression).value_or(0);
  if (format == ContentFormat::kTiff && (compression == 6 || compression == 7)) {
    image.source.Refuse(
        ErrorKind::kUnsupported,
        "is a TIFF picture with JPEG data inside, which culet does not decode; save "
        "it as JPEG or PNG");
  }
  if (format == ContentFormat::kGif && !GifIsWhole(image.bytes)) {
    RefuseDamaged(image, kind.name, "ends before its first picture does");
  }
  if (format == ContentFormat::kBmp && !BmpIsWhole(image.bytes, size)) {
    RefuseDamaged(image, kind.name, "ends before its last row");
  }
  const av::DecoderPtr decoder = av::NewDecoder(kind.codec, image.limits.image_pixels);
  if (!decoder) {
    image.source.Refuse(
        ErrorKind::kUnsupported,
        std::string("is ") + kind.name + ", which the libavcodec of this machine does not decode");
  }
  // Of TIFF it would take every tag that libav does not know for damage.
  if (format != ContentFormat::kTiff) {
    decoder->err_recognition = AV_EF_EXPLODE | AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER;
  }
  const av::PacketPtr packet = av::NewPacket();
  const av::FramePtr frame = av::NewFrame();
  if (image.bytes.size() > INT_MAX - AV_INPUT_BUFFER_PADDING_SIZE) {
    image.source.Refuse(ErrorKind::kResource, "has more than 2 GiB");
  }
  // A copy, behind which libav finds the zeros that it wants.
  int code = av_new_packet(packet.get(), static_cast<int>(image.bytes.size()));
  if (code < 0) throw std::bad_alloc();
  std::memcpy(packet->data, image.bytes.data(), image.bytes.size());
  packet->flags |= AV_PKT_FLAG_KEY;
  code = avcodec_open2(decoder.get(), nullptr, nullptr);
  if (code >= 0) code = avcodec_send_packet(decoder.get(), packet.get());
  if (code >= 0) code = avcodec_send_packet(decoder.get(), nullptr);
  if (code >= 0) code = avcodec_receive_frame(decoder.get(), frame.get());
  if (code == AVERROR(ENOMEM)) image.source.RefuseMemory();
  if (code < 0 || frame->decode_error_flags != 0) {
    RefuseDamaged(
        image, kind.name,
        "cannot be decoded (" + (code < 0 ? av::ErrorText(code) : std::string("damaged")) + ")");
  }
  RequireImageSize(image, frame->width, frame->height);
  RgbImage result;
  if (av::IsGreyOrRgb(frame->format)) {
    const bool use_alpha = format != ContentFormat::kBmp || BmpHasAlpha(image.bytes);
    return av::GreyOrRgb(*frame, use_alpha);
  }
  if (!av::YuvToRgb().Convert(*frame, &result)) {
    RefuseDamaged(image, kind.name,
                  "its pixels are of a kind that culet does not turn into colours");
  }
  return result;
}

}  // namespace culet
