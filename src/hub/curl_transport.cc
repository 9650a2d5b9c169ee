// The machine's transport. libcurl calls back through C frames, so exceptions of ours are carried
// past it by hand.
#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>

#include "base/error.h"
#include "hub/transport.h"

namespace culet::hub {
namespace {

constexpr std::size_t kMaxHeadBytes = 128 << 10;
constexpr std::size_t kMaxHeaders = 400;

struct Exchange {
  const HttpRequest* request = nullptr;
  CURL* handle = nullptr;
  HttpResponse response;
  std::size_t head_bytes = 0;
  bool head_given = false;
  bool stopped = false;  // by a callback: the rest is not wanted
  bool cancelled = false;
  std::exception_ptr thrown;
  // Silence. libcurl's own limit looks at the mean of some seconds, in which a last burst counts.
  using Steady = std::chrono::steady_clock;
  double patience_s = 0;
  Steady::time_point last_byte = Steady::now();
  bool silent = false;

  bool IsSilent() {
    curl_off_t connected_us = 0;
    curl_easy_getinfo(handle, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
    if (connected_us == 0) last_byte = Steady::now();  // connecting has a limit of its own
    silent = std::chrono::duration<double>(Steady::now() - last_byte).count() > patience_s;
    return silent;
  }

  // False where libcurl shall end the exchange.
  template <typename Body>
  bool Guard(const Body& body) {
    try {
      if (body()) return true;
      stopped = true;
    } catch (...) {
      thrown = std::current_exception();
    }
    return false;
  }

  void ReadStatus() {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    response.status = static_cast<int>(status);
  }

  bool GiveHead() {
    if (head_given) return true;
    head_given = true;
    return !request->on_head || request->on_head(response);
  }
};

std::string_view Trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* context) {
  Exchange& exchange = *static_cast<Exchange*>(context);
  const std::string_view line(data, size * count);
  exchange.last_byte = Exchange::Steady::now();
  const bool fine = exchange.Guard([&] {
    if (line.starts_with("HTTP/")) {  // also after "100 Continue"
      exchange.response = {};
      return true;
    }
    exchange.head_bytes += line.size();
    if (exchange.head_bytes > kMaxHeadBytes || exchange.response.headers.size() > kMaxHeaders) {
      throw TransportError(TransportError::Kind::kOther, "the head of the answer is too long");
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return true;
    std::string name(line.substr(0, colon));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    exchange.response.headers.emplace_back(std::move(name), Trimmed(line.substr(colon + 1)));
    return true;
  });
  return fine ? line.size() : 0;
}

std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* context) {
  Exchange& exchange = *static_cast<Exchange*>(context);
  exchange.last_byte = Exchange::Steady::now();
  exchange.ReadStatus();
  const bool fine = exchange.Guard([&] {
    if (!exchange.GiveHead()) return false;
    return !exchange.request->on_body ||
           exchange.request->on_body(std::as_bytes(std::span(data, size * count)));
  });
  exchange.last_byte = Exchange::Steady::now();  // a slow disk is no silence of the server
  return fine ? size * count : 0;
}

int OnProgress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  Exchange& exchange = *static_cast<Exchange*>(context);
  if (exchange.request->cancelled && exchange.request->cancelled()) exchange.cancelled = true;
  return exchange.cancelled || exchange.IsSilent() ? 1 : 0;
}

TransportError::Kind KindOf(CURLcode code) {
  using Kind = TransportError::Kind;
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return Kind::kName;
    case CURLE_COULDNT_CONNECT: return Kind::kConnect;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR: return Kind::kSecure;
    case CURLE_OPERATION_TIMEDOUT: return Kind::kStalled;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return Kind::kCut;
    default: return Kind::kOther;
  }
}

class CurlTransport : public Transport {
 public:
  explicit CurlTransport(const Settings& settings) : settings_(settings) {
    static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (started != CURLE_OK) throw Error(ErrorKind::kInternal, "libcurl does not start");
  }
  ~CurlTransport() override {
    for (CURL* handle : idle_) curl_easy_cleanup(handle);
  }

  HttpResponse Send(const HttpRequest& request) override {
    const Lease lease(this);
    CURL* handle = lease.handle;
    Exchange exchange;
    exchange.request = &request;
    exchange.handle = handle;
    exchange.patience_s = settings_.download_timeout_s;

    char message[CURL_ERROR_SIZE] = "";
    curl_slist* headers = nullptr;
    for (const auto& [name, value] : request.headers) {
      headers = curl_slist_append(headers, (name + ": " + value).c_str());
    }
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> freeing(headers,
                                                                              &curl_slist_free_all);
    Configure(handle, request, &exchange, headers, message);
    const CURLcode code = curl_easy_perform(handle);
    if (exchange.thrown) std::rethrow_exception(exchange.thrown);
    if (exchange.cancelled) throw Cancelled();
    if (exchange.silent) {
      throw TransportError(
          TransportError::Kind::kStalled,
          "no byte came for " + std::to_string(std::lround(exchange.patience_s)) + " s");
    }
    exchange.ReadStatus();
    if (exchange.stopped) return std::move(exchange.response);
    if (code != CURLE_OK) {
      throw TransportError(KindOf(code), message[0] != '\0' ? message : curl_easy_strerror(code));
    }
    exchange.GiveHead();  // an answer without a body
    return std::move(exchange.response);
  }

 private:
  // A handle keeps its connection for the next request.
  struct Lease {
    explicit Lease(CurlTransport* from) : owner(from) {
      const std::lock_guard lock(owner->mutex_);
      if (!owner->idle_.empty()) {
        handle = owner->idle_.back();
        owner->idle_.pop_back();
      } else {
        handle = curl_easy_init();
        if (handle == nullptr) throw std::bad_alloc();
      }
    }
    ~Lease() {
      curl_easy_reset(handle);  // keeps connections, forgets our callbacks
      const std::lock_guard lock(owner->mutex_);
      owner->idle_.push_back(handle);
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    CurlTransport* owner;
    CURL* handle = nullptr;
  };

  void Configure(CURL* handle, const HttpRequest& request, Exchange* exchange, curl_slist* headers,
                 char* message) const {
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(handle, CURLOPT_NOBODY, request.method == "HEAD" ? 1L : 0L);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "culet/" CULET_VERSION);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
    if (!settings_.ca_file.empty()) {
      curl_easy_setopt(handle, CURLOPT_CAINFO, settings_.ca_file.c_str());
    }
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(settings_.metadata_timeout_s * 1000));
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, OnHeader);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, OnBody);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, OnProgress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, exchange);
  }

  const Settings settings_;
  std::mutex mutex_;
  std::vector<CURL*> idle_;  // guarded by mutex_
};

}  // namespace

const std::string* HttpResponse::Header(const std::string& name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::unique_ptr<Transport> MakeCurlTransport(const Settings& settings) {
  return std::make_unique<CurlTransport>(settings);
}

}  // namespace culet::hub
