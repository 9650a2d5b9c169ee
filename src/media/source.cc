#include "media/source.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace culet {

MediaSource MediaSource::Open(const std::filesystem::path& path, FileSystem& files) {
  MediaSource source;
  source.name_ = path.string();
  const FileStatus status = files.Status(path, /*follow=*/true);
  switch (status.kind) {
    case FileStatus::Kind::kMissing: source.Refuse(ErrorKind::kNotFound, "no such file");
    case FileStatus::Kind::kFolder:
      source.Refuse(ErrorKind::kInvalidArgument, "is a folder; a file is expected");
    case FileStatus::Kind::kLink:
    case FileStatus::Kind::kOther:
      source.Refuse(ErrorKind::kInvalidArgument,
                    "is not a regular file but a pipe or device, which may never end; save it to a "
                    "file first, or give its bytes");
    case FileStatus::Kind::kFile: break;
  }
  source.file_ = files.Open(path, OpenMode::kRead);
  source.size_ = source.file_->Size();
  return source;
}

MediaSource MediaSource::Of(std::span<const std::byte> bytes, std::string name) {
  MediaSource source;
  source.name_ = std::move(name);
  source.bytes_ = bytes;
  source.size_ = bytes.size();
  return source;
}

std::size_t MediaSource::ReadAt(std::uint64_t offset, std::span<std::byte> into) {
  if (file_) return file_->ReadAt(offset, into);
  if (offset >= size_) return 0;
  const std::size_t count =
      static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), size_ - offset));
  std::memcpy(into.data(), bytes_.data() + offset, count);
  return count;
}

std::vector<std::byte> MediaSource::Head(std::size_t count) {
  std::vector<std::byte> head(static_cast<std::size_t>(std::min<std::uint64_t>(count, size_)));
  head.resize(ReadAt(0, head));
  return head;
}

std::span<const std::byte> MediaSource::All(std::vector<std::byte>* buffer) {
  if (!file_) return bytes_;
  buffer->resize(static_cast<std::size_t>(size_));
  buffer->resize(ReadAt(0, *buffer));
  return *buffer;
}

void MediaSource::Refuse(ErrorKind kind, const std::string& text) const {
  throw Error(kind, name_ + ": " + text);
}

void MediaSource::RefuseMemory() const {
  Refuse(ErrorKind::kResource,
         "asks for more memory than can be had: it is damaged, or too large for this machine");
}

void MediaSource::RequireSize(std::uint64_t limit, const char* what) const {
  if (size_ == 0) {
    Refuse(ErrorKind::kCorrupt, std::string("is empty; a ") + what + " is expected");
  }
  if (size_ > limit) {
    Refuse(ErrorKind::kResource, "has " + std::to_string(size_) + " bytes; a " + what +
                                     " may have " + std::to_string(limit) +
                                     ". Make it smaller, or raise the limit");
  }
}

}  // namespace culet
