// Which tensor of a checkpoint a weight of the model lies in.
#pragma once

#include <cstddef>
#include <map>

#include "checkpoint/checkpoint.h"

namespace culet {

// Of the tensors with two dimensions or more, by where their values begin.
class TensorAddresses {
 public:
  explicit TensorAddresses(const Checkpoint& checkpoint) {
    for (const auto& [name, tensor] : checkpoint.tensors()) {
      if (tensor.shape.size() >= 2) by_address_.emplace(tensor.bytes.data(), &tensor);
    }
  }

  // A weight may be a part of a tensor: the rows of a layer, or of an expert. Null: of none.
  const TensorView* Find(const void* weight) const {
    const auto* at = static_cast<const std::byte*>(weight);
    auto found = by_address_.upper_bound(at);
    if (found == by_address_.begin()) return nullptr;
    const TensorView* tensor = (--found)->second;
    return at < tensor->bytes.data() + tensor->bytes.size() ? tensor : nullptr;
  }

 private:
  std::map<const std::byte*, const TensorView*> by_address_;
};

}  // namespace culet
