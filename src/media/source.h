// Where the bytes of a medium come from: a file or memory. Only here is anything opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace culet {

class MediaSource {
 public:
  // A regular file; pipes and devices are refused, for they may never end: their bytes can be given
  // instead. Throws Error with the path (kNotFound, kIo, kInvalidArgument).
  static MediaSource Open(const std::filesystem::path& path,
                          FileSystem& files = FileSystem::Real());
  // Bytes that outlive this; `name` stands for them in messages.
  static MediaSource Of(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }

  // Fewer bytes than asked for only at the end. Throws Error(kIo).
  std::size_t ReadAt(std::uint64_t offset, std::span<std::byte> into);
  // The first bytes, as many as there are up to `count`.
  std::vector<std::byte> Head(std::size_t count);
  // Everything: a view of memory, or what was read into `buffer`.
  std::span<const std::byte> All(std::vector<std::byte>* buffer);

  // Throws Error(kind) with "NAME: text".
  [[noreturn]] void Refuse(ErrorKind kind, const std::string& text) const;
  // Throws Error(kResource): a library found no memory for what the file asks for. Damaged files
  // ask for as much as a number can say.
  [[noreturn]] void RefuseMemory() const;
  // Throws where there are no bytes, or more than `limit` of them. `what`: "picture", "sound".
  void RequireSize(std::uint64_t limit, const char* what) const;

 private:
  std::string name_;
  std::uint64_t size_ = 0;
  std::span<const std::byte> bytes_;
  std::unique_ptr<RandomFile> file_;  // else `bytes_`
};

}  // namespace culet
