// The two hashes by which the hub names what a file holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/file.h"

namespace culet::hub {

enum class HashKind {
  kSha256,   // of large files (git LFS): 64 hexadecimal digits
  kGitBlob,  // SHA-1 of "blob SIZE", a zero byte and the content, as git has it: 40 digits
};
// By its length; throws Error(kCorrupt) for what is no hash of these.
HashKind HashKindOf(std::string_view hash);

class Hasher {
 public:
  Hasher(HashKind kind, std::uint64_t bytes);  // `bytes` that will come
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void Add(std::span<const std::byte> bytes);
  std::string Finish();  // lower-case hexadecimal; once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string HashText(HashKind kind, std::string_view content);
// Of a whole file, from its first byte to its last. `on_read(done)` a few times a second's worth of
// data; it may throw to stop.
std::string HashFile(HashKind kind, RandomFile& file,
                     const std::function<void(std::uint64_t)>& on_read);

}  // namespace culet::hub
