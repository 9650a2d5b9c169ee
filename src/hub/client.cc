#include "hub/client.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace culet::hub {
namespace {

constexpr int kMaxRedirects = 10;
constexpr int kTries = 5;
// No network at all is seen at once: a host that is not found or does not answer is asked twice.
constexpr int kConnectTries = 2;
constexpr double kSoonS = 0.1;
constexpr double kMostWaitS = 30;
constexpr double kMostAskedS = 300;
constexpr std::uint64_t kMostWasteBytes = 64 << 10;  // of a redirect's body, to keep the connection

bool IsRedirect(const HttpResponse& response) {
  const int status = response.status;
  const bool moved =
      status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  return moved && response.Header("location") != nullptr;
}

std::string Seconds(double seconds) {
  return std::to_string(static_cast<long>(std::ceil(seconds))) + " s";
}

std::string HeaderText(const HttpResponse& response, const char* name) {
  const std::string* value = response.Header(name);
  return value == nullptr ? "" : *value;
}

}  // namespace

std::string StatusText(int status) {
  const char* name = nullptr;
  switch (status) {
    case 400: name = "Bad Request"; break;
    case 401: name = "Unauthorized"; break;
    case 403: name = "Forbidden"; break;
    case 404: name = "Not Found"; break;
    case 408: name = "Request Timeout"; break;
    case 410: name = "Gone"; break;
    case 416: name = "Range Not Satisfiable"; break;
    case 429: name = "Too Many Requests"; break;
    case 451: name = "Unavailable For Legal Reasons"; break;
    case 500: name = "Internal Server Error"; break;
    case 502: name = "Bad Gateway"; break;
    case 503: name = "Service Unavailable"; break;
    case 504: name = "Gateway Timeout"; break;
    default: break;
  }
  return std::to_string(status) + (name == nullptr ? "" : std::string(" (") + name + ")");
}

void RetryPlan::Progress(std::uint64_t bytes) {
  if (bytes == 0) return;
  received_ += bytes;
  in_a_row_ = 0;
  gave_ = true;
}

std::optional<double> RetryPlan::Next(std::optional<double> asked_s) {
  ++failures_;
  ++in_a_row_;
  if (in_a_row_ >= tries_) return std::nullopt;
  if (static_cast<std::uint64_t>(failures_) > 20 + (received_ >> 20)) return std::nullopt;
  if (asked_s) {
    if (*asked_s > kMostAskedS) return std::nullopt;
    return *asked_s;
  }
  // A line that broke while it gave something is taken up again soon.
  const bool gave = std::exchange(gave_, false);
  const double wait = gave ? std::min(kSoonS, first_wait_s_)
                           : std::min(kMostWaitS, first_wait_s_ * std::pow(2.0, in_a_row_ - 1));
  return wait * (0.5 + 0.5 * clock_.Random());
}

Client::Client(const Settings& settings, Transport& transport, Clock& clock, CancelCheck cancelled,
               Notice notice)
    : settings_(settings),
      transport_(transport),
      clock_(clock),
      cancelled_(std::move(cancelled)),
      notice_(std::move(notice)) {
  const std::optional<Url> home = Url::Parse(settings.endpoint);
  if (!home) {
    throw Error(ErrorKind::kInvalidArgument, "the hub's address " +
                                                 JsonExcerpt(Json(settings.endpoint)) +
                                                 " is no http or https address");
  }
  home_ = *home;
}

Answer Client::Exchange(const HttpRequest& request) const {
  return Try(request, Follow::kEverywhere);
}

