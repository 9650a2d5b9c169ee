// Locks between processes, that end with the process that holds them.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "base/file.h"
#include "hub/clock.h"

namespace culet::hub {

// Held until destroyed. Waits while somebody else holds it, calling `on_wait` once before; throws
// Cancelled. The file stays: deleting it would race with others who wait on it.
class Lock {
 public:
  Lock(FileSystem& files, const std::filesystem::path& path, Clock& clock,
       const CancelCheck& cancelled, const std::function<void()>& on_wait);
  bool waited() const { return waited_; }

 private:
  std::unique_ptr<RandomFile> file_;
  bool waited_ = false;
};

}  // namespace culet::hub
