// Numbers out of a stranger's bytes, never outside of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace culet {

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t size() const { return bytes_.size(); }
  bool Has(std::uint64_t offset, std::uint64_t count) const {
    return offset <= size() && count <= size() - offset;
  }
  // 0 where it lies outside.
  std::uint32_t Big(std::uint64_t offset, int count) const {
    if (!Has(offset, static_cast<std::uint64_t>(count))) return 0;
    std::uint32_t value = 0;
    for (int i = 0; i < count; ++i) value = value << 8 | Byte(offset, i);
    return value;
  }
  std::uint32_t Little(std::uint64_t offset, int count) const {
    if (!Has(offset, static_cast<std::uint64_t>(count))) return 0;
    std::uint32_t value = 0;
    for (int i = count; i-- > 0;) value = value << 8 | Byte(offset, i);
    return value;
  }
  bool Is(std::uint64_t offset, std::string_view text) const {
    return Has(offset, text.size()) && Text().substr(offset, text.size()) == text;
  }
  // From `offset` on, at most `count`; empty where it lies outside.
  std::span<const std::byte> Part(std::uint64_t offset, std::uint64_t count) const {
    if (offset > size()) return {};
    const std::uint64_t rest = size() - offset;
    return bytes_.subspan(offset, count < rest ? count : rest);
  }

 private:
  std::uint32_t Byte(std::uint64_t offset, int i) const {
    return static_cast<std::uint32_t>(bytes_[offset + static_cast<std::uint64_t>(i)]);
  }
  std::string_view Text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  std::span<const std::byte> bytes_;
};

}  // namespace culet
