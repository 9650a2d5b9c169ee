// What a repository of the hub holds at a revision, and which of its files a model needs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hub/client.h"
#include "hub/hash.h"
#include "hub/reference.h"

namespace culet::hub {

struct RemoteFile {
  std::string name;  // "model.safetensors"
  std::uint64_t bytes = 0;
  std::string hash;  // also the blob's name in the cache
  HashKind hash_kind = HashKind::kSha256;
};

struct Listing {
  std::string commit;             // 40 hexadecimal digits
  std::vector<RemoteFile> files;  // those that have a wanted name, or end in .safetensors
};

inline constexpr const char* kWeightsName = "model.safetensors";
inline constexpr const char* kIndexName = "model.safetensors.index.json";
// Files besides weights, in the order in which they are fetched: a model whose weights are there
// has the rest.
std::span<const std::string_view> SmallFileNames();

// Asks the hub. Throws Error: kNotFound (model, revision), kIo (network, refused), kCorrupt (an
// answer that no hub gives).
Listing FetchListing(const Client& client, const ModelReference& reference);

const RemoteFile* FindFile(const Listing& listing, std::string_view name);

// The shards that an index names, sorted, each once: plain names of .safetensors files. Throws
// Error(kCorrupt) naming `place`.
std::vector<std::string> ShardsOfIndex(std::string_view index_text, const std::string& place);

// A name that stays in its folder.
bool IsPlainFileName(std::string_view name);

// "https://hub/google/x/resolve/COMMIT/config.json".
std::string FileUrl(const Client& client, const std::string& repository, const std::string& commit,
                    const std::string& file);

}  // namespace culet::hub
