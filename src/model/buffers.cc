#include "model/buffers.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace culet {

Buffer::Buffer(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  void* block = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) {
    size_ = 0;
    throw Error(ErrorKind::kResource, "cannot allocate " + std::to_string(bytes >> 20) +
                                          " MiB of memory; a smaller context or chunk needs less");
  }
  // KV pages and activations are read in long runs: huge pages save misses of the TLB.
  (void)::madvise(block, bytes, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(block);
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void DecoderBuffers::LayOut(Arena& arena, const ModelConfig& config, std::int64_t rows) {
  std::int64_t q_width = 0;
  std::int64_t kv_width = 0;
  std::int64_t mlp_width = config.ple_width;
  for (const LayerConfig& layer : config.layers) {
    q_width = std::max(q_width, config.heads * layer.head_dim);
    kv_width = std::max(kv_width, layer.kv_heads * layer.head_dim);
    mlp_width = std::max(mlp_width, layer.intermediate);
  }
  const std::int64_t ple_columns =
      static_cast<std::int64_t>(config.layers.size()) * config.ple_width;

  x = arena.Take<float>(rows, config.hidden);
  normed = arena.Take<float>(rows, config.hidden);
  branch = arena.Take<float>(rows, config.hidden);
  q = arena.Take<float>(rows, q_width);
  attended = arena.Take<float>(rows, q_width);
  k = arena.Take<float>(rows, kv_width);
  v = arena.Take<float>(rows, kv_width);
  gate = arena.Take<float>(rows, mlp_width);
  hidden = arena.Take<float>(rows, config.hidden);
  if (config.ple_width > 0) {
    ple_projected = arena.Take<float>(rows, ple_columns);
    ple = arena.Take<float>(rows, ple_columns);
  }
  if (config.experts > 0) {
    branch2 = arena.Take<float>(rows, config.hidden);
    router = arena.Take<float>(rows, config.experts);
    expert = arena.Take<std::int32_t>(rows, config.experts_per_token);
    expert_weight = arena.Take<float>(rows, config.experts_per_token);
  }
}

}  // namespace culet
