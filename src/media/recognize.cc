#include "media/recognize.h"

#include "media/content.h"
#include "media/demuxer.h"

namespace culet {
namespace {

FileKind KindOfContainer(MediaSource& source) {
  try {
    Demuxer demuxer(source, "video");
    if (demuxer.Best(AVMEDIA_TYPE_VIDEO) != nullptr) return FileKind::kClip;
    return demuxer.Best(AVMEDIA_TYPE_AUDIO) != nullptr ? FileKind::kSound : FileKind::kOther;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kIo) throw;
    return FileKind::kOther;
  }
}

}  // namespace

FileKind RecognizeFile(MediaSource& source) {
  switch (RecognizeContent(source.Head(kContentHead)).format) {
    case ContentFormat::kUnknown: return FileKind::kOther;
    case ContentFormat::kJpeg:
    case ContentFormat::kPng:
    case ContentFormat::kWebp:
    case ContentFormat::kGif:
    case ContentFormat::kBmp:
    case ContentFormat::kTiff: return FileKind::kPicture;
    case ContentFormat::kWav:
    case ContentFormat::kAiff:
    case ContentFormat::kFlac:
    case ContentFormat::kMp3:
    case ContentFormat::kAac: return FileKind::kSound;
    case ContentFormat::kOgg:
    case ContentFormat::kMp4:
    case ContentFormat::kMatroska:
    case ContentFormat::kAvi: return KindOfContainer(source);
  }
  return FileKind::kOther;
}

}  // namespace culet
