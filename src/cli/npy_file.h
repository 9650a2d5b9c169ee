// NumPy's file format, for one matrix written row by row.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "base/file.h"

namespace culet::cli {

// float32 [rows, columns], C order. The file appears with Commit(). Throws Error(kIo).
class NpyFile {
 public:
  NpyFile(const std::filesystem::path& path, std::int64_t rows, std::int64_t columns);
  void Write(std::span<const float> values);
  void Commit() { file_.Commit(); }

 private:
  AtomicFile file_;
};

}  // namespace culet::cli
