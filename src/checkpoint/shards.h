// What every writer of checkpoints needs: shards, their names, and room on the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace culet {

// Tensors [begin, end) of a list lie in one file.
struct Shard {
  std::size_t begin = 0, end = 0;
};

// Divides tensors of these sizes, in their order, into files of at most `shard_bytes`; a larger
// tensor gets a file of its own. At least one.
std::vector<Shard> DivideIntoShards(std::span<const std::uint64_t> bytes,
                                    std::uint64_t shard_bytes);

// "model.safetensors" where there is one, else "model-00001-of-00003.safetensors" and so on.
std::string ShardName(std::size_t number, std::size_t shards);

// Throws Error(kResource) with the numbers where `folder` has no room for so many bytes of tensors
// and what goes with them.
void CheckSpace(const std::filesystem::path& folder, std::uint64_t bytes);

}  // namespace culet
