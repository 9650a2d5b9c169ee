#include "hub/fetch.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "hub/partial_file.h"

namespace culet::hub {
namespace {

constexpr int kTries = 5;
constexpr int kHashTries = 2;
constexpr std::uint64_t kSmallPieceBytes = 1 << 20;
constexpr double kClaimEveryS = 2;
constexpr auto kLookEvery = std::chrono::milliseconds(100);

struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// "bytes 0-99/1234".
struct ContentRange {
  std::uint64_t first = 0, last = 0, total = 0;
};

std::optional<ContentRange> ParseContentRange(const std::string& text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return std::nullopt;
  ContentRange range;
  const char* at = text.data() + kUnit.size();
  const char* end = text.data() + text.size();
  const auto number = [&](std::uint64_t* value, char behind) {
    const auto parsed = std::from_chars(at, end, *value);
    at = parsed.ptr;
    if (parsed.ec != std::errc()) return false;
    if (behind == '\0') return at == end;
    return at != end && *at++ == behind;
  };
  if (!number(&range.first, '-') || !number(&range.last, '/') || !number(&range.total, '\0')) {
    return std::nullopt;
  }
  return range;
}

// The answer is not what was asked for: another try, then an error.
struct WrongAnswer {
  std::string what;
};

// One go at a file, to the point where all its bytes are there. Threads: Run on the caller's, its
// workers within.
class Transfer {
 public:
  Transfer(const Client& client, PartialFile& partial, const RemoteFile& file,
           const std::string& repository, const std::string& url, const FetchOptions& options)
      : client_(client),
        partial_(partial),
        file_(file),
        repository_(repository),
        url_(url),
        options_(options) {}

  void Run(const std::function<void(const FetchProgress&)>& on_progress) {
    while (!partial_.ranges().Covers(file_.bytes)) {
      pieces_.clear();
      if (whole_) {
        // A server without ranges gives everything from the start, each time.
        pieces_.push_back({0, file_.bytes});
      } else {
        for (const auto& [begin, end] : partial_.ranges().Missing(file_.bytes, PieceBytes())) {
          pieces_.push_back({begin, end});
        }
      }
      RunWorkers(on_progress);
      if (error_) {
        try {
          partial_.ClaimLast();
        } catch (const Error&) {
          // The first error says more; an older list of ranges still stands.
        }
        std::rethrow_exception(error_);
      }
    }
  }

 private:
  std::uint64_t PieceBytes() const {
    const std::uint64_t share = file_.bytes / static_cast<std::uint64_t>(options_.connections) + 1;
    return std::min(options_.piece_bytes, std::max(share, kSmallPieceBytes));
  }

  void RunWorkers(const std::function<void(const FetchProgress&)>& on_progress) {
    const std::size_t count =
        std::min<std::size_t>(pieces_.size(), static_cast<std::size_t>(options_.connections));
    stop_ = false;
    running_ = count;
    std::vector<std::thread> workers;
    workers.reserve(count);
    try {
      for (std::size_t i = 0; i < count; ++i) workers.emplace_back([this] { Work(); });
      Watch(on_progress);
    } catch (...) {
      Fail(std::current_exception());
      // Threads that did not start do not end either.
      const std::lock_guard lock(mutex_);
      running_ -= count - workers.size();
    }
    for (std::thread& worker : workers) worker.join();
    TellNotices();
  }

  // Until all workers have ended: progress, Ctrl-C, and every two seconds a claim.
  void Watch(const std::function<void(const FetchProgress&)>& on_progress) {
    double last_claim_s = client_.clock().Seconds();
    std::unique_lock lock(mutex_);
    while (running_ > 0) {
      ended_.wait_for(lock, kLookEvery, [&] { return running_ == 0; });
      lock.unlock();
      if (client_.IsCancelled()) stop_ = true;
      TellNotices();
      on_progress({FetchProgress::Phase::kFetching, partial_.have()});
      const double now_s = client_.clock().Seconds();
      if (now_s - last_claim_s >= kClaimEveryS) {
        partial_.Claim();
        last_claim_s = client_.clock().Seconds();
      }
      lock.lock();
    }
    if (client_.IsCancelled() && !error_) error_ = std::make_exception_ptr(Cancelled());
  }

  void Work() {
    try {
      while (std::optional<Range> piece = NextPiece()) FetchPiece(*piece);
    } catch (...) {
      Fail(std::current_exception());
    }
    const std::lock_guard lock(mutex_);
    --running_;
    ended_.notify_all();
  }

