// What ops share at their entry: checks, and small loops kept on the caller.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/view.h"
#include "ops/context.h"

namespace culet {

// Only a bug of ours brings shapes that do not fit, but a wrong write is worse than a message.
[[noreturn]] inline void ThrowShape(const std::string& message) {
  throw Error(ErrorKind::kInternal, message);
}

// Throws unless the last dimension is contiguous.
template <typename T, int kRank>
void CheckContiguous(const char* op, const char* name, const View<T, kRank>& view) {
  if (view.extent(kRank - 1) > 1 && view.stride(kRank - 1) != 1) {
    ThrowShape(std::string(op) + ": the last dimension of " + name + " " + ShapeText(view) +
               " has stride " + std::to_string(view.stride(kRank - 1)) + ", not 1");
  }
}

inline std::size_t AlignUp(std::size_t bytes, std::size_t to = 64) {
  return (bytes + to - 1) / to * to;
}
inline std::int64_t RoundUp(std::int64_t value, std::int64_t to) {
  return (value + to - 1) / to * to;
}

// Loops of fewer elements than this cost less than waking a thread.
inline constexpr std::int64_t kParallelElements = 16384;

// body(begin, end) over [0, rows), `cols` elements of work each.
template <typename Body>
void OverRows(Context& ctx, std::int64_t rows, std::int64_t cols, Body body) {
  if (rows <= 1 || rows * cols < kParallelElements) {
    if (rows > 0) body(std::int64_t{0}, rows);
    return;
  }
  ctx.pool().ParallelFor(rows, 1,
                         [&](std::int64_t begin, std::int64_t end, int) { body(begin, end); });
}

}  // namespace culet
