// Integer formats of weights: where each value and each scale of a W [n, k] lies. The layout in a
// file is the one that kernels read, so that a quantised model is mapped and used in place
// (decision 008).
//
//   w[n, k] = q[n, k] · scale[n, k / group]          q int8 −127 … 127, int4 −8 … 7; scale bf16
//
// Weights of matrix products lie in tiles of 16 outputs, and n is padded to 16, k to 32 with zeros:
//   int8 tiles  [n/16][k/4][16 outputs][4 columns]                     a line of 64 bytes: 16 × 4
//   int4 tiles  [n/16][k/32][4 lines][16 outputs][4 columns], two values a byte, each stored + 8:
//               byte j of line i: low nibble column 4i + j of the 32, high nibble 16 + 4i + j
//   scales      [n/16][k/group][16 outputs]
// Tables that are only looked up (per-layer embeddings) keep each row together:
//   int8 rows   [n][k]
//   int4 rows   [n][k/32][16 bytes], byte j: low nibble column j of the 32, high nibble 16 + j
//   scales      [n][k/group]
// Files that others wrote hold plain rows, one column after the other from the low bits of a byte
// on, with nothing beyond k but the rest of the last byte. They are put into tiles when they are
// loaded (checkpoint/repack.h); a table that is only looked up is read as it lies.
//   int8 plain  [n][k]
//   int4 plain  [n][k/2 bytes], each stored + 8
//   int2 plain  [n][k/4 bytes], each stored + 2: −2 … 1
//   scales      [n][k/group], the group any that divides k
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace culet {

enum class WeightFormat : std::uint8_t {
  kDense,
  kInt8Tiles,
  kInt4Tiles,
  kInt8Rows,
  kInt4Rows,
  kInt8Plain,
  kInt4Plain,
  kInt2Plain,
};

inline constexpr std::int64_t kTileOutputs = 16;
// Columns of an int4 block, and of the finest group.
inline constexpr std::int64_t kQuantBlock = 32;

inline bool IsTiled(WeightFormat format) {
  return format == WeightFormat::kInt8Tiles || format == WeightFormat::kInt4Tiles;
}
inline bool IsPlain(WeightFormat format) { return format >= WeightFormat::kInt8Plain; }
// Of one value.
inline int WeightBits(WeightFormat format) {
  switch (format) {
    case WeightFormat::kInt4Tiles:
    case WeightFormat::kInt4Rows:
    case WeightFormat::kInt4Plain: return 4;
    case WeightFormat::kInt2Plain: return 2;
    default: return 8;
  }
}
inline bool IsInt4(WeightFormat format) { return WeightBits(format) == 4; }
// "dense", "int8", "int8 rows", "int8 plain rows", …
std::string_view WeightFormatName(WeightFormat format);

// The storage of one integer weight. `group`: a multiple of kQuantBlock; one that is k or more
// means a scale a row.
struct WeightLayout {
  WeightFormat format = WeightFormat::kInt8Tiles;
  std::int64_t n = 0, k = 0, group = 0;

  std::int64_t padded_n() const {
    return IsTiled(format) ? (n + kTileOutputs - 1) / kTileOutputs * kTileOutputs : n;
  }
  std::int64_t padded_k() const {
    return IsPlain(format) ? k : (k + kQuantBlock - 1) / kQuantBlock * kQuantBlock;
  }
  std::int64_t groups() const { return (padded_k() + group - 1) / group; }
  std::int64_t row_bytes() const { return (padded_k() * WeightBits(format) + 7) / 8; }
  std::int64_t data_bytes() const { return padded_n() * row_bytes(); }
  std::int64_t scales() const { return padded_n() * groups(); }
  // Shapes of the two tensors in a file, as in the head of this page; data are I8 (int8) or U8.
  std::vector<std::int64_t> data_shape() const;
  std::vector<std::int64_t> scale_shape() const;

  // Byte that holds q[row, col]; for int4, in its high nibble where HighNibble.
  std::int64_t byte(std::int64_t row, std::int64_t col) const {
    const std::int64_t width = padded_k();
    switch (format) {
      case WeightFormat::kInt8Tiles:
        return row / kTileOutputs * kTileOutputs * width + col / 4 * 64 + row % kTileOutputs * 4 +
               col % 4;
      case WeightFormat::kInt4Tiles:
        return row / kTileOutputs * kTileOutputs * width / 2 + col / kQuantBlock * 256 +
               col % 16 / 4 * 64 + row % kTileOutputs * 4 + col % 4;
      case WeightFormat::kInt8Rows: return row * width + col;
      case WeightFormat::kInt4Rows: return row * width / 2 + col / kQuantBlock * 16 + col % 16;
      case WeightFormat::kInt8Plain: return row * width + col;
      case WeightFormat::kInt4Plain: return row * row_bytes() + col / 2;
      case WeightFormat::kInt2Plain: return row * row_bytes() + col / 4;
      case WeightFormat::kDense: break;
    }
    return 0;
  }
  // Of the formats that are not plain.
  static bool HighNibble(std::int64_t col) { return col % kQuantBlock >= 16; }
  std::int64_t scale(std::int64_t row, std::int64_t col) const {
    if (!IsTiled(format)) return row * groups() + col / group;
    return (row / kTileOutputs * groups() + col / group) * kTileOutputs + row % kTileOutputs;
  }
};

// q[row, col], out of `data` in `layout`.
inline int QuantAt(const WeightLayout& layout, const std::uint8_t* data, std::int64_t row,
                   std::int64_t col) {
  const std::uint8_t byte = data[layout.byte(row, col)];
  if (layout.format == WeightFormat::kInt4Plain) return (byte >> col % 2 * 4 & 15) - 8;
  if (layout.format == WeightFormat::kInt2Plain) return (byte >> col % 4 * 2 & 3) - 2;
  if (!IsInt4(layout.format)) return static_cast<std::int8_t>(byte);
  return (WeightLayout::HighNibble(col) ? byte >> 4 : byte & 15) - 8;
}

// Sets q[row, col] of a format that is not plain; every place begins as its zero (ZeroByte).
inline void SetQuant(const WeightLayout& layout, std::uint8_t* data, std::int64_t row,
                     std::int64_t col, int q) {
  std::uint8_t& byte = data[layout.byte(row, col)];
  if (!IsInt4(layout.format)) {
    byte = static_cast<std::uint8_t>(q);
  } else if (WeightLayout::HighNibble(col)) {
    byte = static_cast<std::uint8_t>((byte & 15) | (q + 8) << 4);
  } else {
    byte = static_cast<std::uint8_t>((byte & 0xf0) | (q + 8));
  }
}
// A byte whose values are 0: what padding holds.
inline std::uint8_t ZeroByte(WeightFormat format) { return IsInt4(format) ? 0x88 : 0; }

}  // namespace culet
