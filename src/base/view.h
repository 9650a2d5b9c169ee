// View<T, rank>: a pointer with extents and strides. It never owns; pass it by value.
// std::span serves where one dimension is enough.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "base/error.h"

namespace culet {

template <typename T, int kRank>
class View {
 public:
  using Extents = std::array<std::int64_t, kRank>;

  View() = default;

  // Dense, last dimension contiguous.
  View(T* data, const Extents& extents) : data_(data), extents_(extents) {
    std::int64_t stride = 1;
    for (int dim = kRank - 1; dim >= 0; --dim) {
      strides_[dim] = stride;
      stride *= extents_[dim];
    }
  }

  // Strides in elements.
  View(T* data, const Extents& extents, const Extents& strides)
      : data_(data), extents_(extents), strides_(strides) {}

  // A view of mutable elements serves where const ones are asked for.
  template <typename U>
  requires(std::is_same_v<const U, T>)
      View(const View<U, kRank>& other)  // NOLINT(google-explicit-constructor)
      : data_(other.data()), extents_(other.extents()), strides_(other.strides()) {}

  T* data() const { return data_; }
  const Extents& extents() const { return extents_; }
  const Extents& strides() const { return strides_; }
  std::int64_t extent(int dim) const { return extents_[dim]; }
  std::int64_t stride(int dim) const { return strides_[dim]; }

  // Pointer to the first element of the sub-block at `index` of the leading dimension.
  T* row(std::int64_t index) const {
    CULET_DCHECK(index >= 0 && index < extents_[0]);
    return data_ + index * strides_[0];
  }

  // The first `count` rows.
  View first(std::int64_t count) const {
    CULET_DCHECK(count >= 0 && count <= extents_[0]);
    View result = *this;
    result.extents_[0] = count;
    return result;
  }

 private:
  T* data_ = nullptr;
  Extents extents_{};
  Extents strides_{};
};

// "[16, 32]"
inline std::string ShapeText(std::span<const std::int64_t> extents) {
  std::string text = "[";
  for (const std::int64_t extent : extents) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(extent);
  }
  return text + "]";
}

template <typename T, int kRank>
std::string ShapeText(const View<T, kRank>& view) {
  return ShapeText(std::span<const std::int64_t>(view.extents()));
}

}  // namespace culet
