// Products of integer weights with vpdpbusd: the amx level takes them for few rows.
#pragma once

#include "ops/cpu/kernels.h"

namespace culet::avx512vnni {

// As MatMulKernel::pack and run, with sums that run over kBlocks blocks before they meet a
// scale of weights: 1 or kScaleBlocks.
template <int kBlocks>
void PackInt8(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
              std::int64_t begin, std::int64_t end, float scale, std::byte* operand);
template <int kBlocks>
void PackInt4(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t k,
              std::int64_t begin, std::int64_t end, float scale, std::byte* operand);
template <int kBlocks>
void RunInt8(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride);
template <int kBlocks>
void RunInt4(const std::byte* operand, std::int64_t rows, const Matrix& w, std::int64_t begin,
             std::int64_t end, float* out, std::int64_t out_stride);

}  // namespace culet::avx512vnni
