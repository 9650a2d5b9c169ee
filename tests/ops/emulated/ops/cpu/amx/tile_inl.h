// In the place of src/ops/cpu/amx/tile_inl.h, for ops_emulated_test: tiles in memory, and what
// Intel's manual says of each instruction.

struct alignas(64) TileShapes {
  std::uint16_t row_bytes[8] = {};
  std::uint8_t rows[8] = {};

  void Set(int tile, int tile_rows, int bytes) {
    rows[tile] = static_cast<std::uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<std::uint16_t>(bytes);
  }
};

struct Tiles {
  TileShapes shapes;
  std::uint8_t bytes[8][16][64] = {};
};
inline thread_local Tiles tiles_of_thread;

class TilesInUse {
 public:
  explicit TilesInUse(const TileShapes& shapes) {
    tiles_of_thread = {};
    tiles_of_thread.shapes = shapes;
  }
};

template <int kTile>
void TileZero() {
  std::memset(tiles_of_thread.bytes[kTile], 0, sizeof(tiles_of_thread.bytes[kTile]));
}
template <int kTile>
void TileLoad(const void* p, std::int64_t stride) {
  TileZero<kTile>();
  const TileShapes& shapes = tiles_of_thread.shapes;
  for (int row = 0; row < shapes.rows[kTile]; ++row) {
    std::memcpy(tiles_of_thread.bytes[kTile][row],
                static_cast<const std::uint8_t*>(p) + row * stride, shapes.row_bytes[kTile]);
  }
}
template <int kTile>
void TileStore(void* p, std::int64_t stride) {
  const TileShapes& shapes = tiles_of_thread.shapes;
  for (int row = 0; row < shapes.rows[kTile]; ++row) {
    std::memcpy(static_cast<std::uint8_t*>(p) + row * stride, tiles_of_thread.bytes[kTile][row],
                shapes.row_bytes[kTile]);
  }
}

// Element `index` of a row of a tile.
template <typename T>
T TileAt(int tile, int row, int index) {
  T value;
  std::memcpy(&value, &tiles_of_thread.bytes[tile][row][index * static_cast<int>(sizeof(T))],
              sizeof(T));
  return value;
}
// Subnormals are zero, of what goes in and of what comes out.
inline float TileFlush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? 0.0f : x; }
inline float TileBf16(int tile, int row, int index) {
  const std::uint32_t bits = static_cast<std::uint32_t>(TileAt<std::uint16_t>(tile, row, index))
                             << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return TileFlush(value);
}
// The sums, with `dot(row, column, sum)` for each of them.
template <int kSums, typename T, typename Dot>
void TileDot(const Dot& dot) {
  const TileShapes& shapes = tiles_of_thread.shapes;
  for (int row = 0; row < shapes.rows[kSums]; ++row) {
    for (int column = 0; column < shapes.row_bytes[kSums] / 4; ++column) {
      const T sum = dot(row, column, TileAt<T>(kSums, row, column));
      std::memcpy(&tiles_of_thread.bytes[kSums][row][column * 4], &sum, sizeof(sum));
    }
  }
}

template <int kSums, int kA, int kB>
void TileDotBf16() {
  TileDot<kSums, float>([](int row, int column, float sum) {
    float parts[2] = {0, 0};
    for (int k = 0; k < tiles_of_thread.shapes.row_bytes[kA] / 4; ++k) {
      for (int half = 0; half < 2; ++half) {
        parts[half] = TileFlush(std::fma(TileBf16(kA, row, 2 * k + half),
                                         TileBf16(kB, k, 2 * column + half), parts[half]));
      }
    }
    return TileFlush(sum + TileFlush(parts[0] + parts[1]));
  });
}
template <int kSums, int kA, int kB>
void TileDotInt8() {
  TileDot<kSums, std::int32_t>([](int row, int column, std::int32_t sum) {
    for (int k = 0; k < tiles_of_thread.shapes.row_bytes[kA] / 4; ++k) {
      for (int byte = 0; byte < 4; ++byte) {
        sum += TileAt<std::int8_t>(kA, row, 4 * k + byte) *
               TileAt<std::int8_t>(kB, k, 4 * column + byte);
      }
    }
    return sum;
  });
}
