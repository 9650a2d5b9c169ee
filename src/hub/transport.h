// One HTTP exchange, behind a seam that tests replace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "hub/clock.h"
#include "hub/settings.h"

namespace culet::hub {

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  // The first of that name (lower case); nullptr where there is none.
  const std::string* Header(const std::string& name) const;
};

struct HttpRequest {
  std::string method = "GET";  // or HEAD
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  // Called once when the head is there; false: the body is not wanted, and Send returns.
  std::function<bool(const HttpResponse&)> on_head;
  // Called for each part of the body; false: enough, Send returns. Both may throw: Send throws it.
  std::function<bool(std::span<const std::byte>)> on_body;
  CancelCheck cancelled;
};

// The exchange did not come to its end.
class TransportError : public std::runtime_error {
 public:
  enum class Kind {
    kName,     // the host's name leads nowhere: no network, or a slip
    kConnect,  // nobody answers there
    kSecure,   // TLS failed: nobody proved to be that host
    kStalled,  // no byte for too long
    kCut,      // the connection ended before the body did
    kOther,
  };
  TransportError(Kind kind, const std::string& message)
      : std::runtime_error(message), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Redirects are answers like others: never followed here. Throws TransportError, Cancelled, and
  // what the callbacks throw. Threads: several may call at once.
  virtual HttpResponse Send(const HttpRequest& request) = 0;
};

// libcurl: http and https only, certificates always verified, proxies by the usual variables.
std::unique_ptr<Transport> MakeCurlTransport(const Settings& settings);

}  // namespace culet::hub
