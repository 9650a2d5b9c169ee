// What a server says in a hub's place: the list of a repository's files, the headers of a file and
// where they redirect to, and the shards that an index names. What is accepted cannot lead out of
// the cache's folders, and its sizes can be added.
#include <set>

#include "base/error.h"
#include "fuzz/fuzz.h"
#include "hub/client.h"
#include "hub/listing.h"

namespace culet::fuzz {
namespace {

using hub::CancelCheck;

// Time passes by sleeping alone.
class SleepingClock : public hub::Clock {
 public:
  double Seconds() override { return now_s_; }
  std::int64_t UnixSeconds() override { return 1'800'000'000 + static_cast<std::int64_t>(now_s_); }
  double Random() override { return 1; }
  void Sleep(double seconds, const CancelCheck&) override { now_s_ += seconds; }

 private:
  double now_s_ = 0;
};

// Answers the list with `body`, and everything else with `status` and `headers`.
class OneAnswer : public hub::Transport {
 public:
  OneAnswer(int status, std::string_view headers, std::string_view body)
      : status_(status), body_(body) {
    while (!headers.empty()) {
      const std::string_view line = headers.substr(0, headers.find('\n'));
      headers.remove_prefix(std::min(headers.size(), line.size() + 1));
      const std::size_t colon = line.find(':');
      if (colon == line.npos) continue;
      headers_.emplace_back(line.substr(0, colon), line.substr(colon + 1));
    }
  }

  hub::HttpResponse Send(const hub::HttpRequest& request) override {
    Require(request.url.starts_with("https://") || request.url.starts_with("http://"),
            "nothing but http is asked");
    for (const auto& [name, value] : request.headers) {
      Require(value.find("secret") == value.npos || request.url.starts_with("https://hub.test/"),
              "the token goes to the hub alone");
      Require(value.find_first_of("\r\n") == value.npos, "a header is one line");
    }
    Require(request.url.find_first_of("\r\n ") == request.url.npos, "an address is one word");
    const bool list =
        request.method == "GET" && request.url.find("/api/models/") != std::string::npos;
    hub::HttpResponse response;
    response.status = list ? 200 : status_;
    if (!list) response.headers = headers_;
    if (request.on_head && !request.on_head(response)) return response;
    if (request.on_body && request.method != "HEAD") {
      request.on_body(std::as_bytes(std::span(body_)));
    }
    return response;
  }

 private:
  int status_;
  std::vector<std::pair<std::string, std::string>> headers_;
  std::string_view body_;
};

void CheckListing(const hub::Client& client, const hub::Listing& listing) {
  Require(hub::IsCommit(listing.commit), "a commit names a folder");
  std::set<std::string> names;
  std::uint64_t bytes = 0;
  for (const hub::RemoteFile& file : listing.files) {
    Require(hub::IsPlainFileName(file.name), "a file stays in its folder");
    Require(names.insert(file.name).second, "a file is listed once");
    Require(hub::IsHex(file.hash, 40) || hub::IsHex(file.hash, 64), "a hash names a blob");
    Require(bytes + file.bytes >= bytes, "the sizes can be added");
    bytes += file.bytes;
    const std::string url = hub::FileUrl(client, "google/tiny", listing.commit, file.name);
    Require(url.find_first_of("\r\n ?#") == url.npos, "a name cannot change the address");
  }
}

}  // namespace

// One byte for the status, header lines up to an empty line, then the body.
void FuzzOne(std::string_view input) {
  constexpr int kStatuses[] = {200, 206, 302, 307, 401, 403, 404, 416, 429, 503};
  const int status = kStatuses[TakeByte(&input) % std::size(kStatuses)];
  const std::size_t end = input.find("\n\n");
  const std::string_view headers = input.substr(0, end);
  const std::string_view body = end == input.npos ? "" : input.substr(end + 2);
  hub::Settings settings;
  settings.endpoint = "https://hub.test";
  settings.token = "secret";
  OneAnswer transport(status, headers, body);
  SleepingClock clock;
  const hub::Client client(settings, transport, clock, {}, {});
  try {
    CheckListing(client, hub::FetchListing(client, {"google/tiny", "main"}));
  } catch (const Error&) {
  }
  try {
    for (const std::string& shard : hub::ShardsOfIndex(body, "index")) {
      Require(hub::IsPlainFileName(shard), "a shard stays in its folder");
    }
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
