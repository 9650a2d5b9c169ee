#include "hub/listing.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/json.h"

namespace culet::hub {
namespace {

constexpr std::uint64_t kMaxListingBytes = 32 << 20;
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 50;  // sums of thousands still fit
constexpr std::size_t kMaxFiles = 100000;
constexpr std::size_t kMaxShards = 10000;  // as in src/checkpoint

constexpr std::array<std::string_view, 8> kSmallFiles = {"config.json",
                                                         "generation_config.json",
                                                         "tokenizer_config.json",
                                                         "chat_template.jinja",
                                                         "chat_template.json",
                                                         "processor_config.json",
                                                         "preprocessor_config.json",
                                                         "tokenizer.json"};

bool IsWanted(const std::string& name) {
  return std::find(kSmallFiles.begin(), kSmallFiles.end(), name) != kSmallFiles.end() ||
         name == kIndexName || (IsPlainFileName(name) && name.ends_with(".safetensors"));
}

std::string TextField(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<std::uint64_t> SizeField(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

[[noreturn]] void NoHub(const std::string& place, const std::string& what) {
  throw Error(ErrorKind::kCorrupt, place + ": " + what + ". Is HF_ENDPOINT the address of a hub?");
}

std::string Unquoted(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  std::erase(etag, '"');
  return etag;
}

// Size and hash by the headers of the file's own address, where the listing does not say.
void AskForFile(const Client& client, const std::string& repository, const std::string& commit,
                RemoteFile* file) {
  const Answer answer = client.Head(FileUrl(client, repository, commit, file->name));
  const std::string place = answer.url.ForMessages();
  if (answer.response.status >= 400) {
    client.Refused(answer.response, place, repository, repository + "/" + file->name);
  }
  const auto header = [&](const char* linked, const char* own) {
    const std::string* value = answer.response.Header(linked);
    if (value == nullptr) value = answer.response.Header(own);
    return value == nullptr ? std::string() : *value;
  };
  file->hash = Unquoted(header("x-linked-etag", "etag"));
  const std::string size = header("x-linked-size", "content-length");
  if (size.empty() || size.size() > 18 ||
      !std::all_of(size.begin(), size.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    NoHub(place, "the answer does not say how long the file is");
  }
  file->bytes = std::stoull(size);
}

RemoteFile ReadSibling(const Client& client, const std::string& repository,
                       const std::string& commit, const Json& sibling, const std::string& place) {
  RemoteFile file;
  file.name = TextField(sibling, "rfilename");
  const auto lfs = sibling.find("lfs");
  const bool large = lfs != sibling.end() && lfs->is_object();
  file.hash = large ? TextField(*lfs, "sha256") : TextField(sibling, "blobId");
  const std::optional<std::uint64_t> bytes =
      large && SizeField(*lfs, "size") ? SizeField(*lfs, "size") : SizeField(sibling, "size");
  if (file.hash.empty() || !bytes) {
    AskForFile(client, repository, commit, &file);
  } else {
    file.bytes = *bytes;
  }
  if (!IsHex(file.hash, 64) && !IsHex(file.hash, 40)) {
    NoHub(place, "the hash of " + JsonExcerpt(Json(file.name)) + " is " +
                     JsonExcerpt(Json(file.hash)) + "; expected 64 or 40 hexadecimal digits");
  }
  if (file.bytes > kMaxFileBytes) {
    NoHub(place, JsonExcerpt(Json(file.name)) + " has " + std::to_string(file.bytes) +
                     " bytes, which no file has");
  }
  file.hash_kind = HashKindOf(file.hash);
  return file;
}

}  // namespace

std::span<const std::string_view> SmallFileNames() { return kSmallFiles; }

bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.size() <= 200 && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return static_cast<unsigned char>(c) >= ' ' && c != 0x7f &&
                  std::string_view("/\\:").find(c) == std::string_view::npos;
         });
}

std::string FileUrl(const Client& client, const std::string& repository, const std::string& commit,
                    const std::string& file) {
  return client.settings().endpoint + "/" + repository + "/resolve/" + commit + "/" + Quote(file);
}

const RemoteFile* FindFile(const Listing& listing, std::string_view name) {
  for (const RemoteFile& file : listing.files) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

Listing FetchListing(const Client& client, const ModelReference& reference) {
  const std::string url = client.settings().endpoint + "/api/models/" + reference.repository +
                          "/revision/" + Quote(reference.revision) + "?blobs=true";
  std::string body;
  const Answer answer = client.Get(url, kMaxListingBytes, &body);
  const std::string place = answer.url.ForMessages();
  if (answer.response.status != 200) {
    client.Refused(answer.response, place, reference.repository, reference.Text());
  }
  Json json;
  try {
    json = ParseJson(body, place);
  } catch (const Error& error) {
    NoHub(place, std::string("the answer is no JSON (") + error.what() + ")");
  }
  Listing listing;
  listing.commit = TextField(json, "sha");
  if (!IsCommit(listing.commit)) {
    NoHub(place, "sha is " + JsonExcerpt(Json(listing.commit)) +
                     "; expected a commit of 40 hexadecimal digits");
  }
  if (IsCommit(reference.revision) && reference.revision != listing.commit) {
    NoHub(place, "commit " + reference.revision + " was asked for, " + listing.commit + " came");
  }
  const auto siblings = json.find("siblings");
  if (siblings == json.end() || !siblings->is_array() || siblings->size() > kMaxFiles) {
    NoHub(place, "siblings is no list of files");
  }
  std::set<std::string> names;
  for (const Json& sibling : *siblings) {
    const std::string name = TextField(sibling, "rfilename");
    if (!IsWanted(name)) continue;
    if (!names.insert(name).second) NoHub(place, JsonExcerpt(Json(name)) + " is listed twice");
    listing.files.push_back(
        ReadSibling(client, reference.repository, listing.commit, sibling, place));
  }
  return listing;
}

std::vector<std::string> ShardsOfIndex(std::string_view index_text, const std::string& place) {
  const Json json = ParseJson(index_text, place);
  const auto found = json.is_object() ? json.find("weight_map") : json.end();
  if (found == json.end() || !found->is_object() || found->empty()) {
    throw Error(ErrorKind::kCorrupt,
                place + ": weight_map is missing; expected an object from tensor to file name");
  }
  std::set<std::string> shards;
  for (const auto& item : found->items()) {
    const std::string shard = item.value().is_string() ? item.value().get<std::string>() : "";
    if (!IsPlainFileName(shard) || !shard.ends_with(".safetensors")) {
      throw Error(ErrorKind::kCorrupt,
                  place + ": weight_map." + item.key().substr(0, 100) + " is " +
                      JsonExcerpt(item.value()) +
                      "; expected the name of a .safetensors file in the same folder");
    }
    shards.insert(shard);
    if (shards.size() > kMaxShards) {
      throw Error(ErrorKind::kCorrupt, place + ": weight_map names too many files");
    }
  }
  return {shards.begin(), shards.end()};
}

}  // namespace culet::hub
