// Plain row kernels: the formulas of ops/rows.h, in double where a sum or a function is taken.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/plain/plain.h"
#include "ops/cpu/table.h"

namespace culet {
namespace {

void Widen(const void* row, DType dtype, float scale, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    float value = 0;
    if (dtype == DType::kF32) {
      value = static_cast<const float*>(row)[i];
    } else if (dtype == DType::kBF16) {
      value = Bf16ToF32(static_cast<const std::uint16_t*>(row)[i]);
    } else {
      value = F16ToF32(static_cast<const std::uint16_t*>(row)[i]);
    }
    out[i] = value * scale;
  }
}

// (mean((x·scale)²) + eps)^(−1/2)
double InverseRms(const float* x, float scale, float eps, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double value = x[i] * scale;
    sum += value * value;
  }
  return 1.0 / std::sqrt(sum / static_cast<double>(n) + eps);
}

void RmsNorm(const float* x, const float* w, float eps, float* out, std::int64_t n) {
  const double inverse = InverseRms(x, 1.0f, eps, n);
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<float>(x[i] * inverse * (w != nullptr ? w[i] : 1.0f));
  }
}

void AddNorm(const float* branch, float branch_scale, const float* w, float eps, float scale,
             float* x, std::int64_t n) {
  const double inverse = InverseRms(branch, branch_scale, eps, n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double normed = branch[i] * branch_scale * inverse * (w != nullptr ? w[i] : 1.0f);
    x[i] = static_cast<float>((x[i] + normed) * scale);
  }
}

void Rope(float* x, const float* cos, const float* sin, std::int64_t n) {
  const std::int64_t half = n / 2;
  for (std::int64_t j = 0; j < half; ++j) {
    const double low = x[j];
    const double high = x[j + half];
    x[j] = static_cast<float>(low * cos[j] - high * sin[j]);
    x[j + half] = static_cast<float>(high * cos[j] + low * sin[j]);
  }
}

void GeluMul(const float* gate, const float* up, float* out, std::int64_t n) {
  constexpr double kRootTwoOverPi = 0.79788456080286535588;
  for (std::int64_t i = 0; i < n; ++i) {
    const double t = gate[i];
    const double inner = kRootTwoOverPi * (t + 0.044715 * t * t * t);
    out[i] = static_cast<float>(0.5 * t * (1.0 + std::tanh(inner)) * up[i]);
  }
}

void Scale(const float* w, float scale, float* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] = x[i] * (w != nullptr ? w[i] : 1.0f) * scale;
}

void Add(const float* a, const float* b, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

void SoftCap(float cap, float* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(cap * std::tanh(static_cast<double>(x[i]) / cap));
  }
}

void RoundToSteps(float step, float* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float steps = x[i] / step;
    // std::clamp leaves a NaN as it is.
    x[i] = std::nearbyint(std::clamp(steps, -128.0f, 127.0f)) * step;
  }
}

void Narrow(const float* x, DType dtype, void* out, std::int64_t n) {
  if (dtype == DType::kF32) {
    std::memcpy(out, x, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) static_cast<std::uint16_t*>(out)[i] = F32ToBf16(x[i]);
}

void AddScaled(const float* x, float weight, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] += weight * x[i];
}

std::uint64_t ReadStream(const std::byte* data, std::size_t bytes) {
  const std::size_t quarter = bytes / 4 / sizeof(std::uint64_t);  // words a stream
  std::uint64_t sums[4] = {};
  for (std::size_t i = 0; i < quarter; ++i) {
    for (std::size_t stream = 0; stream < 4; ++stream) {
      std::uint64_t word = 0;
      std::memcpy(&word, data + (stream * quarter + i) * sizeof word, sizeof word);
      sums[stream] += word;
    }
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

// Eight chains of scalar multiply-adds.
float Peak(std::int64_t steps) {
  volatile float seed = 0.5f;
  const float factor = seed;
  float chains[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  for (std::int64_t step = 0; step < steps; ++step) {
    for (float& chain : chains) chain = chain * factor + factor;
  }
  float sum = 0;
  for (const float chain : chains) sum += chain;
  return sum;
}

}  // namespace

void FillPlainRows(CpuKernels& table) {
  constexpr CpuLevel kLevel = CpuLevel::kPlain;
  table.widen = {Widen, kLevel};
  table.rms_norm = {RmsNorm, kLevel};
  table.add_norm = {AddNorm, kLevel};
  table.rope = {Rope, kLevel};
  table.gelu_mul = {GeluMul, kLevel};
  table.scale = {Scale, kLevel};
  table.add = {Add, kLevel};
  table.soft_cap = {SoftCap, kLevel};
  table.round_to_steps = {RoundToSteps, kLevel};
  table.narrow = {Narrow, kLevel};
  table.add_scaled = {AddScaled, kLevel};
  table.read_stream = ReadStream;
  table.peak_f32 = Peak;
  table.peak_bf16 = Peak;
  table.peak_int8 = Peak;
  table.peak_int4 = Peak;
  table.peak_f32_step = 8;
  table.peak_bf16_step = 8;
  table.peak_int8_step = 8;
  table.peak_int4_step = 8;
}

void FillPlain(CpuKernels& table) {
  table.level = CpuLevel::kPlain;
  FillPlainMatMul(table);
  FillPlainAttention(table);
  FillPlainRows(table);
  FillPlainEncoder(table);
}

}  // namespace culet
