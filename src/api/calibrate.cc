#include "api/calibrate.h"

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <utility>

#include "api/model_impl.h"
#include "api/tensor_addresses.h"
#include "ops/context.h"

namespace culet {
namespace {

// A share of the mean is added to every column: one that a short text leaves at rest counts too.
constexpr double kFloor = 0.01;

// Sums of squares by tensor.
class ColumnSums {
 public:
  explicit ColumnSums(const Checkpoint& checkpoint) : tensors_(checkpoint) {}

  void Add(const Matrix& weight, View<const float, 2> x) {
    const TensorView* tensor = tensors_.Find(weight.data);
    if (tensor == nullptr) return;
    Sums& sums = by_tensor_[tensor];
    sums.squares.resize(static_cast<std::size_t>(x.extent(1)));
    for (std::int64_t row = 0; row < x.extent(0); ++row) {
      const float* values = x.row(row);
      for (std::size_t col = 0; col < sums.squares.size(); ++col) {
        sums.squares[col] += static_cast<double>(values[col]) * values[col];
      }
    }
    sums.rows += x.extent(0);
  }

  ColumnWeights Weights() const {
    ColumnWeights weights;
    for (const auto& [tensor, sums] : by_tensor_) {
      if (sums.rows == 0) continue;
      double total = 0;
      for (const double square : sums.squares) total += square;
      const double mean = total / static_cast<double>(sums.squares.size());
      if (!(mean > 0)) continue;
      std::vector<float>& columns = weights[tensor->name];
      for (const double square : sums.squares) {
        columns.push_back(static_cast<float>(square / mean + kFloor));
      }
    }
    return weights;
  }

 private:
  struct Sums {
    std::vector<double> squares;
    std::int64_t rows = 0;
  };
  TensorAddresses tensors_;
  std::map<const TensorView*, Sums> by_tensor_;
};

}  // namespace

ColumnWeights Calibrate(Model& model, const std::vector<std::vector<TokenId>>& windows,
                        const std::function<void(std::int64_t)>& on_row) {
  ColumnSums sums(*model.impl().checkpoint);
  const auto set_tap = [&](ProductTap tap) {
    model.impl().thread->Exclusive(
        [&](Engine& engine) { engine.context().set_product_tap(std::move(tap)); });
  };
  set_tap([&](const Matrix& weight, View<const float, 2> x) { sums.Add(weight, x); });
  try {
    std::int64_t done = 0;
    for (const std::vector<TokenId>& tokens : windows) {
      model.Logits(tokens, 0, [&](std::int64_t, std::span<const float>) { on_row(++done); });
    }
  } catch (...) {
    set_tap({});
    throw;
  }
  set_tap({});
  return sums.Weights();
}

}  // namespace culet
