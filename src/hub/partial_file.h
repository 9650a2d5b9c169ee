// A file that is being fetched: its bytes, and which of them are there. It goes on after a cut,
// also of the process or the machine.
//
// Beside the blob's name lie HASH.culet.incomplete, as long as what was written furthest, with
// holes, and HASH.culet.ranges, JSON of the ranges that are there: written only after the bytes
// themselves are safe on the disk. The name differs from huggingface_hub's HASH.incomplete on
// purpose: that package takes such a file for a beginning without holes and goes on at its end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"

namespace culet::hub {

// Ranges of bytes, [begin, end), sorted and apart.
class RangeSet {
 public:
  void Add(std::uint64_t begin, std::uint64_t end);
  void RemoveFrom(std::uint64_t begin);  // all at and behind it
  std::uint64_t Count() const;           // bytes
  std::uint64_t End() const;             // behind the last
  bool Covers(std::uint64_t bytes) const { return Count() == bytes && End() == bytes; }
  // What is missing of [0, bytes), in parts of at most `most`.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> Missing(std::uint64_t bytes,
                                                               std::uint64_t most) const;
  const std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges() const { return ranges_; }

 private:
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges_;
};

// Threads: Write and Claim may be called at the same time; ranges written must be apart.
class PartialFile {
 public:
  // Goes on with what is there of the blob, else with a beginning that huggingface_hub left, else
  // from nothing. The caller holds the blob's lock.
  PartialFile(FileSystem& files, const std::filesystem::path& blob, std::uint64_t bytes);

  void Write(std::uint64_t offset, std::span<const std::byte> data);
  RangeSet ranges() const;
  std::uint64_t have() const { return ranges().Count(); }
  // Makes sure of what was written so far: on the disk first, then in the list of ranges.
  void Claim();
  // The same at the end, when nobody writes any more: on a full disk a little at the end of the
  // file is given up to make room for the list.
  void ClaimLast();
  void Reset();  // all is wrong: from nothing again
  RandomFile& file() { return *file_; }
  // The bytes become the blob. They must be whole and right.
  void Finish();
  // What of a blob is there already, without opening it for writing.
  static std::uint64_t BytesThere(FileSystem& files, const std::filesystem::path& blob,
                                  std::uint64_t bytes);

 private:
  void WriteList(const RangeSet& ranges);

  FileSystem& files_;
  const std::filesystem::path blob_;
  const std::filesystem::path data_;
  const std::filesystem::path list_;
  const std::uint64_t bytes_;
  std::unique_ptr<RandomFile> file_;
  mutable std::mutex mutex_;
  RangeSet ranges_;  // guarded by mutex_
  std::uint64_t claimed_bytes_ = 0;
};

}  // namespace culet::hub
