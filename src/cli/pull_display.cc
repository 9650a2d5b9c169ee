#include "cli/pull_display.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <deque>
#include <optional>

#include "base/error.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/output.h"
#include "cli/sizes.h"

namespace culet::cli {
namespace {

constexpr double kSpeedWindowMs = 5000;

std::string FormatTime(double seconds) {
  const long whole = std::lround(std::ceil(seconds));
  if (whole >= 3600)
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

class PullDisplay {
 public:
  void Show(const PullStatus& status) {
    const double now_ms = MillisecondsSinceStart();
    if (status.file != file_) {
      file_ = status.file;
      samples_.clear();
      begin_ms_ = now_ms;
      begun_ = status.file_done;
    }
    if (status.phase == PullStatus::Phase::kFileDone) {
      progress_.Clear();
      const double speed =
          Rate(static_cast<std::int64_t>(status.file_bytes - begun_), now_ms - begin_ms_);
      Note(fmt::format("{} is there: {}{}", status.file, FormatBytes(status.file_bytes),
                       begun_ < status.file_bytes && now_ms - begin_ms_ > 1000
                           ? ", " + FormatBytes(static_cast<std::uint64_t>(speed)) + "/s"
                           : ""));
      return;
    }
    const double done = static_cast<double>(status.done);
    const double all = static_cast<double>(status.bytes);
    if (status.phase == PullStatus::Phase::kChecking) {
      progress_.Show(done, all,
                     fmt::format("checking {} ({} of {})", status.file,
                                 FormatBytes(status.file_done), FormatBytes(status.file_bytes)));
      return;
    }
    samples_.emplace_back(now_ms, status.file_done);
    while (samples_.size() > 2 && now_ms - samples_.front().first > kSpeedWindowMs) {
      samples_.pop_front();
    }
    const double speed =
        status.file_done > samples_.front().second
            ? Rate(static_cast<std::int64_t>(status.file_done - samples_.front().second),
                   now_ms - samples_.front().first)
            : 0;
    std::string left;
    if (speed > 0) {
      left =
          fmt::format(", {}/s, {} left, {} in all", FormatBytes(static_cast<std::uint64_t>(speed)),
                      FormatTime(static_cast<double>(status.file_bytes - status.file_done) / speed),
                      FormatTime((all - done) / speed));
    }
    progress_.Show(done, all,
                   fmt::format("{} {} of {}{}", status.file, FormatBytes(status.file_done),
                               FormatBytes(status.file_bytes), left));
  }

  void Tell(const std::string& line) {
    progress_.Clear();
    Note(line);
  }
  void Clear() { progress_.Clear(); }

 private:
  Progress progress_{"fetching"};
  std::string file_;
  std::deque<std::pair<double, std::uint64_t>> samples_;  // ms, bytes of the file
  double begin_ms_ = 0;
  std::uint64_t begun_ = 0;
};

}  // namespace

bool AskYesNo(const std::string& question, bool otherwise) {
  for (;;) {
    fmt::print(stderr, "{} {} ", question, otherwise ? "[Y/n]" : "[y/N]");
    std::fflush(stderr);
    std::string line;
    char byte = 0;
    for (;;) {
      if (!InterruptGuard::WaitForInput()) throw Interrupted();
      const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) throw Interrupted();
      if (byte == '\n') break;
      line += byte;
    }
    if (line.empty()) return otherwise;
    if (line == "y" || line == "Y" || line == "yes") return true;
    if (line == "n" || line == "N" || line == "no") return false;
  }
}

PulledModel PullShown(const std::string& name, bool offline, bool ask, int connections) {
  const InterruptGuard interrupt;
  PullDisplay display;
  bool refused = false;
  PullSettings settings;
  settings.offline = offline;
  settings.connections = connections;
  settings.on_status = [&](const PullStatus& status) { display.Show(status); };
  settings.on_notice = [&](const std::string& line) { display.Tell(line); };
  settings.cancelled = [] { return InterruptGuard::Pending(); };
  settings.confirm = [&](const PullPreview& preview) {
    const bool rest = preview.missing_bytes < preview.bytes;
    Note(fmt::format("{} from {}: {}{} to fetch into {}", preview.model, preview.endpoint,
                     rest ? "the last " : "", FormatBytes(preview.missing_bytes),
                     preview.cache.string()) +
         (rest ? " (" + FormatBytes(preview.bytes) + " in all)" : ""));
    if (!ask || !StandardInputIsTerminal() || !StandardErrorIsTerminal()) return true;
    refused = !AskYesNo("Fetch it?", true);
    return !refused;
  };
  const std::optional<PulledModel> pulled = Pull(name, settings);
  display.Clear();
  if (pulled) return *pulled;
  if (!refused) {
    Note("stopped; what has come is kept, and `culet pull " + name + "` goes on from there");
  }
  throw Interrupted();
}

}  // namespace culet::cli