  std::optional<Range> NextPiece() {
    const std::lock_guard lock(mutex_);
    if (stop_ || pieces_.empty()) return std::nullopt;
    const Range piece = pieces_.front();
    pieces_.pop_front();
    return piece;
  }

  void Fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    stop_ = true;
  }

  // Until the piece is there, or everybody stops.
  void FetchPiece(Range piece) {
    // Of its own: four connections that break at once have failed once, not four times.
    RetryPlan plan(client_.clock(), kTries, client_.settings().first_wait_s);
    bool ask_hub = false;  // and not the address that another piece was redirected to
    while (piece.begin < piece.end && !stop_) {
      if (whole_) piece.begin = 0;
      const std::string address = ask_hub ? url_ : Address();
      // A server without ranges begins anew each time: that alone is no progress.
      const auto reached = [&] { return whole_ ? partial_.have() : piece.begin; };
      const std::uint64_t before = reached();
      try {
        const Answer answer = TryPiece(&piece, address);
        if (stop_) return;
        if (piece.begin == piece.end) return;
        ask_hub = address != url_;
        // A signed address that is too old now, or used up by another piece: the hub gives a new
        // one, and only what that one answers counts.
        if (ask_hub) continue;
        Refuse(answer, &plan);
      } catch (const TransportError& error) {
        plan.Progress(reached() - before);
        Wait(&plan, std::nullopt, error.what(),
             [&](int tries) { client_.GiveUp(error, FileText(), tries); });
      } catch (const WrongAnswer& wrong) {
        plan.Progress(reached() - before);
        Wait(&plan, std::nullopt, wrong.what, [&](int tries) {
          throw Error(ErrorKind::kCorrupt, FileText() + ": " + wrong.what + " (" +
                                               std::to_string(tries) +
                                               " tries). The hub or something on the way is "
                                               "broken; try again later: what has come is kept");
        });
      }
    }
  }

  // An answer that is no content: waits where another try may help, else throws.
  void Refuse(const Answer& answer, RetryPlan* plan) {
    const int status = answer.response.status;
    const std::string place = answer.url.ForMessages();
    const bool redirected = CameFromElsewhere(answer.url);
    if (Client::WorthRetrying(status) || (redirected && status >= 400)) {
      // What a redirect led to may have been a signed address that is too old now: the hub gives a
      // new one.
      Wait(plan, client_.RetryAfter(answer.response), "the server answers " + StatusText(status),
           [&](int tries) { client_.GiveUp(answer.response, place, tries); });
      return;
    }
    if (status == 416) {
      throw Error(ErrorKind::kCorrupt,
                  FileText() +
                      ": the server has no bytes where the hub's list says that there are " +
                      std::to_string(file_.bytes) + " (" + place + ": " + StatusText(status) +
                      "). Try again later: what has come is kept");
    }
    client_.Refused(answer.response, place, repository_, repository_ + "/" + file_.name);
  }

  template <typename GiveUp>
  void Wait(RetryPlan* plan, std::optional<double> asked_s, const std::string& reason,
            const GiveUp& give_up) {
    const std::optional<double> wait = plan->Next(asked_s);
    if (!wait) give_up(plan->failures());
    {
      const std::lock_guard lock(mutex_);
      notices_.push_back(file_.name + ": " + reason + "; going on in " +
                         std::to_string(static_cast<int>(*wait + 0.999)) + " s");
    }
    try {
      client_.clock().Sleep(*wait, [this] { return stop_.load(); });
    } catch (const Cancelled&) {  // by us: the first error counts
    }
  }

  // One exchange with `address`; moves piece->begin over what came.
  Answer TryPiece(Range* piece, const std::string& address) {
    const bool everything = piece->begin == 0 && piece->end == file_.bytes;
    HttpRequest request;
    request.url = address;
    if (!everything && !whole_) {
      request.headers.emplace_back(
          "Range", "bytes=" + std::to_string(piece->begin) + "-" + std::to_string(piece->end - 1));
    }
    const bool ranged = !request.headers.empty();
    bool content = false;
    request.on_head = [&](const HttpResponse& response) {
      content = IsContent(response, *piece, ranged);
      return content;
    };
    request.on_body = [&](std::span<const std::byte> bytes) {
      // What comes beyond the piece is nobody's: the hash tells whether the file is right.
      bytes = bytes.first(std::min<std::uint64_t>(bytes.size(), piece->end - piece->begin));
      partial_.Write(piece->begin, bytes);
      piece->begin += bytes.size();
      return piece->begin < piece->end;
    };
    request.cancelled = [this] { return stop_.load(); };
    Answer answer;
    try {
      answer = client_.Exchange(request);
    } catch (const Cancelled&) {
      return {};  // stopped: nobody looks at it
    } catch (...) {
      ForgetAddress();
      throw;
    }
    if (content && piece->begin < piece->end) throw WrongAnswer{"the answer ends too early"};
    if (content) {
      KeepAddress(answer.url);
    } else {
      ForgetAddress();
    }
    return answer;
  }

