// The amx level, and the peak of its tiles.
#include "ops/cpu/simd/target.h"

#include "ops/cpu/amx/amx.h"
#include "ops/cpu/table.h"

CULET_TARGET_BEGIN(CULET_AMX_TARGET)
namespace culet::amx {
namespace {

#include "ops/cpu/amx/tile_inl.h"

// Four whole tiles of sums, two of each side: what the products hold.
struct Bf16Step {
  static CULET_INLINE void Do() {
    TileDotBf16<0, 4, 6>();
    TileDotBf16<1, 4, 7>();
    TileDotBf16<2, 5, 6>();
    TileDotBf16<3, 5, 7>();
  }
};
struct Int8Step {
  static CULET_INLINE void Do() {
    TileDotInt8<0, 4, 6>();
    TileDotInt8<1, 4, 7>();
    TileDotInt8<2, 5, 6>();
    TileDotInt8<3, 5, 7>();
  }
};

template <typename Step>
float Peak(std::int64_t steps) {
  TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) shapes.Set(tile, 16, 64);
  const TilesInUse tiles(shapes);
  for (std::int64_t step = 0; step < steps; ++step) Step::Do();
  alignas(64) float sums[256];
  TileStore<0>(sums, 64);
  return sums[0];
}

}  // namespace

void FillLimitsPart(CpuKernels& table) {
  table.peak_bf16 = Peak<Bf16Step>;
  table.peak_int8 = Peak<Int8Step>;
  table.peak_int4 = Peak<Int8Step>;
  // Multiply-adds: 4 tiles of 16 × 16 sums, 64 bytes of each row.
  table.peak_bf16_step = 4 * 16 * 16 * 32;
  table.peak_int8_step = 4 * 16 * 16 * 64;
  table.peak_int4_step = table.peak_int8_step;
}

}  // namespace culet::amx
CULET_TARGET_END

namespace culet {

void FillAmx(CpuKernels& table) {
  table.level = CpuLevel::kAmx;
  amx::FillBf16MatMulPart(table);
  amx::FillIntegerMatMulPart(table);
  amx::FillAttentionPart(table);
  amx::FillLimitsPart(table);
}

}  // namespace culet
