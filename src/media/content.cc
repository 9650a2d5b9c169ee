#include "media/content.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace culet {
namespace {

using namespace std::string_view_literals;

// `magic` at `offset`, and where it is not empty `also` at `also_offset`.
struct Signature {
  std::size_t offset;
  std::string_view magic;
  std::size_t also_offset;
  std::string_view also;
  ContentFormat format;
  const char* name;
};

constexpr ContentFormat kUnknown = ContentFormat::kUnknown;

// The first that fits. What culet does not read is here for the message.
constexpr Signature kSignatures[] = {
    {0, "\xff\xd8\xff"sv, 0, ""sv, ContentFormat::kJpeg, "a JPEG picture"},
    {0, "\x89PNG\r\n\x1a\n"sv, 0, ""sv, ContentFormat::kPng, "a PNG picture"},
    {0, "RIFF"sv, 8, "WEBP"sv, ContentFormat::kWebp, "a WebP picture"},
    {0, "GIF87a"sv, 0, ""sv, ContentFormat::kGif, "a GIF picture"},
    {0, "GIF89a"sv, 0, ""sv, ContentFormat::kGif, "a GIF picture"},
    {0, "II*\0"sv, 0, ""sv, ContentFormat::kTiff, "a TIFF picture"},
    {0, "MM\0*"sv, 0, ""sv, ContentFormat::kTiff, "a TIFF picture"},
    {0, "RIFF"sv, 8, "WAVE"sv, ContentFormat::kWav, "a WAV sound"},
    {0, "RF64"sv, 8, "WAVE"sv, ContentFormat::kWav, "a WAV sound"},
    {0, "FORM"sv, 8, "AIF"sv, ContentFormat::kAiff, "an AIFF sound"},
    {0, "fLaC"sv, 0, ""sv, ContentFormat::kFlac, "a FLAC sound"},
    {0, "OggS"sv, 0, ""sv, ContentFormat::kOgg, "an Ogg stream"},
    {0, "ID3"sv, 0, ""sv, ContentFormat::kMp3, "an MP3 sound"},
    {4, "ftyp"sv, 8, "avif"sv, kUnknown, "an AVIF picture"},
    {4, "ftyp"sv, 8, "avis"sv, kUnknown, "an AVIF picture"},
    {4, "ftyp"sv, 8, "hei"sv, kUnknown, "a HEIC picture"},
    {4, "ftyp"sv, 8, "hev"sv, kUnknown, "a HEIC picture"},
    {4, "ftyp"sv, 8, "mif1"sv, kUnknown, "a HEIF picture"},
    {4, "ftyp"sv, 0, ""sv, ContentFormat::kMp4, "an MP4 or QuickTime file"},
    {4, "moov"sv, 0, ""sv, ContentFormat::kMp4, "a QuickTime file"},
    {4, "mdat"sv, 0, ""sv, ContentFormat::kMp4, "a QuickTime file"},
    {4, "wide"sv, 0, ""sv, ContentFormat::kMp4, "a QuickTime file"},
    {0, "\x1a\x45\xdf\xa3"sv, 0, ""sv, ContentFormat::kMatroska, "a Matroska or WebM file"},
    {0, "RIFF"sv, 8, "AVI "sv, ContentFormat::kAvi, "an AVI file"},
    {0, "%PDF"sv, 0, ""sv, kUnknown, "a PDF"},
    {0, "PK\x03\x04"sv, 0, ""sv, kUnknown, "a ZIP archive"},
    {0, "\x1f\x8b"sv, 0, ""sv, kUnknown, "gzip data"},
    {0, "\xff\x0a"sv, 0, ""sv, kUnknown, "a JPEG XL picture"},
    {4, "JXL "sv, 0, ""sv, kUnknown, "a JPEG XL picture"},
    {4, "jP  "sv, 0, ""sv, kUnknown, "a JPEG 2000 picture"},
    {0, "8BPS"sv, 0, ""sv, kUnknown, "a Photoshop file"},
    {0, "II+\0"sv, 0, ""sv, kUnknown, "a BigTIFF picture"},
    {0, "MM\0+"sv, 0, ""sv, kUnknown, "a BigTIFF picture"},
    {0, "\x30\x26\xb2\x75"sv, 0, ""sv, kUnknown, "a Windows Media file"},
    {0, "FLV"sv, 0, ""sv, kUnknown, "a Flash video"},
    {0, "#EXTM3U"sv, 0, ""sv, kUnknown, "a playlist"},
    {0, "ffconcat"sv, 0, ""sv, kUnknown, "a playlist"},
    {0, "[playlist]"sv, 0, ""sv, kUnknown, "a playlist"},
    {0, "<svg"sv, 0, ""sv, kUnknown, "an SVG drawing"},
    {0, "<?xml"sv, 0, ""sv, kUnknown, "XML"},
    {0, "<!DOCTYPE"sv, 0, ""sv, kUnknown, "a web page"},
    {0, "<html"sv, 0, ""sv, kUnknown, "a web page"},
    {0, "version https://git-lfs"sv, 0, ""sv, kUnknown,
     "a pointer of Git LFS, not the file itself"},
};

bool Has(std::string_view head, std::size_t offset, std::string_view magic) {
  return head.size() >= offset && head.substr(offset).starts_with(magic);
}

// A BMP has nothing but "BM": its header's size must be one of those that exist.
bool IsBmp(std::string_view head) {
  if (!Has(head, 0, "BM") || head.size() < 18) return false;
  const unsigned char size = static_cast<unsigned char>(head[14]);
  return head.substr(15, 3) == "\0\0\0"sv &&
         (size == 12 || size == 16 || size == 40 || size == 52 || size == 56 || size == 64 ||
          size == 108 || size == 124);
}

bool IsText(std::string_view head) {
  return std::all_of(head.begin(), head.end(), [](char c) {
    const unsigned char byte = static_cast<unsigned char>(c);
    return byte == '\t' || byte == '\n' || byte == '\r' || (byte >= 0x20 && byte != 0x7f);
  });
}

}  // namespace

Content RecognizeContent(std::span<const std::byte> bytes) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (head.empty()) return {kUnknown, "nothing"};
  for (const Signature& signature : kSignatures) {
    if (Has(head, signature.offset, signature.magic) &&
        (signature.also.empty() || Has(head, signature.also_offset, signature.also))) {
      return {signature.format, signature.name};
    }
  }
  if (IsBmp(head)) return {ContentFormat::kBmp, "a BMP picture"};
  // MPEG audio has no magic but eleven set bits; two more tell the layer, which AAC leaves at 0.
  if (head.size() > 2 && head[0] == '\xff' &&
      (static_cast<unsigned char>(head[1]) & 0xe0) == 0xe0 &&
      (static_cast<unsigned char>(head[2]) & 0xf0) != 0xf0) {
    const int layer = (static_cast<unsigned char>(head[1]) >> 1) & 3;
    if (layer != 0) return {ContentFormat::kMp3, "an MP3 sound"};
    if ((static_cast<unsigned char>(head[1]) & 0xf0) == 0xf0) {
      return {ContentFormat::kAac, "an AAC sound"};
    }
  }
  if (IsText(head)) return {kUnknown, "text"};
  std::string name = "data that begins with";
  for (std::size_t i = 0; i < std::min<std::size_t>(head.size(), 8); ++i) {
    char hex[8];
    std::snprintf(hex, sizeof hex, " %02x",
                  static_cast<unsigned>(static_cast<unsigned char>(head[i])));
    name += hex;
  }
  return {kUnknown, name};
}

}  // namespace culet
