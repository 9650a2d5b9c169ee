#include "hub/partial_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace culet::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxListBytes = 16 << 20;
constexpr std::uint64_t kGivenUpBytes = 1 << 20;
constexpr int kListVersion = 1;

fs::path Beside(const fs::path& blob, const char* suffix) { return blob.string() + suffix; }

// The list of ranges; empty where there is none that can be believed: it must be for a file of that
// length, and the file must be long enough for it.
RangeSet ReadList(FileSystem& files, const fs::path& list, const fs::path& data,
                  std::uint64_t bytes) {
  RangeSet ranges;
  if (!files.Exists(list) || !files.Exists(data)) return ranges;
  try {
    const Json json = ParseJson(files.ReadFile(list, kMaxListBytes), list.string());
    if (json.at("version") != kListVersion || json.at("bytes") != bytes) return {};
    for (const Json& range : json.at("ranges")) {
      const std::uint64_t begin = range.at(0).get<std::uint64_t>();
      const std::uint64_t end = range.at(1).get<std::uint64_t>();
      if (begin >= end || end > bytes) return {};
      ranges.Add(begin, end);
    }
  } catch (const Json::exception&) {
    return {};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCorrupt) throw;
    return {};
  }
  if (files.Status(data, true).bytes < ranges.End()) return {};
  return ranges;
}

}  // namespace

void RangeSet::Add(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  auto first = std::find_if(ranges_.begin(), ranges_.end(),
                            [&](const auto& range) { return range.second >= begin; });
  auto last = first;
  while (last != ranges_.end() && last->first <= end) {
    begin = std::min(begin, last->first);
    end = std::max(end, last->second);
    ++last;
  }
  first = ranges_.erase(first, last);
  ranges_.insert(first, {begin, end});
}

void RangeSet::RemoveFrom(std::uint64_t begin) {
  while (!ranges_.empty() && ranges_.back().first >= begin) ranges_.pop_back();
  if (!ranges_.empty()) ranges_.back().second = std::min(ranges_.back().second, begin);
}

std::uint64_t RangeSet::Count() const {
  std::uint64_t count = 0;
  for (const auto& [begin, end] : ranges_) count += end - begin;
  return count;
}

std::uint64_t RangeSet::End() const { return ranges_.empty() ? 0 : ranges_.back().second; }

std::vector<std::pair<std::uint64_t, std::uint64_t>> RangeSet::Missing(std::uint64_t bytes,
                                                                       std::uint64_t most) const {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> missing;
  std::uint64_t at = 0;
  const auto gap = [&](std::uint64_t end) {
    for (; at < end; at = std::min(end, at + most)) {
      missing.emplace_back(at, std::min(end, at + most));
    }
  };
  for (const auto& [begin, end] : ranges_) {
    gap(std::min(begin, bytes));
    at = end;
  }
  gap(bytes);
  return missing;
}

PartialFile::PartialFile(FileSystem& files, const fs::path& blob, std::uint64_t bytes)
    : files_(files),
      blob_(blob),
      data_(Beside(blob, ".culet.incomplete")),
      list_(Beside(blob, ".culet.ranges")),
      bytes_(bytes) {
  ranges_ = ReadList(files, list_, data_, bytes);
  const fs::path beginning = Beside(blob, ".incomplete");
  if (ranges_.Count() == 0) {
    files.Remove(list_);  // first: it must never speak of another file's bytes
    files.Remove(data_);
    const FileStatus other = files.Status(beginning, false);
    if (other.kind == FileStatus::Kind::kFile && other.bytes > 0 && other.bytes <= bytes) {
      files.Rename(beginning, data_);
      ranges_.Add(0, other.bytes);
    }
  }
  file_ = files.Open(data_, OpenMode::kReadWrite);
  claimed_bytes_ = files.Exists(list_) ? ranges_.Count() : 0;
}

std::uint64_t PartialFile::BytesThere(FileSystem& files, const fs::path& blob,
                                      std::uint64_t bytes) {
  const RangeSet ranges =
      ReadList(files, Beside(blob, ".culet.ranges"), Beside(blob, ".culet.incomplete"), bytes);
  if (ranges.Count() > 0) return ranges.Count();
  const FileStatus other = files.Status(Beside(blob, ".incomplete"), false);
  return other.kind == FileStatus::Kind::kFile && other.bytes <= bytes ? other.bytes : 0;
}

void PartialFile::Write(std::uint64_t offset, std::span<const std::byte> data) {
  file_->WriteAt(offset, data);
  const std::lock_guard lock(mutex_);
  ranges_.Add(offset, offset + data.size());
}

RangeSet PartialFile::ranges() const {
  const std::lock_guard lock(mutex_);
  return ranges_;
}

void PartialFile::WriteList(const RangeSet& ranges) {
  Json list = Json::array();
  for (const auto& [begin, end] : ranges.ranges()) list.push_back({begin, end});
  const Json json = {{"version", kListVersion}, {"bytes", bytes_}, {"ranges", list}};
  files_.WriteFileAtomically(list_, json.dump());
  claimed_bytes_ = ranges.Count();
}

void PartialFile::Claim() {
  const RangeSet safe = ranges();
  if (safe.Count() == claimed_bytes_) return;
  file_->Sync();
  WriteList(safe);
}

void PartialFile::ClaimLast() {
  try {
    Claim();
  } catch (const Error& error) {
    RangeSet safe = ranges();
    if (error.kind() != ErrorKind::kResource || safe.End() <= kGivenUpBytes) throw;
    safe.RemoveFrom(safe.End() - kGivenUpBytes);
    file_->Resize(safe.End());
    file_->Sync();
    WriteList(safe);
    const std::lock_guard lock(mutex_);
    ranges_ = safe;
  }
}

void PartialFile::Reset() {
  files_.Remove(list_);
  file_->Resize(0);
  const std::lock_guard lock(mutex_);
  ranges_ = {};
  claimed_bytes_ = 0;
}

void PartialFile::Finish() {
  file_->Sync();
  files_.Rename(data_, blob_);
  files_.Remove(list_);
}

}  // namespace culet::hub
