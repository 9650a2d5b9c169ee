// Products of integer weights with vpdpbusd: the amx level packs rows the same way, and takes these
// for few of them.
#pragma once

#include "ops/cpu/kernels.h"

namespace culet::avx512vnni {

// As MatMulKernel::pack and run.
void PackInt8(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
              std::int64_t begin, std::int64_t end, float scale, std::byte* operand);
void PackInt4(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
              std::int64_t begin, std::int64_t end, float scale, std::byte* operand);
void RunInt8(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride);
void RunInt4(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride);

}  // namespace culet::avx512vnni
