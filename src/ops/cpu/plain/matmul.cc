// Plain matrix products: the definition that other levels are checked against. Sums in double.
#include "ops/cpu/plain/plain.h"
#include "ops/cpu/quantized_rows.h"

namespace culet {
namespace {

float Widen(const float* data, std::int64_t index) { return data[index]; }

struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};
float Widen(const Bf16* data, std::int64_t index) { return Bf16ToF32(data[index].bits); }
float Widen(const F16* data, std::int64_t index) { return F16ToF32(data[index].bits); }

std::size_t OperandBytes(std::int64_t rows, std::int64_t k) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(k) * sizeof(float);
}

void PackF32(const float* x, std::int64_t x_stride, std::int64_t, std::int64_t k,
             std::int64_t begin, std::int64_t end, float, std::byte* operand) {
  float* packed = reinterpret_cast<float*>(operand);  // [rows, k]
  for (std::int64_t row = begin; row < end; ++row) {
    for (std::int64_t i = 0; i < k; ++i) packed[row * k + i] = x[row * x_stride + i];
  }
}

void PackBf16(const float* x, std::int64_t x_stride, std::int64_t, std::int64_t k,
              std::int64_t begin, std::int64_t end, float, std::byte* operand) {
  float* packed = reinterpret_cast<float*>(operand);  // [rows, k], rounded
  for (std::int64_t row = begin; row < end; ++row) {
    for (std::int64_t i = 0; i < k; ++i) packed[row * k + i] = RoundToBf16(x[row * x_stride + i]);
  }
}

template <typename Weight>
void Run(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
         std::int64_t end, float* out, std::int64_t out_stride) {
  const std::int64_t k = w.cols;
  const float* x = reinterpret_cast<const float*>(operand);    // [rows, k]
  const Weight* weights = static_cast<const Weight*>(w.data);  // [n, k]
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t n = begin; n < end; ++n) {
      double sum = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        sum += static_cast<double>(x[row * k + i]) * Widen(weights + n * k, i);
      }
      out[row * out_stride + n] = static_cast<float>(sum);
    }
  }
}

void PackQuantized(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
                   std::int64_t begin, std::int64_t end, float scale, std::byte* operand) {
  const QuantizedRows packed(operand, rows, k);
  for (std::int64_t row = begin; row < end; ++row) {
    for (std::int64_t i = 0; i < k; i += kScaleColumns) {
      QuantizeGroups(x + row * x_stride + i, std::min(kScaleColumns, k - i), scale,
                     packed.row(row) + i, packed.groups(row) + i / kQuantBlock);
    }
  }
}

// Σ over a block is exact in integers; blocks are scaled and summed in double.
void RunQuantized(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
                  std::int64_t end, float* out, std::int64_t out_stride) {
  const QuantizedRows x(operand, rows, w.cols);
  const WeightLayout layout = w.layout();
  const auto* data = static_cast<const std::uint8_t*>(w.data);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t n = begin; n < end; ++n) {
      double sum = 0;
      for (std::int64_t block = 0; block < w.cols; block += kQuantBlock) {
        std::int64_t products = 0;
        for (std::int64_t i = block; i < std::min(w.cols, block + kQuantBlock); ++i) {
          products += x.row(row)[i] * QuantAt(layout, data, n, i);
        }
        sum += static_cast<double>(products) * x.groups(row)[block / kQuantBlock].scale *
               w.scale(layout.scale(n, block));
      }
      out[row * out_stride + n] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void FillPlainMatMul(CpuKernels& table) {
  table.matmul_f32 = {CpuLevel::kPlain, 1, OperandBytes, PackF32, Run<float>};
  table.matmul_f16 = {CpuLevel::kPlain, 1, OperandBytes, PackF32, Run<F16>};
  table.matmul_bf16 = {CpuLevel::kPlain, 1, OperandBytes, PackBf16, Run<Bf16>};
  table.matmul_int8 = {CpuLevel::kPlain, 1, QuantizedRows::Bytes, PackQuantized, RunQuantized};
  table.matmul_int4 = table.matmul_int8;
  table.matmul_int8_wide = table.matmul_int8;
  table.matmul_int4_wide = table.matmul_int8;
  table.matmul_bf16_exact = {CpuLevel::kPlain, 1, OperandBytes, PackF32, Run<Bf16>};
}

}  // namespace culet
