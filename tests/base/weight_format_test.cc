// If this fails, quantised weights are read from other places than they were written to.
#include "base/weight_format.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

namespace culet {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kInt8Tiles, WeightFormat::kInt4Tiles,
                                     WeightFormat::kInt8Rows, WeightFormat::kInt4Rows};

std::int64_t Product(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

// Walks the layout line by line as its head comment writes it, apart from the index maps.
TEST(WeightFormat, TilesLieAsTheHeadCommentSays) {
  const WeightLayout int8{WeightFormat::kInt8Tiles, 32, 64, 32};
  std::int64_t byte = 0;
  for (std::int64_t tile = 0; tile < 2; ++tile) {
    for (std::int64_t quad = 0; quad < 16; ++quad) {
      for (std::int64_t output = 0; output < 16; ++output) {
        for (std::int64_t j = 0; j < 4; ++j) {
          ASSERT_EQ(int8.byte(16 * tile + output, 4 * quad + j), byte++);
        }
      }
    }
  }
  const WeightLayout int4{WeightFormat::kInt4Tiles, 32, 64, 32};
  byte = 0;
  for (std::int64_t tile = 0; tile < 2; ++tile) {
    for (std::int64_t block = 0; block < 2; ++block) {
      for (std::int64_t line = 0; line < 4; ++line) {
        for (std::int64_t output = 0; output < 16; ++output) {
          for (std::int64_t j = 0; j < 4; ++j, ++byte) {
            const std::int64_t column = 32 * block + 4 * line + j;
            ASSERT_EQ(int4.byte(16 * tile + output, column), byte);
            ASSERT_EQ(int4.byte(16 * tile + output, column + 16), byte);
            ASSERT_FALSE(WeightLayout::HighNibble(column));
            ASSERT_TRUE(WeightLayout::HighNibble(column + 16));
          }
        }
      }
    }
  }
}

TEST(WeightFormat, EveryValueAndScaleHasAPlaceOfItsOwnWithinTheShapes) {
  for (const WeightFormat format : kFormats) {
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{1, 1},
                               {3, 31},
                               {16, 32},
                               {17, 33},
                               {40, 100},
                               {33, 256}}) {
      for (const std::int64_t group : {32, 64, 128, 256}) {
        const WeightLayout layout{format, n, k, group};
        ASSERT_EQ(Product(layout.data_shape()), layout.data_bytes());
        ASSERT_EQ(Product(layout.scale_shape()), layout.scales());
        std::map<std::int64_t, int> values, scales;
        for (std::int64_t row = 0; row < n; ++row) {
          for (std::int64_t col = 0; col < k; ++col) {
            const std::int64_t byte = layout.byte(row, col);
            ASSERT_TRUE(byte >= 0 && byte < layout.data_bytes());
            const bool high = IsInt4(format) && WeightLayout::HighNibble(col);
            ASSERT_EQ(values[2 * byte + (high ? 1 : 0)]++, 0);
            const std::int64_t scale = layout.scale(row, col);
            ASSERT_TRUE(scale >= 0 && scale < layout.scales());
            if (col % group == 0) {
              ASSERT_EQ(scales[scale]++, 0);
            } else {
              ASSERT_EQ(scale, layout.scale(row, col - col % group));
            }
          }
        }
      }
    }
  }
}

TEST(WeightFormat, WhatIsSetIsReadAndNeighboursStay) {
  for (const WeightFormat format : kFormats) {
    const WeightLayout layout{format, 19, 70, 32};
    std::vector<std::uint8_t> data(static_cast<std::size_t>(layout.data_bytes()), ZeroByte(format));
    const auto value = [&](std::int64_t row, std::int64_t col) {
      const auto hash = static_cast<int>((row * 131 + col * 17) % 251);
      return IsInt4(format) ? hash % 16 - 8 : hash - 125;
    };
    for (std::int64_t row = 0; row < layout.padded_n(); ++row) {
      for (std::int64_t col = 0; col < layout.padded_k(); ++col) {
        ASSERT_EQ(QuantAt(layout, data.data(), row, col), 0);
      }
    }
    for (std::int64_t row = 0; row < 19; ++row) {
      for (std::int64_t col = 0; col < 70; ++col) {
        SetQuant(layout, data.data(), row, col, value(row, col));
      }
    }
    for (std::int64_t row = 0; row < 19; ++row) {
      for (std::int64_t col = 0; col < 70; ++col) {
        ASSERT_EQ(QuantAt(layout, data.data(), row, col), value(row, col));
      }
    }
  }
}

}  // namespace
}  // namespace culet
