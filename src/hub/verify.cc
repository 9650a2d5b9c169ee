#include "hub/verify.h"

#include "base/error.h"
#include "hub/hash.h"
#include "hub/reference.h"

namespace culet::hub {

namespace fs = std::filesystem;

std::vector<VerifiedFile> VerifyFolder(
    FileSystem& files, const fs::path& folder, const CancelCheck& cancelled,
    const std::function<void(const std::string&, std::uint64_t, std::uint64_t)>& on_progress) {
  std::vector<VerifiedFile> result;
  std::uint64_t all = 0;
  for (const std::string& name : files.List(folder)) {
    VerifiedFile file;
    file.name = name;
    file.path = folder / name;
    const FileStatus own = files.Status(file.path, false);
    if (own.kind == FileStatus::Kind::kFolder) continue;
    if (own.kind == FileStatus::Kind::kLink) {
      const fs::path target = (folder / files.ReadLink(file.path)).lexically_normal();
      const std::string hash = target.filename().string();
      if (IsHex(hash, 64) || IsHex(hash, 40)) {
        file.expected = hash;
        file.path = target;
      }
    }
    file.bytes = files.Status(file.path, true).bytes;
    if (!file.expected.empty()) all += file.bytes;
    result.push_back(std::move(file));
  }
  std::uint64_t before = 0;
  for (VerifiedFile& file : result) {
    if (file.expected.empty()) continue;
    const std::unique_ptr<RandomFile> open = files.Open(file.path, OpenMode::kRead);
    file.found = HashFile(HashKindOf(file.expected), *open, [&](std::uint64_t done) {
      if (cancelled && cancelled()) throw Cancelled();
      on_progress(file.name, before + done, all);
    });
    before += file.bytes;
  }
  return result;
}

}  // namespace culet::hub
