// Files of a model folder that are not on any disk.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"

namespace culet::fuzz {

// Every path that is not one of the files is missing; the folder of any file is a folder.
class MemoryFiles : public FileSystem {
 public:
  void Add(const std::filesystem::path& path, std::string_view content) {
    files_[path.string()] = content;
  }
  bool Exists(const std::filesystem::path& path) override {
    return files_.count(path.string()) != 0 || IsDirectory(path);
  }
  bool IsDirectory(const std::filesystem::path& path) override {
    for (const auto& [name, content] : files_) {
      if (std::filesystem::path(name).parent_path() == path) return true;
    }
    return false;
  }
  std::string ReadFile(const std::filesystem::path& path, std::uint64_t max_bytes) override {
    const std::string_view content = Find(path);
    if (content.size() > max_bytes) throw Error(ErrorKind::kCorrupt, path.string() + ": too long");
    return std::string(content);
  }
  MappedFile Map(const std::filesystem::path& path) override {
    const std::string_view content = Find(path);
    const int descriptor = ::memfd_create("culet-fuzz", MFD_CLOEXEC);
    if (descriptor < 0 || ::write(descriptor, content.data(), content.size()) !=
                              static_cast<ssize_t>(content.size())) {
      std::abort();
    }
    MappedFile map = MappedFile::Open("/proc/self/fd/" + std::to_string(descriptor));
    ::close(descriptor);
    return map;
  }

 private:
  std::string_view Find(const std::filesystem::path& path) const {
    const auto found = files_.find(path.string());
    if (found == files_.end()) throw Error(ErrorKind::kNotFound, path.string() + ": no such file");
    return found->second;
  }

  std::map<std::string, std::string_view> files_;
};

}  // namespace culet::fuzz
