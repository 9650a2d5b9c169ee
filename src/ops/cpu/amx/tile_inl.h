// Tiles of AMX: eight registers of up to 16 rows × 64 bytes, and a unit that multiplies two of them
// into a third. Written as assembler, because compilers' own intrinsics differ (g++ 12 tells the
// optimiser of 8 of the 64 bytes of a configuration). Included inside a target region.

// What LDTILECFG reads.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  CULET_INLINE void Set(int tile, int tile_rows, int bytes) {
    rows[tile] = static_cast<std::uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<std::uint16_t>(bytes);
  }
};

// The tiles of this thread from here to the end of the scope. Released, as tiles in use cost every
// switch to another thread 8 KB.
class TilesInUse {
 public:
  CULET_INLINE explicit TilesInUse(const TileShapes& shapes) {
    asm volatile("ldtilecfg %0" ::"m"(shapes));
  }
  CULET_INLINE ~TilesInUse() { asm volatile("tilerelease" :::); }
  TilesInUse(const TilesInUse&) = delete;
  TilesInUse& operator=(const TilesInUse&) = delete;
};

template <int kTile>
CULET_INLINE void TileZero() {
  asm volatile("tilezero %%tmm%c0" ::"n"(kTile));
}
// Row r from p + r·stride.
template <int kTile>
CULET_INLINE void TileLoad(const void* p, std::int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "n"(kTile) : "memory");
}
template <int kTile>
CULET_INLINE void TileStore(void* p, std::int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "n"(kTile) : "memory");
}
// Sums [rows, n] += a [rows, k] · b [k / 2, n, 2] in bf16.
template <int kSums, int kA, int kB>
CULET_INLINE void TileDotBf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"n"(kSums), "n"(kA), "n"(kB));
}
// Sums [rows, n] += a [rows, k] · b [k / 4, n, 4], both signed bytes.
template <int kSums, int kA, int kB>
CULET_INLINE void TileDotInt8() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"n"(kSums), "n"(kA), "n"(kB));
}
