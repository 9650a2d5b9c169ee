// Addresses, read by the very parser that later connects (libcurl's): two readers that disagree on
// where a host ends would send a token astray.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace culet::hub {

class Url {
 public:
  // Nothing unless it is http or https with a host and without user and password.
  static std::optional<Url> Parse(const std::string& text);
  // A Location header as seen from here: absolute, or relative to this address.
  std::optional<Url> Resolve(const std::string& location) const;

  const std::string& text() const { return text_; }
  const std::string& scheme() const { return scheme_; }  // "http", "https"
  const std::string& host() const { return host_; }      // lower case
  const std::string& port() const { return port_; }      // always a number
  bool SameOrigin(const Url& other) const;
  std::string ForMessages() const;  // without the query, which may be a signature

 private:
  std::string text_, scheme_, host_, port_, path_;
};

// Percent-encodes everything but unreserved characters; `keep` stay too.
std::string Quote(std::string_view text, std::string_view keep = "");

}  // namespace culet::hub