  // Whether the body is what was asked for. Throws WrongAnswer where the server contradicts itself
  // or the hub's list.
  bool IsContent(const HttpResponse& response, const Range& piece, bool ranged) {
    if (response.status == 206 && ranged) {
      const std::string* header = response.Header("content-range");
      const auto range = header == nullptr ? std::nullopt : ParseContentRange(*header);
      if (!range || range->first != piece.begin || range->last >= piece.end ||
          range->last < range->first || range->total != file_.bytes) {
        throw WrongAnswer{"bytes " + std::to_string(piece.begin) + "-" +
                          std::to_string(piece.end - 1) + "/" + std::to_string(file_.bytes) +
                          " were asked for, " + (header == nullptr ? "others" : *header) + " came"};
      }
      return true;
    }
    if (response.status != 200) return false;
    if (ranged) {
      // It ignores ranges: everybody stops, and one connection takes the whole.
      whole_ = true;
      stop_ = true;
      return false;
    }
    const std::string* length = response.Header("content-length");
    if (length != nullptr && *length != std::to_string(file_.bytes)) {
      throw WrongAnswer{"the server gives " + length->substr(0, 20) +
                        " bytes, the hub's list says " + std::to_string(file_.bytes)};
    }
    return true;
  }

  // The address that the hub last redirected to, so that not each piece asks it anew.
  std::string Address() {
    const std::lock_guard lock(mutex_);
    return address_.empty() ? url_ : address_;
  }
  void KeepAddress(const Url& url) {
    const std::lock_guard lock(mutex_);
    address_ = url.text();
  }
  void ForgetAddress() {
    const std::lock_guard lock(mutex_);
    address_.clear();
  }
  // Than from the hub's own address of the file.
  bool CameFromElsewhere(const Url& answered) const {
    const std::optional<Url> own = Url::Parse(url_);
    return own && own->text() != answered.text();
  }

  void TellNotices() {
    std::vector<std::string> notices;
    {
      const std::lock_guard lock(mutex_);
      notices.swap(notices_);
    }
    for (const std::string& notice : notices) client_.Tell(notice);
  }

  std::string FileText() const { return repository_ + "/" + file_.name; }

  const Client& client_;
  PartialFile& partial_;
  const RemoteFile& file_;
  const std::string& repository_;
  const std::string& url_;
  const FetchOptions options_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> whole_ = false;

  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t running_ = 0;  // guarded by mutex_, as are all below
  std::deque<Range> pieces_;
  std::exception_ptr error_;
  std::vector<std::string> notices_;
  std::string address_;
};

}  // namespace

void FetchFile(const Client& client, FileSystem& files, const RemoteFile& file,
               const std::string& repository, const std::string& url,
               const std::filesystem::path& blob, const FetchOptions& options,
               const std::function<void(const FetchProgress&)>& on_progress) {
  PartialFile partial(files, blob, file.bytes);
  for (int attempt = 1;; ++attempt) {
    Transfer(client, partial, file, repository, url, options).Run(on_progress);
    const std::string found = HashFile(file.hash_kind, partial.file(), [&](std::uint64_t done) {
      if (client.IsCancelled()) {
        partial.ClaimLast();
        throw Cancelled();
      }
      on_progress({FetchProgress::Phase::kChecking, done});
    });
    if (found == file.hash) break;
    partial.Reset();
    const std::string what = repository + "/" + file.name + ": what came has the hash " + found +
                             ", the hub's list says " + file.hash;
    if (attempt == kHashTries) {
      throw Error(ErrorKind::kCorrupt,
                  what + " (fetched " + std::to_string(kHashTries) +
                      " times). It was thrown away. The hub or something on the way changes it; "
                      "try again later or from another network");
    }
    client.Tell(what + "; thrown away, fetching it once more");
  }
  partial.Finish();
}

}  // namespace culet::hub
