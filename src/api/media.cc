// The public Media: where its content is, nothing more.
#include "culet/media.h"

#include <utility>

#include "api/media_impl.h"
#include "base/error.h"
#include "media/recognize.h"

namespace culet {
namespace {

std::shared_ptr<Media::Impl> Make(MediaKind kind, std::string name) {
  auto impl = std::make_shared<Media::Impl>();
  impl->kind = kind;
  impl->name = name.empty() ? "the " + std::string(MediaKindName(kind)) : std::move(name);
  return impl;
}

}  // namespace

std::string_view MediaKindName(MediaKind kind) {
  switch (kind) {
    case MediaKind::kImage: return "image";
    case MediaKind::kAudio: return "audio";
    case MediaKind::kVideo: return "video";
  }
  return "image";
}

Media Media::File(MediaKind kind, std::filesystem::path path) try {
  auto impl = Make(kind, path.string());
  impl->path = std::move(path);
  return Media(std::move(impl));
} catch (...) {
  RethrowAsError();
}

Media Media::Bytes(MediaKind kind, std::string content, std::string name) try {
  auto impl = Make(kind, std::move(name));
  impl->content = std::move(content);
  return Media(std::move(impl));
} catch (...) {
  RethrowAsError();
}

Media Media::Pixels(std::span<const std::uint8_t> rgb, std::int64_t height, std::int64_t width,
                    std::string name) try {
  auto impl = Make(MediaKind::kImage, std::move(name));
  // 2^24: what a resize takes at most; their product fits 64 bits.
  constexpr std::int64_t kMostSide = std::int64_t{1} << 24;
  const bool sides = height >= 1 && width >= 1 && height <= kMostSide && width <= kMostSide;
  if (!sides || static_cast<std::int64_t>(rgb.size()) != height * width * 3) {
    throw Error(ErrorKind::kInvalidArgument,
                impl->name + ": " + std::to_string(rgb.size()) + " values for a height of " +
                    std::to_string(height) + " and a width of " + std::to_string(width) +
                    "; a picture is [height, width, 3], its sides 1 to 16777216");
  }
  impl->image.size = {height, width};
  impl->image.pixels.assign(rgb.begin(), rgb.end());
  return Media(std::move(impl));
} catch (...) {
  RethrowAsError();
}

Media Media::Samples(std::span<const float> samples, std::string name) try {
  auto impl = Make(MediaKind::kAudio, std::move(name));
  if (samples.empty()) {
    throw Error(ErrorKind::kInvalidArgument, impl->name + ": a sound without samples");
  }
  impl->samples.assign(samples.begin(), samples.end());
  return Media(std::move(impl));
} catch (...) {
  RethrowAsError();
}

Media Media::With(const MediaOptions& options) const try {
  Media medium = *this;
  medium.options_ = std::make_shared<const MediaOptions>(options);
  return medium;
} catch (...) {
  RethrowAsError();
}

std::optional<MediaKind> RecognizeMedia(const std::filesystem::path& path) try {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  MediaSource source = MediaSource::Open(path);
  switch (RecognizeFile(source)) {
    case FileKind::kOther: return std::nullopt;
    case FileKind::kPicture: return MediaKind::kImage;
    case FileKind::kSound: return MediaKind::kAudio;
    case FileKind::kClip: return MediaKind::kVideo;
  }
  return std::nullopt;
} catch (...) {
  RethrowAsError();
}

MediaKind Media::kind() const { return impl_->kind; }
const std::string& Media::name() const { return impl_->name; }

}  // namespace culet
