#include "checkpoint/repack.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace culet {
namespace {

static_assert(std::endian::native == std::endian::little, "bytes of a word are its lowest first");

// A block of a row: 32 columns, as 16 bytes of two values each, stored + 8.
using Nibbles = std::uint64_t[2];

// Eight values of four bits to eight bytes.
std::uint64_t Spread(std::uint64_t word) {
  word = (word | word << 16) & 0x0000ffff0000ffffu;
  word = (word | word << 8) & 0x00ff00ff00ff00ffu;
  return (word | word << 4) & 0x0f0f0f0f0f0f0f0fu;
}

// Sixteen values of two bits, stored + 2, to sixteen of four, stored + 8. No sum carries: 3 + 6
// < 16.
std::uint64_t Widen(std::uint64_t word) {
  word = (word | word << 16) & 0x0000ffff0000ffffu;
  word = (word | word << 8) & 0x00ff00ff00ff00ffu;
  word = (word | word << 4) & 0x0f0f0f0f0f0f0f0fu;
  word = (word | word << 2) & 0x3333333333333333u;
  return word + 0x6666666666666666u;
}

// The first `count` ≤ 32 columns from `row` on; those beyond are 0.
void LoadBlock(WeightFormat stored, const std::byte* row, std::int64_t count, Nibbles block) {
  constexpr std::uint64_t kZeros = 0x8888888888888888u;
  block[0] = block[1] = kZeros;
  if (count == kQuantBlock) {
    if (stored == WeightFormat::kInt4Plain) {
      std::memcpy(block, row, sizeof(Nibbles));
      return;
    }
    std::uint32_t halves[2];
    std::memcpy(halves, row, sizeof(halves));
    for (int half = 0; half < 2; ++half) block[half] = Widen(halves[half]);
    return;
  }
  const WeightLayout one{stored, 1, count, count};
  for (std::int64_t col = 0; col < count; ++col) {
    const int q = QuantAt(one, reinterpret_cast<const std::uint8_t*>(row), 0, col);
    std::uint64_t& half = block[col / 16];
    const std::int64_t shift = col % 16 * 4;
    half = (half & ~(std::uint64_t{15} << shift)) | static_cast<std::uint64_t>(q + 8) << shift;
  }
}

// Sixteen rows (fewer at the end) into a tile of int4.
void RepackInt4Tile(const QuantizedTensor& tensor, std::int64_t tile, std::uint8_t* data) {
  const WeightLayout stored = tensor.stored_layout();
  const std::int64_t rows = std::min(kTileOutputs, stored.n - tile * kTileOutputs);
  const std::int64_t block_bytes = kQuantBlock * WeightBits(stored.format) / 8;
  const std::byte* first = tensor.values.bytes.data() + tile * kTileOutputs * stored.row_bytes();
  for (std::int64_t col = 0; col < stored.k; col += kQuantBlock, data += 256) {
    for (std::int64_t output = 0; output < kTileOutputs; ++output) {
      const std::byte* row = first + std::min(output, rows - 1) * stored.row_bytes();
      Nibbles block;
      LoadBlock(stored.format, row + col / kQuantBlock * block_bytes,
                output < rows ? std::min(kQuantBlock, stored.k - col) : 0, block);
      for (int pair = 0; pair < 2; ++pair) {  // of lines: columns 0 … 7, 8 … 15; high nibbles + 16
        const std::uint64_t low = Spread(block[0] >> pair * 32 & 0xffffffffu);
        const std::uint64_t high = Spread(block[1] >> pair * 32 & 0xffffffffu);
        const std::uint64_t both = low | high << 4;
        const std::uint64_t second = both >> 32;
        std::memcpy(data + pair * 128 + output * 4, &both, 4);
        std::memcpy(data + pair * 128 + 64 + output * 4, &second, 4);
      }
    }
  }
}

void RepackInt8Tile(const QuantizedTensor& tensor, std::int64_t tile, std::uint8_t* data) {
  const WeightLayout& layout = tensor.layout;
  const std::int64_t rows = std::min(kTileOutputs, layout.n - tile * kTileOutputs);
  const std::byte* first = tensor.values.bytes.data() + tile * kTileOutputs * layout.k;
  for (std::int64_t col = 0; col < layout.padded_k(); col += 4, data += 64) {
    const std::int64_t count = std::clamp<std::int64_t>(layout.k - col, 0, 4);
    for (std::int64_t output = 0; output < kTileOutputs; ++output) {
      std::uint32_t four = 0;
      if (output < rows && count > 0) {
        std::memcpy(&four, first + output * layout.k + col, static_cast<std::size_t>(count));
      }
      std::memcpy(data + output * 4, &four, 4);
    }
  }
}

}  // namespace

void RepackValues(const QuantizedTensor& tensor, ThreadPool& pool, std::span<std::uint8_t> data) {
  const WeightLayout& layout = tensor.layout;
  CULET_DCHECK(IsPlain(tensor.stored) && IsTiled(layout.format));
  CULET_DCHECK(static_cast<std::int64_t>(data.size()) == layout.data_bytes());
  const std::int64_t tile_bytes = layout.row_bytes() * kTileOutputs;
  const auto repack = layout.format == WeightFormat::kInt4Tiles ? RepackInt4Tile : RepackInt8Tile;
  pool.ParallelFor(layout.padded_n() / kTileOutputs, 1,
                   [&](std::int64_t begin, std::int64_t end, int) {
                     for (std::int64_t tile = begin; tile < end; ++tile) {
                       repack(tensor, tile, data.data() + tile * tile_bytes);
                     }
                   });
}

void RepackScales(const QuantizedTensor& tensor, ThreadPool& pool, std::span<std::byte> scales) {
  const WeightLayout& layout = tensor.layout;
  const TensorView& source = tensor.scales;
  const bool one = source.elements() == 1;
  const std::int64_t groups = layout.groups();
  const std::size_t element = DTypeBytes(tensor.scale_dtype());
  CULET_DCHECK(scales.size() == static_cast<std::size_t>(layout.scales()) * element);
  const auto copy = [&](std::int64_t row) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const auto from = static_cast<std::size_t>(one ? 0 : row * groups + group);
      std::byte* to = scales.data() +
                      static_cast<std::size_t>(layout.scale(row, group * layout.group)) * element;
      if (row >= layout.n) {
        std::memset(to, 0, element);
      } else if (tensor.scale_dtype() == source.dtype) {
        std::memcpy(to, source.bytes.data() + from * element, element);
      } else {
        const float value = ElementAsF32(source.dtype, source.bytes.data(), from);
        std::memcpy(to, &value, element);
      }
    }
  };
  pool.ParallelFor(layout.padded_n(), kTileOutputs, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) copy(row);
  });
}

}  // namespace culet
