#include "cli/quantize_display.h"

#include <fmt/format.h>

#include <utility>

#include "cli/log.h"
#include "cli/sizes.h"
#include "culet/quantize.h"

namespace culet::cli {

std::function<void(std::string_view, double, double)> QuantizeDisplay::Callback() {
  return [this](std::string_view what, double done, double total) {
    if (InterruptGuard::Pending()) throw Interrupted();
    const bool bytes = what == "quantising";
    progress_.Show(done, total,
                   bytes ? fmt::format("of {}", FormatBytes(static_cast<std::uint64_t>(total)))
                         : fmt::format("({})", what));
  };
}

std::filesystem::path QuantizedPath(const std::filesystem::path& path, const std::string& quant,
                                    int threads) {
  if (quant.empty()) return path;
  QuantizeDisplay display;
  QuantizeOptions options;
  options.threads = threads;
  // Progress is what tells a copy that is made from one that is there.
  bool told = false;
  options.on_progress = [&, show = display.Callback()](std::string_view what, double done,
                                                       double total) {
    if (!std::exchange(told, true)) {
      Note(fmt::format("{} is written as {} into the cache, once", path.string(), quant));
    }
    show(what, done, total);
  };
  const std::filesystem::path copy = QuantizedCopy(path, quant, options);
  if (told) Note(fmt::format("the copy is {}", copy.string()));
  return copy;
}

}  // namespace culet::cli
