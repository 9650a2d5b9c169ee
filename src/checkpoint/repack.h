// Integers as others store them, brought into the layout that kernels read. Every value and every
// scale stays what it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "checkpoint/quantized_tensors.h"

namespace culet {

// Writes tensor.layout's data [data_bytes()], padding included, from plain rows in the file. Reads
// and writes every byte once; splits over tiles.
void RepackValues(const QuantizedTensor& tensor, ThreadPool& pool, std::span<std::uint8_t> data);

// Writes tensor.layout's scales [scales() of tensor.scale_dtype()]; those of rows that are padding
// are 0.
void RepackScales(const QuantizedTensor& tensor, ThreadPool& pool, std::span<std::byte> scales);

}  // namespace culet
