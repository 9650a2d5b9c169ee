#include "checkpoint/shards.h"

#include <algorithm>

#include "base/error.h"

namespace culet {

namespace fs = std::filesystem;

std::vector<Shard> DivideIntoShards(std::span<const std::uint64_t> bytes,
                                    std::uint64_t shard_bytes) {
  std::vector<Shard> shards(1);
  std::uint64_t used = 0;
  for (const std::uint64_t size : bytes) {
    Shard* shard = &shards.back();
    if (shard->end > shard->begin && used + size > shard_bytes) {
      shard = &shards.emplace_back(Shard{shard->end, shard->end});
      used = 0;
    }
    ++shard->end;
    used += size;
  }
  return shards;
}

std::string ShardName(std::size_t number, std::size_t shards) {
  if (shards == 1) return "model.safetensors";
  const auto five = [](std::size_t value) {
    const std::string digits = std::to_string(value);
    return std::string(5 - std::min<std::size_t>(5, digits.size()), '0') + digits;
  };
  return "model-" + five(number + 1) + "-of-" + five(shards) + ".safetensors";
}

void CheckSpace(const fs::path& folder, std::uint64_t bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) return;  // a file system that does not tell; writing will
  // Headers, config files and rounding to blocks.
  const std::uint64_t total = bytes + (std::uint64_t{16} << 20);
  if (space.available >= total) return;
  throw Error(ErrorKind::kResource,
              folder.string() + ": the checkpoint needs " + std::to_string(total / 1'000'000) +
                  " MB; " + std::to_string(space.available / 1'000'000) +
                  " MB are free. Free some space or name a folder on another disk");
}

}  // namespace culet
