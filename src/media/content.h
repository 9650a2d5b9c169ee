// What some bytes are, by their content alone: names of files are never looked at.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace culet {

enum class ContentFormat {
  kUnknown,
  kJpeg,
  kPng,
  kWebp,
  kGif,
  kBmp,
  kTiff,
  kWav,
  kAiff,
  kFlac,
  kOgg,
  kMp3,
  kAac,       // ADTS
  kMp4,       // and M4A, QuickTime
  kMatroska,  // and WebM
  kAvi,
};

struct Content {
  ContentFormat format = ContentFormat::kUnknown;
  std::string name;  // "a PNG picture", "text", "a PDF", "data that begins with 00 01 02 03"
};

// Bytes at the beginning that RecognizeContent looks at.
inline constexpr std::size_t kContentHead = 64;

Content RecognizeContent(std::span<const std::byte> head);

}  // namespace culet
