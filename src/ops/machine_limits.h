// What the machine can do at most right now: the limits that speeds are compared with.
//
// Machines are shared, and what a core gets swings within minutes: measure before, between and
// after the runs that are compared, and report the pair. Each call takes about `seconds`.
#pragma once

#include <cstddef>
#include <span>

#include "base/dtype.h"
#include "base/thread_pool.h"
#include "base/weight_format.h"
#include "ops/context.h"

namespace culet {

// GB/s (10^9) at which all threads together read `buffers` as weights are read: each its own
// contiguous pieces, forward, in four streams, with the widest loads of this machine. Where not all
// can be read in `seconds`, it is parts from everywhere: one part of a machine's memory may be half
// as fast as another. The buffers must be far larger than the caches together and their
// pages present, or it measures something else. A model's mapped weights serve.
double MeasureReadGbS(ThreadPool& pool, std::span<const std::span<const std::byte>> buffers,
                      double seconds);

// The same over a buffer of its own, which is touched first and given back after.
double MeasureReadGbS(ThreadPool& pool, std::size_t buffer_bytes, double seconds);

// 10^9 floating-point operations a second (a multiply-add counts two) of the best instruction that
// the context's level has for weights of `dtype`, all threads, operands in registers. About 0.1 s.
double MeasurePeakGflops(Context& ctx, DType dtype);
// The same for weights of `format`; of dense ones as bf16.
double MeasurePeakGflops(Context& ctx, WeightFormat format);

}  // namespace culet
