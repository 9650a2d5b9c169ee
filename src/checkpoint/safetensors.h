// safetensors: 8 bytes header length, JSON header, data. Mapped, never read whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"

namespace culet {

// A tensor where it lies in a mapped file.
struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  // dense, row-major
  const MappedFile* file = nullptr;  // owner of bytes; for madvise and messages
  std::uint64_t file_offset = 0;     // of bytes in *file

  std::int64_t elements() const;
};

// One file. Every header length, offset, size and overlap is checked before this returns.
class SafetensorsFile {
 public:
  static SafetensorsFile Open(FileSystem& files, const std::filesystem::path& path);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_->path(); }

 private:
  std::unique_ptr<MappedFile> file_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes a safetensors file in pieces: declare every tensor first, then append data in that order.
// Nothing is visible under `path` until Finish(). Throws Error on every failure.
class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<std::int64_t> shape;
  };
  SafetensorsWriter(const std::filesystem::path& path, std::span<const Entry> entries,
                    const std::map<std::string, std::string>& metadata = {});
  ~SafetensorsWriter();
  void Append(std::span<const std::byte> bytes);
  // Throws Error(kInternal) if fewer bytes were appended than declared.
  void Finish();

 private:
  AtomicFile file_;
  std::uint64_t expected_bytes_ = 0;
  std::uint64_t written_bytes_ = 0;
};

}  // namespace culet