Answer Client::Try(const HttpRequest& request, Follow follow) const {
  std::optional<Url> url = Url::Parse(request.url);
  if (!url) {
    throw Error(ErrorKind::kInternal, JsonExcerpt(Json(request.url)) + " is no address");
  }
  for (int hop = 0;; ++hop) {
    HttpRequest sent = request;
    sent.url = url->text();
    sent.headers.emplace_back("Accept-Encoding", "identity");  // hashes are of the plain bytes
    if (!settings_.token.empty() && url->SameOrigin(home_)) {
      sent.headers.emplace_back("Authorization", "Bearer " + settings_.token);
    }
    if (!sent.cancelled) sent.cancelled = cancelled_;
    bool redirect = false;
    std::uint64_t wasted = 0;
    sent.on_head = [&](const HttpResponse& response) {
      redirect = IsRedirect(response);
      return redirect || !request.on_head || request.on_head(response);
    };
    sent.on_body = [&](std::span<const std::byte> bytes) {
      if (!redirect) return !request.on_body || request.on_body(bytes);
      wasted += bytes.size();
      return wasted <= kMostWasteBytes;
    };
    HttpResponse response = transport_.Send(sent);
    if (!IsRedirect(response)) return {std::move(response), *url};
    const std::string location = *response.Header("location");
    std::optional<Url> next = url->Resolve(location);
    const std::string here = url->ForMessages();
    if (!next) {
      throw Error(ErrorKind::kCorrupt, here + ": redirects to " + JsonExcerpt(Json(location)) +
                                           "; only http and https addresses are followed");
    }
    if (follow == Follow::kWithinTheHub && !next->SameOrigin(home_)) {
      return {std::move(response), *url};
    }
    if (url->scheme() == "https" && next->scheme() == "http") {
      throw Error(ErrorKind::kCorrupt, here + ": redirects from https to " + next->ForMessages() +
                                           ", which anybody on the way could change; that is not "
                                           "followed");
    }
    if (hop + 1 == kMaxRedirects) {
      throw Error(ErrorKind::kIo, here + ": more than " + std::to_string(kMaxRedirects) +
                                      " redirects in a row; is HF_ENDPOINT right?");
    }
    url = std::move(next);
  }
}

Answer Client::WithRetries(const HttpRequest& request, Follow follow,
                           const std::function<void()>& restart) const {
  RetryPlan plan(clock_, kTries, settings_.first_wait_s);
  for (;;) {
    restart();
    std::optional<double> wait;
    std::string reason;
    try {
      Answer answer = Try(request, follow);
      if (!WorthRetrying(answer.response.status)) return answer;
      const std::string place = answer.url.ForMessages();
      wait = plan.Next(RetryAfter(answer.response));
      if (!wait) GiveUp(answer.response, place, plan.failures());
      reason = place + ": the server answers " + StatusText(answer.response.status);
    } catch (const TransportError& error) {
      const std::optional<Url> url = Url::Parse(request.url);
      const std::string place = url ? url->ForMessages() : request.url;
      const bool nobody = error.kind() == TransportError::Kind::kName ||
                          error.kind() == TransportError::Kind::kConnect;
      wait = plan.Next(std::nullopt);
      const bool hopeless = error.kind() == TransportError::Kind::kSecure ||
                            (nobody && plan.failures() >= kConnectTries);
      if (!wait || hopeless) GiveUp(error, place, plan.failures());
      reason = place + ": " + error.what();
    }
    Tell(reason + "; next try in " + Seconds(*wait));
    clock_.Sleep(*wait, cancelled_);
  }
}

Answer Client::Get(const std::string& url, std::uint64_t max_bytes, std::string* body) const {
  HttpRequest request;
  request.url = url;
  request.on_body = [&](std::span<const std::byte> bytes) {
    if (bytes.size() > max_bytes - body->size()) {
      throw Error(ErrorKind::kCorrupt, url + ": the answer is longer than " +
                                           std::to_string(max_bytes) +
                                           " bytes, which no such answer is; is HF_ENDPOINT the "
                                           "address of a hub?");
    }
    body->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return true;
  };
  return WithRetries(request, Follow::kEverywhere, [&] { body->clear(); });
}

Answer Client::Head(const std::string& url) const {
  HttpRequest request;
  request.method = "HEAD";
  request.url = url;
  return WithRetries(request, Follow::kWithinTheHub, [] {});
}

bool Client::WorthRetrying(int status) {
  return status == 408 || status == 429 || (status >= 500 && status <= 599 && status != 501);
}

std::optional<double> Client::RetryAfter(const HttpResponse& response) const {
  const std::string* value = response.Header("retry-after");
  if (value == nullptr) return std::nullopt;
  double seconds = 0;
  const char* end = value->data() + value->size();
  const auto parsed = std::from_chars(value->data(), end, seconds);
  if (parsed.ec == std::errc() && parsed.ptr == end && std::isfinite(seconds)) {
    return std::max(0.0, seconds);
  }
  const std::time_t date = curl_getdate(value->c_str(), nullptr);
  if (date == -1) return std::nullopt;
  return static_cast<double>(std::max<std::int64_t>(0, date - clock_.UnixSeconds()));
}

void Client::Tell(const std::string& line) const {
  if (notice_) notice_(line);
}

