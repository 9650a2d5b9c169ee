// Requests to the hub: redirects, the access token, retries, and what an answer's status means.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "hub/clock.h"
#include "hub/settings.h"
#include "hub/transport.h"
#include "hub/url.h"

namespace culet::hub {

// Called with one line for the user: "the server answers 503; next try in 2 s".
using Notice = std::function<void(const std::string&)>;

// Waits between tries: `first_wait_s`, doubled each time up to 30 s, with jitter; a tenth of a
// second at most after progress; as long as the server asks for where it does (Retry-After), if
// that is five minutes at most. Bounded: `tries` in a row without progress, and with progress no
// more than twenty and one for each MiB that came.
class RetryPlan {
 public:
  RetryPlan(Clock& clock, int tries, double first_wait_s = 0.5)
      : clock_(clock), tries_(tries), first_wait_s_(first_wait_s) {}
  void Progress(std::uint64_t bytes);
  // The seconds to wait; nothing where it is time to give up. `asked_s`: what the server asks for.
  std::optional<double> Next(std::optional<double> asked_s);
  int failures() const { return failures_; }

 private:
  Clock& clock_;
  const int tries_;
  const double first_wait_s_;
  int failures_ = 0;
  int in_a_row_ = 0;
  bool gave_ = false;  // since the last failure
  std::uint64_t received_ = 0;
};

// What one exchange, redirects followed, came to.
struct Answer {
  HttpResponse response;
  Url url;  // that answered
};

// Threads: several may call at once.
class Client {
 public:
  Client(const Settings& settings, Transport& transport, Clock& clock, CancelCheck cancelled,
         Notice notice);

  const Settings& settings() const { return settings_; }
  Clock& clock() const { return clock_; }

  // One try. Redirects are followed, ten at most and never from https to http; the token goes to
  // the hub's own scheme, host and port alone. Callbacks see only the answer that is no redirect.
  // Throws TransportError, Cancelled, Error, and what the callbacks throw.
  Answer Exchange(const HttpRequest& request) const;

  // GET with retries, its body whole in memory, at most `max_bytes` (else Error(kCorrupt)). Answers
  // other than 200 come back too, but those that stay worth a retry: they throw.
  Answer Get(const std::string& url, std::uint64_t max_bytes, std::string* body) const;
  // HEAD with retries. Redirects are followed within the hub alone: the headers of one that leads
  // elsewhere speak of the file.
  Answer Head(const std::string& url) const;

  static bool WorthRetrying(int status);
  // Seconds of a Retry-After header, a number or a date; nothing where there is none.
  std::optional<double> RetryAfter(const HttpResponse& response) const;
  void Tell(const std::string& line) const;
  bool IsCancelled() const { return cancelled_ && cancelled_(); }
  const CancelCheck& cancelled() const { return cancelled_; }

  // The end of patience with a connection or a status, as an Error with what to do.
  [[noreturn]] void GiveUp(const TransportError& error, const std::string& place, int tries) const;
  [[noreturn]] void GiveUp(const HttpResponse& response, const std::string& place, int tries) const;
  // 401, 403, 404 and other refusals to give `what` ("google/x", "google/x at v2") at `url`.
  [[noreturn]] void Refused(const HttpResponse& response, const std::string& place,
                            const std::string& repository, const std::string& what) const;

 private:
  enum class Follow { kEverywhere, kWithinTheHub };
  Answer Try(const HttpRequest& request, Follow follow) const;
  Answer WithRetries(const HttpRequest& request, Follow follow,
                     const std::function<void()>& restart) const;

  const Settings settings_;
  Transport& transport_;
  Clock& clock_;
  const CancelCheck cancelled_;
  const Notice notice_;
  Url home_;  // the endpoint
};

// "503 (Service Unavailable)".
std::string StatusText(int status);

}  // namespace culet::hub
