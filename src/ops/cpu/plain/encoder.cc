// Plain kernels of the media encoders: the formulas of ops/encoder.h and ops/dense_attention.h,
// sums and functions in double.
#include <algorithm>
#include <cmath>

#include "ops/cpu/plain/plain.h"

namespace culet {
namespace {

void Clamp(const float* x, float low, float high, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = std::min(std::max(x[i], low), high);
}

void LayerNorm(const float* x, const float* w, const float* b, float eps, float* out,
               std::int64_t n) {
  double mean = 0;
  for (std::int64_t i = 0; i < n; ++i) mean += x[i];
  mean /= static_cast<double>(n);
  double variance = 0;
  for (std::int64_t i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  variance /= static_cast<double>(n);
  const double inverse = 1.0 / std::sqrt(variance + eps);
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<float>((x[i] - mean) * inverse * w[i] + (b != nullptr ? b[i] : 0.0f));
  }
}

void Standardize(const float* x, const float* shift, const float* scale, float* out,
                 std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = (x[i] - shift[i]) * scale[i];
}

double Sigmoid(double t) { return 1.0 / (1.0 + std::exp(-t)); }

void Silu(const float* x, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] * Sigmoid(x[i]));
}

void Glu(const float* x, const float* gate, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] * Sigmoid(gate[i]));
}

void MulAdd(const float* a, const float* b, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] += a[i] * b[i];
}

void Dot(const float* a, const float* b, float* out, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  *out = static_cast<float>(sum);
}

void DenseBlock(const DenseAttentionArgs& a) {
  for (std::int64_t query = 0; query < a.queries; ++query) {
    const float* q = a.q + query * a.head_dim;
    float* scores = a.scores + query * kDenseScores;
    float* out = a.out + query * a.stride;
    float largest = a.max[query];
    for (std::int64_t key = 0; key < a.keys; ++key) {
      const float* k = a.k + key / kDensePanel * kDensePanel * a.head_dim + key % kDensePanel;
      double score = 0;
      for (std::int64_t i = 0; i < a.head_dim; ++i) {
        score += static_cast<double>(q[i]) * k[i * kDensePanel];
      }
      scores[key] = static_cast<float>(score);
      largest = std::max(largest, scores[key]);
    }
    const double before = std::exp(static_cast<double>(a.max[query]) - largest);
    double sum = 0;
    for (std::int64_t key = 0; key < a.keys; ++key) {
      scores[key] = static_cast<float>(std::exp(static_cast<double>(scores[key]) - largest));
      sum += scores[key];
    }
    a.max[query] = largest;
    a.sum[query] = static_cast<float>(a.sum[query] * before + sum);
    for (std::int64_t i = 0; i < a.head_dim; ++i) {
      const float* v = a.v + i / kDensePanel * kDensePanel * a.keys + i % kDensePanel;
      double value = out[i] * before;
      for (std::int64_t key = 0; key < a.keys; ++key) {
        value += static_cast<double>(scores[key]) * v[key * kDensePanel];
      }
      out[i] = static_cast<float>(value);
    }
  }
}

}  // namespace

void FillPlainEncoder(CpuKernels& table) {
  constexpr CpuLevel kLevel = CpuLevel::kPlain;
  table.clamp = {Clamp, kLevel};
  table.layer_norm = {LayerNorm, kLevel};
  table.standardize = {Standardize, kLevel};
  table.silu = {Silu, kLevel};
  table.glu = {Glu, kLevel};
  table.mul_add = {MulAdd, kLevel};
  table.dot = {Dot, kLevel};
  table.dense_attention_block = {DenseBlock, kLevel};
}

}  // namespace culet
