#include "hub/lock.h"

namespace culet::hub {

Lock::Lock(FileSystem& files, const std::filesystem::path& path, Clock& clock,
           const CancelCheck& cancelled, const std::function<void()>& on_wait) {
  for (;;) {
    // Opened anew each time: whoever held it may have deleted the name.
    file_ = files.Open(path, OpenMode::kReadWrite);
    if (file_->TryLock()) return;
    if (!waited_) on_wait();
    waited_ = true;
    clock.Sleep(0.2, cancelled);
  }
}

}  // namespace culet::hub
