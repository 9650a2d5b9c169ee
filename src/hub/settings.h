// Where the cache lies, which hub is asked and with what token: the variables of the environment
// that huggingface_hub, the hub's own client, reads, with the same meaning and order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/file.h"

namespace culet::hub {

struct Settings {
  std::filesystem::path cache;  // the folder that holds models--OWNER--NAME
  std::string endpoint;         // "https://huggingface.co", without a slash at the end
  bool offline = false;
  std::string offline_because;       // "HF_HUB_OFFLINE is set"
  std::string token;                 // never printed; empty: none, or not to be sent
  std::string token_source;          // "HF_TOKEN", a path; what messages say of the token
  std::filesystem::path token_file;  // where `hf auth login` leaves it
  bool no_links = false;             // HF_HUB_DISABLE_SYMLINKS
  double metadata_timeout_s = 10;    // HF_HUB_ETAG_TIMEOUT: to connect
  double download_timeout_s = 10;    // HF_HUB_DOWNLOAD_TIMEOUT: without a byte
  std::string proxy_variable;        // that libcurl will heed for the endpoint; for messages
  std::filesystem::path ca_file;     // SSL_CERT_FILE; empty: the system's
  // culet's own.
  int connections = 4;                   // CULET_HUB_CONNECTIONS: at once, for one file
  std::uint64_t piece_bytes = 32 << 20;  // CULET_HUB_PIECE_BYTES: that one request asks for
  double first_wait_s = 0.5;             // CULET_HUB_RETRY_SECONDS: before the second try
};

// The value of a variable of the environment.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<std::string> ProcessEnvironment(const std::string& name);

// Throws Error(kInvalidArgument) that names a variable whose value cannot be.
Settings ReadSettings(const Environment& environment, FileSystem& files);

}  // namespace culet::hub
