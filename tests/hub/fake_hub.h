// A hub without a network, and a clock that does not wait, for tests of the hub room.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "hub/clock.h"
#include "hub/hash.h"
#include "hub/pull.h"
#include "hub/transport.h"

namespace culet::hub {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    // In memory where that can be: hundreds of pulls sync every file.
    const std::filesystem::path memory = "/dev/shm";
    const bool fast = ::access(memory.c_str(), W_OK) == 0;
    const auto parent = fast ? memory : std::filesystem::temp_directory_path();
    std::string name = (parent / "culet-hub-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class FakeClock : public Clock {
 public:
  double Seconds() override { return now_s_; }
  std::int64_t UnixSeconds() override { return 1'800'000'000 + static_cast<std::int64_t>(now_s_); }
  double Random() override { return 1; }
  void Sleep(double seconds, const CancelCheck& cancelled) override {
    {
      const std::lock_guard lock(mutex_);
      sleeps_.push_back(seconds);
      now_s_ = now_s_ + seconds;
    }
    if (cancelled && cancelled()) throw Cancelled();
  }
  std::vector<double> sleeps() const {
    const std::lock_guard lock(mutex_);
    return sleeps_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<double> sleeps_;  // guarded by mutex_
  std::atomic<double> now_s_ = 0;
};

struct Reply {
  int status = 200;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::optional<std::size_t> cut_after;       // bytes of the body, then the connection is gone
  std::optional<TransportError::Kind> error;  // before anything came
};

// Serves one repository. `fault` may change each reply, in the order of the requests.
class FakeHub : public Transport {
 public:
  std::string repository = "google/tiny";
  std::string commit = std::string(39, 'c') + "0";
  std::map<std::string, std::string> files;
  bool ranges = true;
  bool bare_list = false;  // names without sizes and hashes
  std::string store;       // files are redirected there: "https://store.example"
  std::function<void(const HttpRequest&, Reply*)> fault;

  static std::string HashOf(const std::string& name, const std::string& content) {
    return HashText(IsLarge(name) ? HashKind::kSha256 : HashKind::kGitBlob, content);
  }
  static bool IsLarge(const std::string& name) {
    return name.ends_with(".safetensors") || name == "tokenizer.json";
  }

  HttpResponse Send(const HttpRequest& request) override {
    Reply reply;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      reply = Answer(request);
      if (fault) fault(request, &reply);
    }
    if (request.cancelled && request.cancelled()) throw Cancelled();
    if (reply.error) throw TransportError(*reply.error, "planted");
    HttpResponse response;
    response.status = reply.status;
    for (const auto& [name, value] : reply.headers) response.headers.emplace_back(name, value);
    if (request.on_head && !request.on_head(response)) return response;
    const std::size_t end =
        std::min(reply.cut_after.value_or(reply.body.size()), reply.body.size());
    constexpr std::size_t kChunk = 1000;
    for (std::size_t at = 0; at < end && request.method != "HEAD"; at += kChunk) {
      if (request.cancelled && request.cancelled()) throw Cancelled();
      const std::size_t count = std::min(kChunk, end - at);
      if (request.on_body &&
          !request.on_body(std::as_bytes(std::span(reply.body.data() + at, count)))) {
        return response;
      }
    }
    if (reply.cut_after) throw TransportError(TransportError::Kind::kCut, "planted cut");
    return response;
  }

  std::vector<HttpRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  Reply Answer(const HttpRequest& request) const {
    const std::string api = "https://hub.example/api/models/" + repository + "/revision/";
    if (request.url.starts_with(api)) return {200, {}, ListingText(), {}, {}};
    const std::string own = "https://hub.example/" + repository + "/resolve/" + commit + "/";
    const std::string far = store + "/blob/";
    if (!store.empty() && request.url.starts_with(own)) {
      const std::string name = request.url.substr(own.size());
      Reply moved = {302, {{"location", far + name + "?signature=x"}}, "moved", {}, {}};
      if (const auto found = files.find(name); found != files.end()) {
        moved.headers["x-linked-etag"] = '"' + HashOf(name, found->second) + '"';
        moved.headers["x-linked-size"] = std::to_string(found->second.size());
      }
      return moved;
    }
    const std::string& base = store.empty() ? own : far;
    if (!request.url.starts_with(base)) return {404, {}, "", {}, {}};
    std::string name = request.url.substr(base.size());
    name = name.substr(0, name.find('?'));
    const auto found = files.find(name);
    if (found == files.end()) return {404, {{"x-error-code", "EntryNotFound"}}, "", {}, {}};
    Reply reply = FileReply(request, found->second);
    reply.headers["etag"] = "W/\"" + HashOf(name, found->second) + '"';
    return reply;
  }

  Reply FileReply(const HttpRequest& request, const std::string& content) const {
    for (const auto& [name, value] : request.headers) {
      if (name != "Range" || !ranges) continue;
      const std::size_t begin = std::stoull(value.substr(6));
      const std::size_t last = std::stoull(value.substr(value.find('-') + 1));
      return {206,
              {{"content-range", "bytes " + std::to_string(begin) + "-" + std::to_string(last) +
                                     "/" + std::to_string(content.size())}},
              content.substr(begin, last + 1 - begin),
              {},
              {}};
    }
    return {200, {{"content-length", std::to_string(content.size())}}, content, {}, {}};
  }

  std::string ListingText() const {
    Json siblings = Json::array();
    for (const auto& [name, content] : files) {
      Json sibling = {{"rfilename", name}};
      if (bare_list) {
        siblings.push_back(sibling);
        continue;
      }
      sibling["size"] = content.size();
      if (IsLarge(name)) {
        sibling["lfs"] = {{"sha256", HashOf(name, content)}, {"size", content.size()}};
        sibling["blobId"] = std::string(40, '0');
      } else {
        sibling["blobId"] = HashOf(name, content);
      }
      siblings.push_back(sibling);
    }
    return Json({{"id", repository}, {"sha", commit}, {"siblings", siblings}}).dump();
  }

  mutable std::mutex mutex_;
  std::vector<HttpRequest> requests_;  // guarded by mutex_
};

// Bytes that differ from place to place.
inline std::string Noise(std::size_t bytes, unsigned seed) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) {
    seed = seed * 1664525u + 1013904223u;
    text[i] = static_cast<char>(seed >> 24);
  }
  return text;
}

}  // namespace culet::hub
