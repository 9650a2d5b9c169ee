// If this fails, a hostile, broken or misplaced file crashes culet, is believed, or gives a message
// that does not help. Each case spoils a good file in one way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <functional>

#include "checkpoint/tiny_model.h"
#include "media/image_file.h"
#include "media/sound_file.h"
#include "media/video_file.h"

namespace culet {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteText;

namespace fs = std::filesystem;

std::string Data(const char* name) {
  std::ifstream file(fs::path(CULET_SOURCE_DIR) / "tests/media/data" / name, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  EXPECT_FALSE(bytes.empty()) << name;
  return bytes;
}

std::string Cut(const char* name, double share) {
  std::string bytes = Data(name);
  bytes.resize(static_cast<std::size_t>(static_cast<double>(bytes.size()) * share));
  return bytes;
}

// `with` written over `name`'s bytes from `at` on.
std::string Patched(std::string bytes, std::size_t at, std::string_view with) {
  return bytes.replace(at, with.size(), with);
}

std::string Big(std::uint32_t value, int count) {
  std::string text;
  for (int i = count; i-- > 0;) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}
std::string Little(std::uint32_t value, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

std::uint32_t Crc(std::string_view text) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
  }
  return ~crc;
}

// A PNG of that size, right up to its checksum, and nothing behind.
std::string PngHeader(std::uint32_t width, std::uint32_t height) {
  const std::string header =
      "IHDR" + Big(width, 4) + Big(height, 4) + std::string("\x08\x02\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + Big(13, 4) + header + Big(Crc(header), 4);
}

// The sizes that a JPEG's start of frame names.
std::string JpegOfSize(std::uint32_t width, std::uint32_t height) {
  const std::string bytes = Data("picture.jpg");
  const std::size_t frame = bytes.find("\xff\xc0");
  return Patched(bytes, frame + 5, Big(height, 2) + Big(width, 2));
}

// A field of a TIFF's first directory, as long as it is little endian.
std::string TiffWith(std::uint32_t tag, std::uint32_t value) {
  std::string bytes = Data("picture.tiff");
  std::uint32_t directory = 0;
  std::memcpy(&directory, bytes.data() + 4, 4);
  std::uint16_t entries = 0;
  std::memcpy(&entries, bytes.data() + directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t at = directory + 2 + 12 * i;
    if (bytes.substr(at, 2) == Little(tag, 2)) {
      return Patched(bytes, at + 2, Little(4, 2) + Little(1, 4) + Little(value, 4));
    }
  }
  ADD_FAILURE() << "no such tag";
  return bytes;
}

std::string Wav(std::uint32_t format, std::uint32_t rate, std::uint32_t bits,
                std::uint32_t said_bytes, const std::string& data) {
  return "RIFF" + Little(36 + said_bytes, 4) + "WAVEfmt " + Little(16, 4) + Little(format, 2) +
         Little(1, 2) + Little(rate, 4) + Little(rate * bits / 8, 4) + Little(bits / 8, 2) +
         Little(bits, 2) + "data" + Little(said_bytes, 4) + data;
}

enum class As { kImage, kSound, kVideo };

struct Case {
  const char* name;
  As as;
  ErrorKind kind;
  std::string bytes;
  std::vector<const char*> message;
  std::function<void(MediaLimits&)> limit = [](MediaLimits&) {};
};

void Load(MediaSource source, As as, const MediaLimits& limits) {
  switch (as) {
    case As::kImage: LoadImage(source, limits); break;
    case As::kSound: LoadSound(source, limits); break;
    case As::kVideo: LoadClip(source, {}, /*with_sound=*/true, limits); break;
  }
}

constexpr ErrorKind kCorrupt = ErrorKind::kCorrupt;
constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;
constexpr ErrorKind kResource = ErrorKind::kResource;

std::vector<Case> Cases() {
  using namespace std::string_literals;
  const char* kCut = "it is cut off or damaged";
  const std::string nan = Little(0x7fc00000, 4);
  return {
      {"an empty picture", As::kImage, kCorrupt, "", {"is empty; a picture is expected"}},
      {"an empty sound", As::kSound, kCorrupt, "", {"is empty; a sound is expected"}},
      {"an empty video", As::kVideo, kCorrupt, "", {"is empty; a video is expected"}},
      // What it is, by content, and what it should be.
      {"text", As::kImage, kUnsupported, "hello", {"is text; a picture is expected: JPEG, PNG"}},
      {"a PDF", As::kImage, kUnsupported, "%PDF-1.7 ...", {"is a PDF; a picture", "Convert it"}},
      {"a web page", As::kImage, kUnsupported, "<!DOCTYPE html>", {"is a web page"}},
      {"an SVG", As::kImage, kUnsupported, "<svg xmlns=''/>", {"is an SVG drawing"}},
      {"a HEIC",
       As::kImage,
       kUnsupported,
       "\0\0\0\x18"
       "ftypheic\0\0\0\0"s,
       {"is a HEIC picture"}},
      {"an AVIF",
       As::kImage,
       kUnsupported,
       "\0\0\0\x18"
       "ftypavif\0\0\0\0"s,
       {"is an AVIF"}},
      {"a BigTIFF", As::kImage, kUnsupported, "II+\0\x08\0\0\0"s, {"is a BigTIFF picture"}},
      {"Git LFS",
       As::kVideo,
       kUnsupported,
       "version https://git-lfs.github.com/spec/v1\noid",
       {"is a pointer of Git LFS, not the file itself; a video is expected: MP4"}},
      {"noise",
       As::kImage,
       kUnsupported,
       "\x01\x02\x03\x04",
       {"is data that begins with 01 02 03 04"}},
      {"a sound as picture",
       As::kImage,
       kUnsupported,
       Data("tone.flac"),
       {"is a FLAC sound; a picture"}},
      {"a picture as sound",
       As::kSound,
       kUnsupported,
       Data("picture.png"),
       {"is a PNG picture; a sound is expected: WAV, MP3"}},
      {"a picture as video",
       As::kVideo,
       kUnsupported,
       Data("picture.jpg"),
       {"is a JPEG picture; a video"}},
      {"a video without sound as sound",
       As::kSound,
       kUnsupported,
       Data("clip.webm"),
       {"has no sound track; a sound is expected"}},
      {"a sound as video",
       As::kVideo,
       kUnsupported,
       Data("tone.m4a"),
       {"has no pictures in it; a video is expected"}},
      // What would open other files or the network.
      {"a playlist",
       As::kVideo,
       kUnsupported,
       "#EXTM3U\n#EXTINF:1,\nhttp://example.com/a.ts\n",
       {"is a playlist; a video"}},
      {"a list of files",
       As::kVideo,
       kUnsupported,
       "ffconcat version 1.0\nfile '/etc/passwd'\n",
       {"is a playlist"}},
      {"a playlist as sound",
       As::kSound,
       kUnsupported,
       "[playlist]\nFile1=/etc/passwd\n",
       {"is a playlist"}},
      {"a session", As::kVideo, kUnsupported, "v=0\no=- 0 0 IN IP4 127.0.0.1\n", {"is text"}},
      // Cut off.
      {"half a JPEG", As::kImage, kCorrupt, Cut("picture.jpg", 0.8), {"a JPEG picture", kCut}},
      {"half a PNG",
       As::kImage,
       kCorrupt,
       Cut("picture.png", 0.5),
       {"a PNG picture", "ends early", kCut}},
      {"half a WebP", As::kImage, kCorrupt, Cut("picture.webp", 0.5), {"a WebP picture", kCut}},
      {"half a GIF", As::kImage, kCorrupt, Cut("picture.gif", 0.9), {"a GIF picture", kCut}},
      {"half a BMP", As::kImage, kCorrupt, Cut("picture.bmp", 0.5), {"before its last row", kCut}},
      {"half a TIFF",
       As::kImage,
       kCorrupt,
       Cut("picture.tiff", 0.5),
       {"a TIFF picture", "names no size", kCut}},
      {"a PNG's name alone", As::kImage, kCorrupt, "\x89PNG\r\n\x1a\n", {"a PNG picture", kCut}},
      {"a JPEG's first bytes", As::kImage, kCorrupt, "\xff\xd8\xff\xe0", {"a JPEG picture", kCut}},
      {"half a WAV",
       As::kSound,
       kCorrupt,
       Wav(1, 16000, 16, 64000, std::string(32000, 'x')),
       {"has 32044 bytes, but its header says 64044", kCut}},
      {"half a FLAC",
       As::kSound,
       kCorrupt,
       Cut("tone.flac", 0.5),
       {"but its header says 1.00 s", kCut}},
      {"half an M4A", As::kSound, kCorrupt, Cut("tone.m4a", 0.5), {"cannot be read as one", kCut}},
      {"half an MP4",
       As::kVideo,
       kCorrupt,
       Cut("clip.mp4", 0.5),
       {"an MP4 or QuickTime file", kCut}},
      {"half a WebM", As::kVideo, kCorrupt, Cut("clip.webm", 0.5), {kCut}},
      {"half an AVI", As::kVideo, kCorrupt, Cut("clip.avi", 0.4), {kCut}},
      {"an MP4's name alone",
       As::kVideo,
       kCorrupt,
       "\0\0\0\x14"
       "ftypisom\0\0\0\0isom"s,
       {kCut}},
      {"an MP3 of zeros",
       As::kSound,
       kCorrupt,
       "ID3\x04\0\0\0\0\0\0"s + std::string(4000, '\0'),
       {kCut}},
      // Damaged.
      {"a PNG of a wrong checksum",
       As::kImage,
       kCorrupt,
       Patched(Data("picture.png"), 0x25, "XX"),
       {"a PNG picture", kCut}},
      {"a JPEG of noise",
       As::kImage,
       kCorrupt,
       Data("picture.jpg").substr(0, 300) + std::string(500, '\x5a'),
       {"a JPEG picture", kCut}},
      {"a TIFF of JPEG",
       As::kImage,
       kUnsupported,
       TiffWith(259, 7),
       {"with JPEG data inside", "save it as"}},
      {"a sound of no numbers",
       As::kSound,
       kCorrupt,
       Wav(3, 16000, 32, 4000, std::string(3996, '\0') + nan),
       {"has a sample of nan", "samples from −1 to 1 are expected"}},
      {"a sound without samples", As::kSound, kCorrupt, Wav(1, 16000, 16, 0, ""), {kCut}},
      {"a sound of a strange rate",
       As::kSound,
       kUnsupported,
       Wav(1, 10, 16, 64, std::string(64, 'x')),
       {"has 10 samples a second; from 1000 to 768000 are read"}},
      {"a sound of an unknown codec",
       As::kSound,
       kUnsupported,
       Wav(0x0161, 16000, 16, 640, std::string(640, 'x')),
       {"whose content is coded as wmav2, which culet does not decode; convert it"}},
      // Zero size, and bombs: a few bytes that would take gigabytes.
      {"a PNG of no size",
       As::kImage,
       kCorrupt,
       PngHeader(0, 5),
       {"is a picture of 0 × 5 pixels; each side must have at least one"}},
      {"a GIF of no size",
       As::kImage,
       kCorrupt,
       Patched(Data("picture.gif"), 6, std::string(4, '\0')),
       {"is a picture of 0 × 0 pixels; each side must have at least one"}},
      {"a BMP of no size",
       As::kImage,
       kCorrupt,
       Patched(Data("picture.bmp"), 18, std::string(4, '\0')),
       {"is a picture of 0 × 18 pixels"}},
      {"a PNG bomb",
       As::kImage,
       kResource,
       PngHeader(60000, 60000),
       {"60000 × 60000 pixels; at most 100000000 pixels are decoded. Shrink it, or raise the "
        "limit"}},
      {"a JPEG bomb",
       As::kImage,
       kResource,
       JpegOfSize(65000, 65000),
       {"65000 × 65000 pixels; at most"}},
      {"a GIF bomb",
       As::kImage,
       kResource,
       Patched(Data("picture.gif"), 6, "\xff\xff\xff\xff"),
       {"65535 × 65535 pixels; at most"}},
      {"a BMP bomb",
       As::kImage,
       kResource,
       Patched(Data("picture.bmp"), 18, Little(0x7fffffff, 4)),
       {"2147483647 × 18 pixels; at most"}},
      {"a BMP of the most negative height",
       As::kImage,
       kResource,
       Patched(Data("picture.bmp"), 22, Little(0x80000000, 4)),
       {"24 × 2147483648 pixels; at most"}},
      {"a TIFF bomb", As::kImage, kResource, TiffWith(256, 0xffffffff), {"4294967295 × 18 pixels"}},
      // Limits of the caller's.
      {"a picture of too many bytes",
       As::kImage,
       kResource,
       Data("picture.png"),
       {"bytes; a picture may have 100. Make it smaller, or raise the limit"},
       [](MediaLimits& limits) { limits.image_bytes = 100; }},
      {"a picture of too many pixels",
       As::kImage,
       kResource,
       Data("picture.webp"),
       {"is a picture of 24 × 18 pixels; at most 400 pixels"},
       [](MediaLimits& limits) { limits.image_pixels = 400; }},
      {"a sound of too many bytes",
       As::kSound,
       kResource,
       Data("tone.mp3"),
       {"a sound may have 1000"},
       [](MediaLimits& limits) { limits.stream_bytes = 1000; }},
      {"a sound that is too long",
       As::kSound,
       kResource,
       Data("tone.m4a"),
       {"lasts 1.0", "sound of at most 0.50 s is read. Cut it, or raise the limit"},
       [](MediaLimits& limits) { limits.audio_seconds = 0.5; }},
      {"a sound whose length only decoding tells",
       As::kSound,
       kResource,
       Data("tone.aac"),
       {"goes on; sound of at most 0.50 s is read"},
       [](MediaLimits& limits) { limits.audio_seconds = 0.5; }},
      {"a video that is too long",
       As::kVideo,
       kResource,
       Data("clip.mp4"),
       {"lasts 2.0", "a video of at most 1.00 s is read"},
       [](MediaLimits& limits) { limits.video_seconds = 1.0; }},
      {"a video of too many frames",
       As::kVideo,
       kResource,
       Data("clip.mp4"),
       {"has more than 59 frames. Cut it"},
       [](MediaLimits& limits) { limits.video_frames = 59; }},
      {"a video that would show too many frames",
       As::kVideo,
       kResource,
       Data("clip.mp4"),
       {"would be shown as 32 frames; at most 8 are. Ask for fewer"},
       [](MediaLimits& limits) { limits.shown_frames = 8; }},
      {"a video of large frames",
       As::kVideo,
       kResource,
       Data("clip.webm"),
       {"has frames of 64 × 48 pixels; at most 1000 pixels"},
       [](MediaLimits& limits) { limits.frame_pixels = 1000; }},
      {"a video with too long a sound",
       As::kVideo,
       kResource,
       Data("clip.mp4"),
       {"lasts 1.0", "sound of at most"},
       [](MediaLimits& limits) { limits.audio_seconds = 0.3; }},
  };
}

TEST(Refusals, EachBrokenOrHostileFileIsToldByNameFindingAndWayOut) {
  TemporaryFolder folder;
  ::testing::internal::CaptureStderr();
  for (const Case& broken : Cases()) {
    SCOPED_TRACE(broken.name);
    MediaLimits limits;
    broken.limit(limits);
    const fs::path path = folder.path() / "medium.png";  // whatever it is
    WriteText(path, broken.bytes);
    const std::string bytes = broken.bytes;
    for (const bool in_memory : {false, true}) {
      std::string message;
      try {
        Load(in_memory ? MediaSource::Of(std::as_bytes(std::span(bytes)), "images[0]")
                       : MediaSource::Open(path),
             broken.as, limits);
        ADD_FAILURE() << "is taken";
      } catch (const Error& error) {
        message = error.what();
        EXPECT_EQ(ErrorKindName(error.kind()), ErrorKindName(broken.kind)) << message;
      }
      EXPECT_THAT(message, ::testing::StartsWith(in_memory ? "images[0]: " : path.string() + ": "));
      for (const char* part : broken.message) EXPECT_THAT(message, HasSubstr(part));
    }
  }
  // libav, libjpeg and libpng have something to say of most of these.
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(Refusals, WhatIsNoFile) {
  TemporaryFolder folder;
  const auto message = [](const fs::path& path, ErrorKind kind) {
    return testing::ErrorOf(kind, [&] { MediaSource::Open(path); });
  };
  EXPECT_THAT(message(folder.path() / "none.png", ErrorKind::kNotFound),
              HasSubstr("none.png: no such file"));
  EXPECT_THAT(message(folder.path(), ErrorKind::kInvalidArgument), HasSubstr("is a folder"));
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message(folder.path() / "pipe", ErrorKind::kInvalidArgument),
              HasSubstr("pipe or device, which may never end"));
  EXPECT_THAT(message("/dev/zero", ErrorKind::kInvalidArgument),
              HasSubstr("save it to a file first"));
}

TEST(Refusals, GoodFilesAreTakenWhateverTheirName) {
  for (const char* name : {"picture.jpg", "picture.png", "picture.webp", "picture.gif",
                           "picture.bmp", "picture.tiff"}) {
    const std::string bytes = Data(name);
    MediaSource source = MediaSource::Of(std::as_bytes(std::span(bytes)), name);
    EXPECT_EQ(LoadImage(source).size, (ImageSize{18, 24})) << name;
  }
}

}  // namespace
}  // namespace culet
