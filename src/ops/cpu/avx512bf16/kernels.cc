// Products of bf16 weights with vdpbf16ps: 32 multiply-adds an instruction, sums in f32. x is
// rounded to bf16 as the contract says, so the operand needs no widening. The instruction takes
// subnormals as zero and rounds each of the two products it adds: tests/bounds.h. A tile of 4 ×
// 1536 bf16 weights and a panel of 6 rows are 30 KB: they fit a 32 KB first-level cache together.
// With 2048 they do not, and a prompt's products ran at 0.70 of the peak in place of 0.85.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/table.h"

#define CULET_TILE_ROWS 6

CULET_TARGET_BEGIN(CULET_AVX512BF16_TARGET)
namespace culet::avx512bf16 {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx512/vec_inl.h"
static_assert(kTileRows == CULET_TILE_ROWS);
#include "ops/cpu/simd/matmul_inl.h"
#include "ops/cpu/simd/limits_inl.h"
// clang-format on

struct Bf16Vector {
  __m512i v;
};

struct Bf16Product {
  using Operand = std::uint16_t;
  using Element = std::uint16_t;
  using Vector = Bf16Vector;
  static constexpr int kStep = 32;
  static constexpr std::int64_t kBlock = 1536;

  static CULET_INLINE F32 LoadLeft(const float* from, std::int64_t left) {
    if (left >= kLanes) return Load(from);
    return left > 0 ? LoadN(from, left) : Zero();
  }
  static CULET_INLINE void StoreX(std::uint16_t* to, const float* from, std::int64_t left) {
    StoreBf16(to, LoadLeft(from, left));
    StoreBf16(to + kLanes, LoadLeft(from + kLanes, left - kLanes));
  }
  static CULET_INLINE Bf16Vector LoadX(const std::uint16_t* p) { return {_mm512_loadu_si512(p)}; }
  static CULET_INLINE void StoreW(std::uint16_t* to, Bf16Vector w) { _mm512_storeu_si512(to, w.v); }
  static CULET_INLINE Bf16Vector LoadW(const std::uint16_t* p) { return {_mm512_loadu_si512(p)}; }
  static CULET_INLINE Bf16Vector LoadWN(const std::uint16_t* p, std::int64_t n) {
    const auto mask = static_cast<__mmask32>((std::uint64_t{1} << static_cast<unsigned>(n)) - 1);
    return {_mm512_maskz_loadu_epi16(mask, p)};
  }
  static CULET_INLINE F32 Dot(F32 sum, Bf16Vector x, Bf16Vector w) {
    return {_mm512_dpbf16_ps(sum.v, (__m512bh)x.v, (__m512bh)w.v)};
  }
};

struct Bf16Step : F32Steps {
  static CULET_INLINE F32 Do(F32 sum) {
    const Bf16Vector halves{_mm512_set1_epi16(0x3f00)};
    return Bf16Product::Dot(sum, halves, halves);
  }
};

}  // namespace
}  // namespace culet::avx512bf16
CULET_TARGET_END

namespace culet {

void FillAvx512Bf16(CpuKernels& table) {
  using namespace avx512bf16;
  table.level = CpuLevel::kAvx512Bf16;
  table.matmul_bf16 = MakeMatMul<Bf16Product>(CpuLevel::kAvx512Bf16);
  table.peak_bf16 = Peak<Bf16Step>;
  table.peak_bf16_step = kPeakChains * Bf16Product::kStep;
}

}  // namespace culet
