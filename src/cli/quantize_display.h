// Quantising as its user sees it: progress, and Ctrl-C that leaves nothing behind.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "cli/interrupt.h"
#include "cli/output.h"

namespace culet::cli {

class QuantizeDisplay {
 public:
  // For QuantizeOptions::on_progress; valid while this lives. Throws Interrupted.
  std::function<void(std::string_view what, double done, double total)> Callback();

 private:
  InterruptGuard interrupt_;
  Progress progress_{"quantising"};
};

// What `path` is to be opened as where `quant` ("int8", "int4") is asked for: a copy in the cache,
// made now, and said so, where it is not there. `path` itself where `quant` is empty. Throws Error,
// Interrupted.
std::filesystem::path QuantizedPath(const std::filesystem::path& path, const std::string& quant,
                                    int threads);

}  // namespace culet::cli
