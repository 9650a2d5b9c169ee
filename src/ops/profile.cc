#include "ops/profile.h"

#include <algorithm>

namespace culet {

OpTimer::OpTimer(Context& ctx, const char* op, int kind) : profile_(ctx.profile()) {
  if (profile_ == nullptr) return;
  if (profile_->inside_) {
    profile_ = nullptr;
    return;
  }
  profile_->inside_ = true;
  entry_.op = op;
  entry_.kind = kind;
  start_ = std::chrono::steady_clock::now();
}

OpTimer::~OpTimer() {
  if (profile_ == nullptr) return;
  entry_.time = std::chrono::steady_clock::now() - start_;
  profile_->inside_ = false;
  auto& entries = profile_->entries_;
  const auto same = [&](const OpProfile::Entry& other) {
    return other.op == entry_.op && other.kind == entry_.kind && other.weights == entry_.weights;
  };
  auto found = std::find_if(entries.begin(), entries.end(), same);
  if (found == entries.end()) found = entries.insert(entries.end(), entry_);
  if (found->calls++ == 0) return;  // new: it has this call's time and work already
  found->time += entry_.time;
  found->work.bytes += entry_.work.bytes;
  found->work.multiply_adds += entry_.work.multiply_adds;
}

void OpTimer::Add(const Matrix& weight, const OpWork& work) {
  const auto free = std::find(entry_.weights.begin(), entry_.weights.end(), nullptr);
  if (free == entry_.weights.begin()) {
    entry_.format = weight.format;
    entry_.dtype = weight.dtype;
  }
  if (free != entry_.weights.end()) *free = weight.data;
  Add(work);
}

void OpTimer::Add(const OpWork& work, DType operands) {
  entry_.dtype = operands;
  Add(work);
}

void OpTimer::Add(const OpWork& work) {
  entry_.work.bytes += work.bytes;
  entry_.work.multiply_adds += work.multiply_adds;
}

}  // namespace culet
