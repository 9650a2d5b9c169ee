#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

// Closes on scope exit.
struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

std::uint64_t OpenRegular(const fs::path& path, Descriptor* file) {
  file->value = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file->value < 0) ThrowFileError("open", path, errno);
  struct stat status {};
  if (::fstat(file->value, &status) != 0) ThrowFileError("read the size of", path, errno);
  if (S_ISDIR(status.st_mode)) {
    throw Error(ErrorKind::kIo, path.string() + ": is a folder; a file is expected");
  }
  return static_cast<std::uint64_t>(status.st_size);
}

void Advise(const std::byte* data, std::uint64_t size, std::uint64_t offset, std::uint64_t length,
            int advice) {
  if (data == nullptr || offset >= size) return;
  if (length > size - offset) length = size - offset;
  const std::uint64_t page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t start = offset / page * page;
  // Only a hint: a failure changes speed, never results.
  (void)::madvise(const_cast<std::byte*>(data) + start, length + (offset - start), advice);
}

}  // namespace

void ThrowFileError(const char* action, const fs::path& path, int error_number) {
  ErrorKind kind = ErrorKind::kIo;
  if (error_number == ENOENT || error_number == ENOTDIR) kind = ErrorKind::kNotFound;
  if (error_number == ENOSPC || error_number == EDQUOT) kind = ErrorKind::kResource;
  throw Error(kind, path.string() + ": cannot " + action + ": " + ErrnoText(error_number));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile MappedFile::Open(const fs::path& path) {
  Descriptor file;
  MappedFile map;
  map.size_ = OpenRegular(path, &file);
  map.path_ = path;
  if (map.size_ == 0) return map;  // mmap refuses empty files; the parser names what is missing
  void* data = ::mmap(nullptr, map.size_, PROT_READ, MAP_SHARED, file.value, 0);
  if (data == MAP_FAILED) {
    map.size_ = 0;
    ThrowFileError("map", path, errno);
  }
  map.data_ = static_cast<const std::byte*>(data);
  return map;
}

void MappedFile::WillNeed(std::uint64_t offset, std::uint64_t length) const {
  Advise(data_, size_, offset, length, MADV_WILLNEED);
}
void MappedFile::DontNeed(std::uint64_t offset, std::uint64_t length) const {
  Advise(data_, size_, offset, length, MADV_DONTNEED);
}
void MappedFile::RandomAccess(std::uint64_t offset, std::uint64_t length) const {
  Advise(data_, size_, offset, length, MADV_RANDOM);
}

bool FileSystem::Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool FileSystem::IsDirectory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string FileSystem::ReadFile(const fs::path& path, std::uint64_t max_bytes) {
  Descriptor file;
  const std::uint64_t size = OpenRegular(path, &file);
  if (size > max_bytes) {
    throw Error(ErrorKind::kCorrupt, path.string() + ": " + std::to_string(size) +
                                         " bytes; at most " + std::to_string(max_bytes) +
                                         " are read from such a file");
  }
  std::string content;
  // Read to the end rather than `size` bytes: pipes and /proc files say 0.
  char buffer[65536];
  for (;;) {
    const ssize_t count = ::read(file.value, buffer, sizeof buffer);
    if (count == 0) return content;
    if (count < 0) {
      if (errno == EINTR) continue;
      ThrowFileError("read", path, errno);
    }
    content.append(buffer, static_cast<std::size_t>(count));
    if (content.size() > max_bytes) {
      throw Error(ErrorKind::kCorrupt, path.string() + ": longer than the " +
                                           std::to_string(max_bytes) +
                                           " bytes that are read from such a file");
    }
  }
}

MappedFile FileSystem::Map(const fs::path& path) { return MappedFile::Open(path); }

void FileSystem::WriteFileAtomically(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.Write(content);
  file.Commit();
}

FileSystem& FileSystem::Real() {
  static FileSystem real;
  return real;
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  std::error_code ignored;
  // A link stays, and what it leads to is written.
  if (fs::is_symlink(fs::symlink_status(path_, ignored))) {
    const fs::path target = fs::weakly_canonical(path_, ignored);
    if (!target.empty()) path_ = target;
  }
  const fs::file_status status = fs::status(path_, ignored);
  if (fs::is_directory(status)) {
    throw Error(ErrorKind::kIo, path_.string() + ": is a folder; name a file in it");
  }
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    // A pipe or a device must not be replaced by a file: it is written as the bytes come.
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) ThrowFileError("write", path_, errno);
    return;
  }
  // Named in the member itself: once the file is there, nothing may fail that would forget it.
  temporary_ = path_.string() + ".partial-XXXXXX";
  descriptor_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
  if (descriptor_ < 0) ThrowFileError("write", path_, errno);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  (void)::fchmod(descriptor_, 0666 & ~mask);  // mkostemp makes it 0600
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      ThrowFileError("write", path_, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void AtomicFile::Commit() {
  const bool direct = temporary_.empty();
  if (!direct && ::fsync(descriptor_) != 0) ThrowFileError("write", path_, errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) ThrowFileError("write", path_, errno);
  if (direct) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    ThrowFileError("rename into place", path_, errno);
  temporary_.clear();
}

}  // namespace culet
