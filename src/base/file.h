// Files: mapping, whole reads, atomic writes, behind a seam (FileSystem) that tests make fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culet {

// Throws the Error of a call that failed with `error_number`: kNotFound where nothing is there,
// kResource where the disk is full, else kIo. "PATH: cannot ACTION: No such file or directory".
[[noreturn]] void ThrowFileError(const char* action, const std::filesystem::path& path,
                                 int error_number);

// A read-only mapping of a whole file. Moved, never copied. Pages are read by the system on first
// touch. Thread-safe for reading. A file cut by somebody else while it is mapped faults (SIGBUS):
// the caller's files are trusted not to shrink while a model is open.
class MappedFile {
 public:
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  // Throws Error (kNotFound, kIo) with the path.
  static MappedFile Open(const std::filesystem::path& path);

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

  // Hint: these bytes are wanted soon (starts reading in the background) or no longer.
  void WillNeed(std::uint64_t offset, std::uint64_t length) const;
  void DontNeed(std::uint64_t offset, std::uint64_t length) const;
  // Hint: this range is read in random places; the system shall not read ahead.
  void RandomAccess(std::uint64_t offset, std::uint64_t length) const;

 private:
  const std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  std::filesystem::path path_;
};

// A file that is read and written at any place. Threads: ReadAt and WriteAt at the same time are
// fine where their ranges differ. Every function throws Error with the path (kResource: disk full).
class RandomFile {
 public:
  virtual ~RandomFile() = default;
  virtual std::uint64_t Size() = 0;
  // Fewer bytes than asked for only at the end of the file.
  virtual std::size_t ReadAt(std::uint64_t offset, std::span<std::byte> into) = 0;
  virtual void WriteAt(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  virtual void Resize(std::uint64_t bytes) = 0;
  // On return what was written survives a loss of power.
  virtual void Sync() = 0;
  // Locks the file against other open files of the same name, in this process and others, until
  // this one is closed or its process ends; false where it is held. The name must still lead to
  // this very file afterwards, so that a lock file may be deleted. Where the file system has no
  // locks it is true: there is nothing to wait for.
  virtual bool TryLock() = 0;
};

enum class OpenMode { kRead, kReadWrite };  // kReadWrite makes the file where there is none

// What a name stands for.
struct FileStatus {
  enum class Kind { kMissing, kFile, kFolder, kLink, kOther };
  Kind kind = Kind::kMissing;
  std::uint64_t bytes = 0;       // as a reader sees them
  std::uint64_t disk_bytes = 0;  // as the disk holds them: less where the file has holes
  std::int64_t modified_s = 0;   // seconds since 1970
  std::int64_t accessed_s = 0;
};

// The seam. Real() is the machine's; tests pass one whose n-th call fails. Functions throw Error.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual bool Exists(const std::filesystem::path& path);
  virtual bool IsDirectory(const std::filesystem::path& path);
  // The whole file; throws Error, also when it is larger than `max_bytes` (named in the message).
  virtual std::string ReadFile(const std::filesystem::path& path, std::uint64_t max_bytes);
  virtual MappedFile Map(const std::filesystem::path& path);
  // Writes beside `path` and renames, so that a reader sees the old file or the new one, and a
  // failure leaves nothing behind. Throws Error.
  virtual void WriteFileAtomically(const std::filesystem::path& path, std::string_view content);

  virtual std::unique_ptr<RandomFile> Open(const std::filesystem::path& path, OpenMode mode);
  // kMissing where there is nothing. `follow`: of what a link leads to, not of the link.
  virtual FileStatus Status(const std::filesystem::path& path, bool follow);
  // Names in a folder, sorted; none where there is no such folder.
  virtual std::vector<std::string> List(const std::filesystem::path& folder);
  virtual void CreateFolders(const std::filesystem::path& folder);  // with those above it
  // False where the file system has no links.
  virtual bool CreateLink(const std::filesystem::path& target, const std::filesystem::path& link);
  virtual std::filesystem::path ReadLink(const std::filesystem::path& link);
  virtual void Rename(const std::filesystem::path& from, const std::filesystem::path& to);
  // A file, link or empty folder; nothing where there is none.
  virtual void Remove(const std::filesystem::path& path);
  // Bytes that this user may still write where `path` lies or would lie.
  virtual std::uint64_t FreeBytes(const std::filesystem::path& path);

  static FileSystem& Real();
};

// A file written piece by piece beside its name and renamed by Commit(); without Commit the
// destructor removes what was written. A link is followed; a pipe or device is written directly.
// Throws Error on every failure (disk full, no rights).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text) { Write(std::as_bytes(std::span(text.data(), text.size()))); }
  void Commit();

 private:
  std::filesystem::path path_;
  std::string temporary_;  // its name; empty: `path_` is written directly
  int descriptor_ = -1;
};

}  // namespace culet
