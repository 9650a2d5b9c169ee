#include "hub/hash.h"

#include <openssl/evp.h>

#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "hub/reference.h"

namespace culet::hub {
namespace {

constexpr std::size_t kReadBytes = 4 << 20;

void Check(int result) {
  if (result == 1) return;
  throw Error(ErrorKind::kInternal, "libcrypto cannot compute a hash");
}

}  // namespace

struct Hasher::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

HashKind HashKindOf(std::string_view hash) {
  if (IsHex(hash, 64)) return HashKind::kSha256;
  if (IsHex(hash, 40)) return HashKind::kGitBlob;
  throw Error(ErrorKind::kCorrupt, JsonExcerpt(Json(std::string(hash))) +
                                       " is no hash; expected 64 digits (SHA-256) or 40 (git)");
}

Hasher::Hasher(HashKind kind, std::uint64_t bytes) : state_(std::make_unique<State>()) {
  if (state_->context == nullptr) throw std::bad_alloc();
  Check(EVP_DigestInit_ex(state_->context, kind == HashKind::kSha256 ? EVP_sha256() : EVP_sha1(),
                          nullptr));
  if (kind == HashKind::kSha256) return;
  const std::string head = "blob " + std::to_string(bytes) + std::string(1, '\0');
  Add(std::as_bytes(std::span(head)));
}

Hasher::~Hasher() = default;

void Hasher::Add(std::span<const std::byte> bytes) {
  Check(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
}

std::string Hasher::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  Check(EVP_DigestFinal_ex(state_->context, digest, &size));
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += {kHex[digest[i] >> 4], kHex[digest[i] & 15]};
  return text;
}

std::string HashText(HashKind kind, std::string_view content) {
  Hasher hasher(kind, content.size());
  hasher.Add(std::as_bytes(std::span(content.data(), content.size())));
  return hasher.Finish();
}

std::string HashFile(HashKind kind, RandomFile& file,
                     const std::function<void(std::uint64_t)>& on_read) {
  const std::uint64_t size = file.Size();
  Hasher hasher(kind, size);
  std::vector<std::byte> buffer(kReadBytes);
  std::uint64_t done = 0;
  for (;;) {
    const std::size_t count = file.ReadAt(done, buffer);
    if (count == 0) return hasher.Finish();
    hasher.Add(std::span(buffer).first(count));
    done += count;
    on_read(done);
  }
}

}  // namespace culet::hub
