// Time by op: the ops' own records, under the names of the model.
#include <algorithm>
#include <map>
#include <tuple>
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

double PeakFor(Context& context, const OpProfile::Entry& entry) {
  if (entry.work.multiply_adds == 0) return 0;
  // Attention multiplies in f32, whatever KV is kept as.
  if (entry.weights.front() == nullptr) return MeasurePeakGflops(context, DType::kF32);
  if (entry.format != WeightFormat::kDense) return MeasurePeakGflops(context, entry.format);
  return MeasurePeakGflops(context, entry.dtype);
}

}  // namespace

std::vector<OpTime> ProfileOps(Model& model, const std::function<void()>& work) try {
  EngineThread& thread = *model.impl().thread;
  OpProfile profile;
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

  const Checkpoint& checkpoint = *model.impl().checkpoint;
  const TensorAddresses tensors(checkpoint);
  std::map<std::pair<std::string, std::string>, OpTime> sums;
  std::map<std::tuple<bool, WeightFormat, DType>, double> peaks;  // each is measured once
  for (const OpProfile::Entry& entry : profile.entries()) {
    const std::string what = WhatOf(entry, tensors, checkpoint);
    OpTime& sum = sums[{entry.op, what}];
    sum.op = entry.op;
    sum.what = what;
    sum.calls += entry.calls;
    sum.ms += std::chrono::duration<double, std::milli>(entry.time).count();
    sum.bytes += entry.work.bytes;
    sum.multiply_adds += entry.work.multiply_adds;
    if (sum.peak_gflops != 0 || entry.work.multiply_adds == 0) continue;
    const bool weights = entry.weights.front() != nullptr;
    double& peak = peaks[{weights, entry.format, weights ? entry.dtype : DType::kF32}];
    if (peak == 0) {
      peak = thread.Exclusive([&](Engine& engine) { return PeakFor(engine.context(), entry); });
    }
    sum.peak_gflops = peak;
  }
  std::vector<OpTime> times;
  for (auto& [key, sum] : sums) times.push_back(std::move(sum));
  std::ranges::sort(times, [](const OpTime& a, const OpTime& b) { return a.ms > b.ms; });
  return times;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
