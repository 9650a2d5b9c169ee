#include "hub/settings.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "base/json.h"
#include "hub/url.h"

namespace culet::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxTokenBytes = 64 << 10;

bool IsTrue(const std::optional<std::string>& value) {
  if (!value) return false;
  std::string upper = *value;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return upper == "1" || upper == "ON" || upper == "YES" || upper == "TRUE";
}

std::string HomeOf(const Environment& environment, const std::string& user) {
  if (user.empty()) {
    if (const auto home = environment("HOME"); home && !home->empty()) return *home;
  }
  const passwd* entry = user.empty() ? ::getpwuid(::getuid()) : ::getpwnam(user.c_str());
  return entry == nullptr ? "" : entry->pw_dir;
}

// "~/x", "$NAME/x" and "${NAME}/x" as a shell reads them; an unknown user or variable stays as it
// is written.
std::string Expand(const Environment& environment, std::string text) {
  if (!text.empty() && text.front() == '~') {
    const std::size_t end = std::min(text.find('/'), text.size());
    const std::string home = HomeOf(environment, text.substr(1, end - 1));
    if (!home.empty()) text = home + text.substr(end);
  }
  std::string expanded;
  for (std::size_t i = 0; i < text.size();) {
    const auto is_name = [&](std::size_t at) {
      return at < text.size() &&
             (std::isalnum(static_cast<unsigned char>(text[at])) != 0 || text[at] == '_');
    };
    const bool braced = text.compare(i, 2, "${") == 0;
    const std::size_t begin = i + (braced ? 2 : 1);
    std::size_t end = begin;
    while (text[i] == '$' && (braced ? end < text.size() && text[end] != '}' : is_name(end))) ++end;
    const bool is_variable = text[i] == '$' && end > begin && (!braced || end < text.size());
    const auto value = is_variable ? environment(text.substr(begin, end - begin)) : std::nullopt;
    if (value) {
      expanded += *value;
      i = end + (braced ? 1 : 0);
    } else {
      expanded += text[i++];
    }
  }
  return expanded;
}

std::string CleanToken(std::string token) {
  std::erase(token, '\r');
  std::erase(token, '\n');
  const auto blank = [](unsigned char c) { return std::isspace(c) != 0; };
  while (!token.empty() && blank(static_cast<unsigned char>(token.back()))) token.pop_back();
  while (!token.empty() && blank(static_cast<unsigned char>(token.front()))) token.erase(0, 1);
  return token;
}

// A token becomes part of a header: only visible ASCII may stand there.
void CheckToken(const Settings& settings) {
  const bool plain = std::all_of(settings.token.begin(), settings.token.end(),
                                 [](char c) { return c > ' ' && c < 0x7f; });
  if (plain) return;
  throw Error(ErrorKind::kInvalidArgument,
              settings.token_source +
                  ": the access token has a space or a character that no token has; log in again "
                  "with `hf auth login`, or set HF_TOKEN");
}

void ReadToken(const Environment& environment, FileSystem& files, Settings* settings) {
  if (IsTrue(environment("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return;
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    const auto value = environment(name);
    if (!value || value->empty()) continue;
    settings->token = CleanToken(*value);
    settings->token_source = name;
    if (!settings->token.empty()) return CheckToken(*settings);
    break;  // blank: the file counts, as with the hub's own client
  }
  if (!files.Exists(settings->token_file)) {
    settings->token_source.clear();
    return;
  }
  settings->token = CleanToken(files.ReadFile(settings->token_file, kMaxTokenBytes));
  settings->token_source = settings->token.empty() ? "" : settings->token_file.string();
  CheckToken(*settings);
}

double Seconds(const Environment& environment, const char* name, double otherwise) {
  const auto value = environment(name);
  if (!value || value->empty()) return otherwise;
  int seconds = 0;
  const char* end = value->data() + value->size();
  const auto parsed = std::from_chars(value->data(), end, seconds);
  if (parsed.ec != std::errc() || parsed.ptr != end || seconds < 0 || seconds > 86400) {
    throw Error(ErrorKind::kInvalidArgument, std::string(name) + " is " +
                                                 JsonExcerpt(Json(*value)) +
                                                 "; expected seconds, a whole number");
  }
  return seconds == 0 ? otherwise : seconds;
}

// A number from `least` to `most`.
double Number(const Environment& environment, const char* name, double least, double most,
              double otherwise) {
  const auto value = environment(name);
  if (!value || value->empty()) return otherwise;
  double number = 0;
  const char* end = value->data() + value->size();
  const auto parsed = std::from_chars(value->data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || !(number >= least && number <= most)) {
    throw Error(ErrorKind::kInvalidArgument,
                std::string(name) + " is " + JsonExcerpt(Json(*value)) +
                    "; expected a number from " + Json(least).dump() + " to " + Json(most).dump());
  }
  return number;
}

}  // namespace

std::optional<std::string> ProcessEnvironment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

Settings ReadSettings(const Environment& environment, FileSystem& files) {
  Settings settings;
  const auto path_of = [&](const char* name, const fs::path& otherwise) -> fs::path {
    const auto value = environment(name);
    return value && !value->empty() ? fs::path(Expand(environment, *value)) : otherwise;
  };
  const fs::path user_cache = path_of("XDG_CACHE_HOME", fs::path(Expand(environment, "~/.cache")));
  const fs::path home = path_of("HF_HOME", user_cache / "huggingface");
  settings.cache = path_of("HF_HUB_CACHE", path_of("HUGGINGFACE_HUB_CACHE", home / "hub"));
  settings.token_file = path_of("HF_TOKEN_PATH", home / "token");
  settings.ca_file = path_of("SSL_CERT_FILE", "");

  const auto endpoint = environment("HF_ENDPOINT");
  settings.endpoint = endpoint && !endpoint->empty() ? *endpoint : "https://huggingface.co";
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  if (!Url::Parse(settings.endpoint)) {
    throw Error(ErrorKind::kInvalidArgument,
                "HF_ENDPOINT is " +
                    (settings.endpoint.find('@') == std::string::npos
                         ? JsonExcerpt(Json(settings.endpoint))
                         : std::string("an address with a user or an @ in it")) +
                    "; expected the address of a hub, such as https://huggingface.co");
  }

  const bool secure = settings.endpoint.starts_with("https:");
  for (const char* name :
       {secure ? "https_proxy" : "http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
    if (!secure && name == std::string_view("HTTPS_PROXY")) continue;
    const auto value = environment(name);
    if (!value || value->empty()) continue;
    settings.proxy_variable = name;
    break;
  }

  for (const char* name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    const auto value = environment(name);
    if (!value || value->empty()) continue;
    settings.offline = IsTrue(value);
    if (settings.offline) settings.offline_because = std::string(name) + " is set";
    break;
  }
  settings.no_links = IsTrue(environment("HF_HUB_DISABLE_SYMLINKS"));
  settings.metadata_timeout_s = Seconds(environment, "HF_HUB_ETAG_TIMEOUT", 10);
  settings.download_timeout_s = Seconds(environment, "HF_HUB_DOWNLOAD_TIMEOUT", 10);
  settings.connections =
      static_cast<int>(Number(environment, "CULET_HUB_CONNECTIONS", 1, 32, settings.connections));
  settings.piece_bytes = static_cast<std::uint64_t>(
      Number(environment, "CULET_HUB_PIECE_BYTES", 4096, 1 << 30, 32 << 20));
  settings.first_wait_s =
      Number(environment, "CULET_HUB_RETRY_SECONDS", 0, 60, settings.first_wait_s);
  ReadToken(environment, files, &settings);
  return settings;
}

}  // namespace culet::hub
