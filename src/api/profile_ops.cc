// Time by op: the ops' own records, under the names of the model.
#include <algorithm>
#include <map>
#include <utility>

#include "api/boundary.h"
#include "api/model_impl.h"
#include "api/tensor_addresses.h"
#include "culet/tools.h"
#include "ops/machine_limits.h"
#include "ops/profile.h"

namespace culet {
namespace {

// "layers.12.mlp.gate_proj.weight" -> "mlp.gate_proj": one name for all layers.
std::string NameInLayer(std::string name) {
  constexpr std::string_view kLayers = "layers.";
  constexpr std::string_view kWeight = ".weight";
  if (name.ends_with(kWeight)) name.resize(name.size() - kWeight.size());
  const std::size_t layers = name.find(kLayers);
  if (layers == std::string::npos) return name;
  const std::size_t number = layers + kLayers.size();
  const std::size_t end = name.find('.', number);
  return end == std::string::npos ? name : name.substr(0, layers) + name.substr(end + 1);
}

std::string WhatOf(const OpProfile::Entry& entry, const TensorAddresses& tensors,
                   const Checkpoint& checkpoint) {
  if (entry.kind >= 0) return entry.kind == static_cast<int>(LayerKind::kFull) ? "full" : "sliding";
  std::string what;
  for (const void* weight : entry.weights) {
    if (weight == nullptr) break;
    const TensorView* tensor = tensors.Find(weight);
    std::string name = "?";
    if (tensor != nullptr) {
      const std::string_view prefix = TensorPrefix(checkpoint.config());
      name = tensor->name.starts_with(prefix) ? tensor->name.substr(prefix.size()) : tensor->name;
      name = NameInLayer(name);
    }
    what += (what.empty() ? "" : ", ") + name;
  }
  return what;
}

// Of each kind of operand, the mean of what was measured before the work and after it.
class Peaks {
 public:
  void Measure(Context& context) {
    f32_ += MeasurePeakGflops(context, DType::kF32) / 2;
    bf16_ += MeasurePeakGflops(context, DType::kBF16) / 2;
    int8_ += MeasurePeakGflops(context, WeightFormat::kInt8Tiles) / 2;
    int4_ += MeasurePeakGflops(context, WeightFormat::kInt4Tiles) / 2;
  }
  double For(const OpProfile::Entry& entry) const {
    if (entry.work.multiply_adds == 0) return 0;
    // Attention multiplies in f32, whatever KV is kept as, or twice in bf16 for once in f32.
    if (entry.weights.front() == nullptr) return entry.dtype == DType::kBF16 ? bf16_ / 2 : f32_;
    if (entry.format != WeightFormat::kDense) return IsInt4(entry.format) ? int4_ : int8_;
    return entry.dtype == DType::kBF16 ? bf16_ : f32_;
  }

 private:
  double f32_ = 0, bf16_ = 0, int8_ = 0, int4_ = 0;
};

}  // namespace

std::vector<OpTime> ProfileOps(Model& model, const std::function<void()>& work) try {
  EngineThread& thread = *model.impl().thread;
  OpProfile profile;
  Peaks peaks;
  const auto measure = [&] {
    thread.Exclusive([&](Engine& engine) { peaks.Measure(engine.context()); });
  };
  measure();
  const auto set = [&](OpProfile* to) {
    thread.Exclusive([&](Engine& engine) { engine.context().set_profile(to); });
  };
  set(&profile);
  try {
    work();
  } catch (...) {
    set(nullptr);
    throw;
  }
  set(nullptr);
  measure();

  const Checkpoint& checkpoint = *model.impl().checkpoint;
  const TensorAddresses tensors(checkpoint);
  std::map<std::pair<std::string, std::string>, OpTime> sums;
  for (const OpProfile::Entry& entry : profile.entries()) {
    const std::string what = WhatOf(entry, tensors, checkpoint);
    OpTime& sum = sums[{entry.op, what}];
    sum.op = entry.op;
    sum.what = what;
    sum.calls += entry.calls;
    sum.ms += std::chrono::duration<double, std::milli>(entry.time).count();
    sum.bytes += entry.work.bytes;
    sum.multiply_adds += entry.work.multiply_adds;
    if (sum.peak_gflops == 0) sum.peak_gflops = peaks.For(entry);
  }
  std::vector<OpTime> times;
  for (auto& [key, sum] : sums) times.push_back(std::move(sum));
  std::ranges::sort(times, [](const OpTime& a, const OpTime& b) { return a.ms > b.ms; });
  return times;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