void Client::GiveUp(const TransportError& error, const std::string& place, int tries) const {
  using Kind = TransportError::Kind;
  std::string hint;
  switch (error.kind()) {
    case Kind::kName:
      hint =
          "Is there a network? If it needs a proxy, set https_proxy; if the hub lies elsewhere, "
          "HF_ENDPOINT";
      break;
    case Kind::kConnect:
      hint = "Nobody answers there: is the network up, and HF_ENDPOINT (" + settings_.endpoint +
             ") right?" +
             (settings_.proxy_variable.empty()
                  ? ""
                  : " Does the proxy that " + settings_.proxy_variable + " names run?");
      break;
    case Kind::kSecure:
      hint =
          "The host could not prove who it is. Are the system's certificates installed "
          "(ca-certificates) and its clock right? A proxy with a certificate of its own is named "
          "by SSL_CERT_FILE";
      break;
    case Kind::kStalled:
    case Kind::kCut:
    case Kind::kOther: hint = "Try again later: what has come is kept"; break;
  }
  throw Error(ErrorKind::kIo, place + ": " + error.what() + " (" + std::to_string(tries) +
                                  (tries == 1 ? " try). " : " tries). ") + hint);
}

void Client::GiveUp(const HttpResponse& response, const std::string& place, int tries) const {
  std::string hint = "Try again later: what has come is kept";
  const std::optional<double> asked = RetryAfter(response);
  if (asked && *asked > kMostAskedS) hint = "The server asks to wait " + Seconds(*asked);
  if (response.status == 429 && settings_.token.empty()) {
    hint += ". With an access token (hf auth login, or HF_TOKEN) the hub allows more";
  }
  throw Error(ErrorKind::kIo, place + ": the server answers " + StatusText(response.status) + " (" +
                                  std::to_string(tries) + (tries == 1 ? " try). " : " tries). ") +
                                  hint);
}

void Client::Refused(const HttpResponse& response, const std::string& place,
                     const std::string& repository, const std::string& what) const {
  const std::string code = HeaderText(response, "x-error-code");
  const std::string says = HeaderText(response, "x-error-message");
  const std::string page = settings_.endpoint + "/" + repository;
  const bool has_token = !settings_.token.empty();
  const std::string login = "log in with `hf auth login`, or set HF_TOKEN";
  const std::string status = " (" + place + ": " + StatusText(response.status) + ")";
  const std::string quoted = says.empty() ? "" : ". The hub says: " + JsonExcerpt(Json(says), 300);
  if (code == "RevisionNotFound") {
    throw Error(ErrorKind::kNotFound, what +
                                          ": the hub has the model but no such branch, tag or "
                                          "commit" +
                                          status + ". See " + page + "/tree/main");
  }
  if (code == "EntryNotFound") {
    throw Error(ErrorKind::kNotFound, what + ": no such file" + status);
  }
  if (response.status == 407) {
    throw Error(ErrorKind::kIo, what + ": the proxy wants a name and a password" + status +
                                    ". Give them as http://NAME:PASSWORD@HOST:PORT in the variable "
                                    "that names the proxy (https_proxy, http_proxy)");
  }
  if (response.status >= 300 && response.status <= 399) {
    throw Error(ErrorKind::kIo, what + ": a redirect that leads nowhere" + status +
                                    ". Is HF_ENDPOINT the address of a hub?");
  }
  if (code == "GatedRepo" || (response.status == 403 && code.empty())) {
    throw Error(ErrorKind::kIo,
                what + ": the model is gated" + status + ". Accept its licence at " + page +
                    (has_token ? " with the account of the token in " + settings_.token_source +
                                     ", which must be allowed to read gated models"
                               : ", then " + login) +
                    quoted);
  }
  if (response.status == 401 && has_token && code != "RepoNotFound") {
    throw Error(ErrorKind::kIo, what + ": the hub does not accept the access token of " +
                                    settings_.token_source + status + ". Make a new one, then " +
                                    login + quoted);
  }
  // The hub tells nobody whether a private model exists.
  if (response.status == 401 || response.status == 404 || code == "RepoNotFound") {
    throw Error(ErrorKind::kNotFound,
                what + ": the hub has no such model, or it is private" + status +
                    ". Check the name" +
                    (has_token ? "; the token of " + settings_.token_source + " may not see it"
                               : "; for a private or gated one " + login) +
                    quoted);
  }
  throw Error(ErrorKind::kIo, what + ": the hub refuses it" + status + quoted);
}

}  // namespace culet::hub
