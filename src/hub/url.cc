#include "hub/url.h"

#include <curl/curl.h>

#include <cctype>
#include <memory>

namespace culet::hub {
namespace {

using Handle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

std::string Part(CURLU* handle, CURLUPart part, unsigned int flags = 0) {
  char* text = nullptr;
  if (curl_url_get(handle, part, &text, flags) != CURLUE_OK) return "";
  std::string result = text;
  curl_free(text);
  return result;
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::optional<Url> Url::Parse(const std::string& text) { return Url().Resolve(text); }

std::optional<Url> Url::Resolve(const std::string& location) const {
  // Control characters in an address are somebody's attempt at a header of his own.
  for (const char c : location) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return std::nullopt;
  }
  const Handle handle(curl_url(), &curl_url_cleanup);
  if (!handle) return std::nullopt;
  if (!text_.empty() && curl_url_set(handle.get(), CURLUPART_URL, text_.c_str(), 0) != CURLUE_OK) {
    return std::nullopt;
  }
  if (curl_url_set(handle.get(), CURLUPART_URL, location.c_str(), CURLU_DISALLOW_USER) !=
      CURLUE_OK) {
    return std::nullopt;
  }
  Url url;
  url.scheme_ = Lower(Part(handle.get(), CURLUPART_SCHEME));
  url.host_ = Lower(Part(handle.get(), CURLUPART_HOST));
  url.port_ = Part(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  url.path_ = Part(handle.get(), CURLUPART_PATH);
  url.text_ = Part(handle.get(), CURLUPART_URL);
  const bool web = url.scheme_ == "http" || url.scheme_ == "https";
  if (!web || url.host_.empty() || url.text_.empty()) return std::nullopt;
  return url;
}

bool Url::SameOrigin(const Url& other) const {
  return scheme_ == other.scheme_ && host_ == other.host_ && port_ == other.port_;
}

std::string Url::ForMessages() const {
  const bool usual = port_ == (scheme_ == "https" ? "443" : "80");
  return scheme_ + "://" + host_ + (usual ? "" : ":" + port_) + path_;
}

std::string Quote(std::string_view text, std::string_view keep) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string quoted;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) != 0 ||
                                       std::string_view("-._~").find(c) != std::string_view::npos);
    if (plain || keep.find(c) != std::string_view::npos) {
      quoted += c;
    } else {
      quoted += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return quoted;
}

}  // namespace culet::hub
