// What the seam for files does on the machine beyond whole reads and writes: files written at any
// place, folders, links, locks.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

class MachineFile : public RandomFile {
 public:
  MachineFile(fs::path path, OpenMode mode) : path_(std::move(path)) {
    const int flags = mode == OpenMode::kRead ? O_RDONLY : O_RDWR | O_CREAT;
    do {
      descriptor_ = ::open(path_.c_str(), flags | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) ThrowFileError("open", path_, errno);
  }
  ~MachineFile() override { ::close(descriptor_); }
  MachineFile(const MachineFile&) = delete;
  MachineFile& operator=(const MachineFile&) = delete;

  std::uint64_t Size() override {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) ThrowFileError("read the size of", path_, errno);
    return static_cast<std::uint64_t>(status.st_size);
  }

  std::size_t ReadAt(std::uint64_t offset, std::span<std::byte> into) override {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t count = ::pread(descriptor_, into.data() + done, into.size() - done,
                                    static_cast<off_t>(offset + done));
      if (count == 0) break;
      if (count > 0) {
        done += static_cast<std::size_t>(count);
      } else if (errno != EINTR) {
        ThrowFileError("read", path_, errno);
      }
    }
    return done;
  }

  void WriteAt(std::uint64_t offset, std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t count =
          ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (count >= 0) {
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
      } else if (errno != EINTR) {
        ThrowFileError("write", path_, errno);
      }
    }
  }

  void Resize(std::uint64_t bytes) override {
    if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) {
      ThrowFileError("change the size of", path_, errno);
    }
  }

  void Sync() override {
    if (::fsync(descriptor_) != 0) ThrowFileError("write", path_, errno);
  }

  bool TryLock() override {
    while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return false;
      if (errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOLCK) return true;
      if (errno != EINTR) ThrowFileError("lock", path_, errno);
    }
    struct stat mine {};
    struct stat named {};
    return ::fstat(descriptor_, &mine) == 0 && ::stat(path_.c_str(), &named) == 0 &&
           mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
  }

 private:
  fs::path path_;
  int descriptor_ = -1;
};

FileStatus::Kind KindOf(mode_t mode) {
  if (S_ISREG(mode)) return FileStatus::Kind::kFile;
  if (S_ISDIR(mode)) return FileStatus::Kind::kFolder;
  if (S_ISLNK(mode)) return FileStatus::Kind::kLink;
  return FileStatus::Kind::kOther;
}

}  // namespace

std::unique_ptr<RandomFile> FileSystem::Open(const fs::path& path, OpenMode mode) {
  return std::make_unique<MachineFile>(path, mode);
}

FileStatus FileSystem::Status(const fs::path& path, bool follow) {
  struct stat status {};
  const int result = follow ? ::stat(path.c_str(), &status) : ::lstat(path.c_str(), &status);
  if (result != 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return {};
    ThrowFileError("look at", path, errno);
  }
  FileStatus found;
  found.kind = KindOf(status.st_mode);
  found.bytes = static_cast<std::uint64_t>(status.st_size);
  found.disk_bytes = static_cast<std::uint64_t>(status.st_blocks) * 512;  // POSIX's unit
  found.modified_s = status.st_mtim.tv_sec;
  found.accessed_s = status.st_atim.tv_sec;
  return found;
}

std::vector<std::string> FileSystem::List(const fs::path& folder) {
  std::vector<std::string> names;
  DIR* handle = ::opendir(folder.c_str());
  if (handle == nullptr) {
    if (errno == ENOENT || errno == ENOTDIR) return names;
    ThrowFileError("list", folder, errno);
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> closing(handle, ::closedir);
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(handle);
    if (entry == nullptr) {
      if (errno != 0) ThrowFileError("list", folder, errno);
      break;
    }
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

void FileSystem::CreateFolders(const fs::path& folder) {
  std::error_code error;
  std::error_code ignored;
  fs::create_directories(folder, error);
  if (error && !fs::is_directory(folder, ignored)) ThrowFileError("create", folder, error.value());
}

bool FileSystem::CreateLink(const fs::path& target, const fs::path& link) {
  if (::symlink(target.c_str(), link.c_str()) == 0) return true;
  if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) return false;
  ThrowFileError("create the link", link, errno);
}

fs::path FileSystem::ReadLink(const fs::path& link) {
  std::error_code error;
  fs::path target = fs::read_symlink(link, error);
  if (error) ThrowFileError("read the link", link, error.value());
  return target;
}

void FileSystem::Rename(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) ThrowFileError("rename into place", to, errno);
}

void FileSystem::Remove(const fs::path& path) {
  if (::remove(path.c_str()) != 0 && errno != ENOENT) ThrowFileError("delete", path, errno);
}

std::uint64_t FileSystem::FreeBytes(const fs::path& path) {
  fs::path place = path;
  for (;;) {
    struct statvfs status {};
    if (::statvfs(place.c_str(), &status) == 0) {
      return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
    }
    if ((errno != ENOENT && errno != ENOTDIR) || place == "/" || place == ".") {
      ThrowFileError("read the free space of", place, errno);
    }
    place = place.has_parent_path() ? place.parent_path() : fs::path(".");
  }
}

}  // namespace culet
