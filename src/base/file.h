// Files: mapping, whole reads, atomic writes, behind a seam (FileSystem) that tests make fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace culet {

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

// The seam. Real() is the machine's; tests pass one whose n-th call fails.
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
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

}  // namespace culet
