// Random values that hurt and weights of every format, for the tests of ops and for culet_checkops.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "ops/types.h"

namespace culet {

// CULET_TEST_SEED, or 1.
inline std::uint64_t TestSeed() {
  const char* text = std::getenv("CULET_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 1;
}

// Small and the same everywhere (splitmix64).
class Random {
 public:
  explicit Random(std::uint64_t salt) : state_(TestSeed() * 0x9E3779B97F4A7C15u + salt) {}
  std::uint64_t Bits() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::int64_t Below(std::int64_t end) {
    return static_cast<std::int64_t>(Bits() % static_cast<std::uint64_t>(end));
  }
  float Uniform(float low = -1, float high = 1) {
    return low + (high - low) * static_cast<float>(Bits() >> 40) * 0x1p-24f;
  }

 private:
  std::uint64_t state_;
};

enum class Values { kOrdinary, kTiny, kHuge, kOutlier };

inline std::vector<float> RandomFloats(Random& random, std::int64_t count,
                                       Values values = Values::kOrdinary) {
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& value : result) {
    value = random.Uniform();
    if (values == Values::kTiny) value *= 1e-20f;
    if (values == Values::kHuge) value *= 1e15f;
  }
  if (values == Values::kOutlier && count > 0) {
    result[static_cast<std::size_t>(random.Below(count))] = 3e4f;
  }
  return result;
}

// f32 → half precision, nearest even; for making test weights.
inline std::uint16_t F32ToF16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const double magnitude = std::fabs(static_cast<double>(value));
  if (magnitude >= 65520) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude == 0) return sign;
  const int exponent = std::max(std::ilogb(magnitude), -14);
  const double steps = std::nearbyint(std::ldexp(magnitude, 10 - exponent));
  const auto code =
      static_cast<std::uint32_t>(steps) + (static_cast<std::uint32_t>(exponent + 14) << 10);
  return static_cast<std::uint16_t>(sign | code);
}

// A weight of any format that owns its bytes, which begin `misalign` elements past an aligned
// place.
class TestMatrix {
 public:
  TestMatrix(DType dtype, std::int64_t rows, std::int64_t cols, const std::vector<float>& values,
             std::size_t misalign = 1)
      : bytes_((values.size() + misalign) * DTypeBytes(dtype)) {
    std::byte* data = bytes_.data() + misalign * DTypeBytes(dtype);
    for (std::size_t i = 0; i < values.size(); ++i) {
      float stored = values[i];
      if (dtype == DType::kF32) {
        std::memcpy(data + 4 * i, &stored, 4);
      } else {
        const std::uint16_t bits = dtype == DType::kBF16 ? F32ToBf16(stored) : F32ToF16(stored);
        std::memcpy(data + 2 * i, &bits, 2);
        stored = dtype == DType::kBF16 ? Bf16ToF32(bits) : F16ToF32(bits);
      }
      widened_.push_back(stored);
    }
    matrix_ = {dtype, data, rows, cols};
  }
  TestMatrix(const TestMatrix&) = delete;
  TestMatrix& operator=(const TestMatrix&) = delete;
  const Matrix& matrix() const { return matrix_; }
  // What the weight holds, in f32.
  const std::vector<float>& widened() const { return widened_; }

 private:
  std::vector<std::byte> bytes_;
  std::vector<float> widened_;
  Matrix matrix_;
};

// Rows of [head_dim] values, one after the other, as the KV cache keeps them.
inline std::vector<std::byte> KvRows(DType dtype, std::int64_t head_dim,
                                     const std::vector<float>& values) {
  const auto count = static_cast<std::int64_t>(values.size()) / head_dim;
  const std::int64_t row_bytes = KvRowBytes(dtype, head_dim);
  std::vector<std::byte> rows(static_cast<std::size_t>(count * row_bytes));
  for (std::int64_t index = 0; index < count; ++index) {
    const float* x = values.data() + index * head_dim;
    std::byte* row = rows.data() + index * row_bytes;
    if (dtype == DType::kI8) {
      QuantizeKvRow(x, head_dim, row);
      continue;
    }
    for (std::int64_t i = 0; i < head_dim; ++i) {
      const std::uint16_t bits = F32ToBf16(x[i]);
      if (dtype == DType::kF32) {
        std::memcpy(row + 4 * i, x + i, 4);
      } else {
        std::memcpy(row + 2 * i, &bits, 2);
      }
    }
  }
  return rows;
}

// An integer weight of any layout that owns its bytes: random values of the whole range, with both
// ends, and scales of either sign, in bf16 or f32.
class QuantMatrix {
 public:
  QuantMatrix(Random& random, WeightFormat format, std::int64_t rows, std::int64_t cols,
              std::int64_t group, std::size_t misalign = 1, DType scale_dtype = DType::kBF16)
      : layout_{format, rows, cols, group},
        bytes_(static_cast<std::size_t>(layout_.data_bytes()) + misalign, ZeroByte(format)),
        scales_(static_cast<std::size_t>(layout_.scales()) * DTypeBytes(scale_dtype)) {
    std::uint8_t* data = bytes_.data() + misalign;
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t col = 0; col < cols; ++col) {
        const bool end = random.Below(8) == 0;
        int q = static_cast<int>(IsInt4(format) ? random.Below(16) - 8 : random.Below(256) - 128);
        if (end) q = IsInt4(format) ? (q < 0 ? -8 : 7) : (q < 0 ? -128 : 127);
        SetQuant(layout_, data, row, col, q);
      }
    }
    for (std::size_t at = 0; at < scales_.size(); at += DTypeBytes(scale_dtype)) {
      const float scale = random.Uniform(-0.1f, 0.1f);
      const std::uint16_t narrow = F32ToBf16(scale);
      const bool wide = scale_dtype == DType::kF32;
      std::memcpy(scales_.data() + at, wide ? static_cast<const void*>(&scale) : &narrow,
                  DTypeBytes(scale_dtype));
    }
    matrix_ = {DType::kBF16, data, rows, cols, format, scales_.data(), group, scale_dtype};
  }
  QuantMatrix(const QuantMatrix&) = delete;
  QuantMatrix& operator=(const QuantMatrix&) = delete;
  const Matrix& matrix() const { return matrix_; }
  int q(std::int64_t row, std::int64_t col) const {
    return QuantAt(layout_, static_cast<const std::uint8_t*>(matrix_.data), row, col);
  }
  double scale(std::int64_t row, std::int64_t col) const {
    return matrix_.scale(layout_.scale(row, col));
  }

 private:
  WeightLayout layout_;
  std::vector<std::uint8_t> bytes_;
  std::vector<std::byte> scales_;
  Matrix matrix_;
};

}  // namespace culet
