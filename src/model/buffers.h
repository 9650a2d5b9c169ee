// The activations of a decoder, allocated once for the largest batch: Forward allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/view.h"
#include "checkpoint/config.h"

namespace culet {

// Hands out 64-byte aligned pieces of one block. Without a block it only counts: the same layout
// code answers "how much?" and lays out.
class Arena {
 public:
  Arena() = default;
  explicit Arena(std::byte* block) : block_(block) {}

  template <typename T>
  T* Take(std::int64_t count) {
    constexpr std::size_t kAlign = 64;
    const std::size_t bytes =
        (static_cast<std::size_t>(count) * sizeof(T) + kAlign - 1) / kAlign * kAlign;
    T* piece = block_ == nullptr ? nullptr : reinterpret_cast<T*>(block_ + used_);
    used_ += bytes;
    return piece;
  }
  template <typename T>
  View<T, 2> Take(std::int64_t rows, std::int64_t cols) {
    return View<T, 2>(Take<T>(rows * cols), {rows, cols});
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* block_ = nullptr;
  std::size_t used_ = 0;
};

// Zeroed memory straight from the system, so that what is never touched is never resident.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);  // throws Error(kResource) with the size
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Every buffer is [rows of the largest batch, …], f32; a step uses the first rows of each.
struct DecoderBuffers {
  View<float, 2> x;              // [rows, hidden] the residual stream
  View<float, 2> normed;         // [rows, hidden] operand of the next matmul
  View<float, 2> branch;         // [rows, hidden] what a block adds
  View<float, 2> branch2;        // [rows, hidden] MoE: the experts' part
  View<float, 2> q, attended;    // [rows, heads·head_dim of the widest layer]
  View<float, 2> k, v;           // [rows, kv_heads·head_dim of the widest layer]
  View<float, 2> gate;           // [rows, widest MLP or per-layer embedding]
  View<float, 2> ple;            // [rows, layers·ple_width]
  View<float, 2> ple_projected;  // [rows, layers·ple_width]
  View<float, 2> router;         // [rows, experts]
  View<std::int32_t, 2> expert;  // [rows, experts_per_token]
  View<float, 2> expert_weight;  // [rows, experts_per_token]
  View<float, 2> hidden;         // [rows, hidden] after the final norm, of rows that asked

  void LayOut(Arena& arena, const ModelConfig& config, std::int64_t rows);
};

}  // namespace culet
