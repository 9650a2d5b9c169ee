// Attention over a block of keys with AMX, for pages of bf16 whose rows are whole tiles; others go
// to avx512's.
//
//   scores [keys, queries] = K [keys, head_dim] · q [head_dim, queries]     K is read where it lies
//   out [queries, head_dim] = weights [queries, keys] · V [keys, head_dim]  V two rows by two
//
// q and weights are f32. The unit takes each as two bf16, its nearest and that of what is left: off
// by 2^-16 of itself at most (docs/precision.md). Lanes of the softmax are queries.
//
// Order of sums, the same for any number of queries: a score runs along head_dim, 32 dimensions
// after the other, the nearest of q before what is left; the sum of exponentials along keys, one by
// one; an output along keys as a score does along dimensions. Keys that no query sees add zeros,
// whatever lies there.
//
// One tile of queries, or fewer, reads each key and value once: there the order in which memory is
// passed is what counts, and it is another one than for many.
#include "ops/cpu/simd/target.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/cpu/amx/amx.h"
#include "ops/cpu/avx512/avx512.h"

CULET_TARGET_BEGIN(CULET_AMX_TARGET)
namespace culet::amx {
namespace {

// Each needs the ones before it.
// clang-format off
#include "ops/cpu/avx512/vec_inl.h"
#include "ops/cpu/simd/math_inl.h"
#include "ops/cpu/amx/tile_inl.h"
#include "ops/cpu/amx/pairs_inl.h"
// clang-format on

inline constexpr std::int64_t kSide = 16;  // rows of a tile, and numbers of 32 bits in one
inline constexpr std::int64_t kTileBytes = 1024;
inline constexpr std::int64_t kStep = 32;      // columns of a tile of bf16: dimensions, or keys
inline constexpr std::int64_t kPassTiles = 3;  // of queries
inline constexpr std::int64_t kKeyTiles = kBlockKeys / kStep;

// Two vectors as bf16, and what is left of them.
CULET_INLINE void Split(__m512 low, __m512 high, __m512i* nearest, __m512i* rest) {
  *nearest = NarrowStep(low, high);
  const __m512 first = WidenBf16(_mm512_castsi512_si256(*nearest)).v;
  const __m512 second = WidenBf16(_mm512_extracti64x4_epi64(*nearest, 1)).v;
  *rest = NarrowStep(_mm512_sub_ps(low, first), _mm512_sub_ps(high, second));
}

// Columns of 16 × 16 pairs to the rows of a tile.
CULET_INLINE void StoreTurned(const __m512i* pairs, std::byte* tile) {
  __m512 turned[kSide];
  Transpose(reinterpret_cast<const float*>(pairs), turned);
  for (std::int64_t row = 0; row < kSide; ++row) _mm512_store_ps(tile + row * 64, turned[row]);
}

// Positions [begin, end) that any query of a pass sees, and the steps of keys that hold them.
struct Hull {
  std::int64_t begin = kBlockKeys;
  std::int64_t end = 0;

  std::int64_t first_step() const { return begin / kStep; }
  std::int64_t end_step() const { return (end + kStep - 1) / kStep; }
};

// What comes next of memory that lies in one piece, brought to the second-level cache by and by.
struct Next {
  std::uintptr_t at = 0;
  std::int64_t lines = 0;  // at a time; 0: nothing

  CULET_INLINE void Fetch() {
    for (std::int64_t line = 0; line < lines; ++line, at += 64) FetchLine(at);
  }
};

// The same by loads, in `times` goes, a quarter of the piece beside the others: the processor runs
// ahead of loads, and not of instructions that fetch.
class Ahead {
 public:
  Ahead() = default;
  Ahead(const std::byte* begin, std::int64_t bytes, std::int64_t times)
      : at_(begin),
        quarter_(bytes / kParts),
        lines_((quarter_ / 64 + times - 1) / times),
        end_(begin + quarter_) {}

  CULET_INLINE void Load() {
    for (std::int64_t line = 0; line < lines_ && at_ < end_; ++line, at_ += 64) {
      for (std::int64_t part = 0; part < kParts; ++part) {
        static_cast<void>(*static_cast<const volatile std::byte*>(at_ + part * quarter_));
      }
    }
  }

 private:
  static constexpr std::int64_t kParts = 4;
  const std::byte* at_ = nullptr;
  std::int64_t quarter_ = 0;
  std::int64_t lines_ = 0;  // of a quarter, at a time
  const std::byte* end_ = nullptr;
};

// Up to kPassTiles tiles of queries.
class Pass {
 public:
  Pass(const AttentionBlockArgs& args, std::int64_t first)
      : a_(args), first_(first), count_(std::min(args.queries - first, kPassTiles * kSide)) {}

  void Run() {
    for (std::int64_t query = first_; query < first_ + count_; ++query) {
      const KeyRange range = a_.range[query];
      if (range.begin >= range.end) continue;
      hull_.begin = std::min<std::int64_t>(hull_.begin, range.begin);
      hull_.end = std::max<std::int64_t>(hull_.end, range.end);
    }
    const std::int64_t tiles = (count_ + kSide - 1) / kSide;
    for (std::int64_t tile = 0; tile < tiles; ++tile) PackQueries(tile);
    if (tiles == 1) {
      ScoreFew();
    } else {
      for (std::int64_t tile = 0; tile < tiles; tile += 2) {
        tile + 1 < tiles ? Score<2>(tile) : Score<1>(tile);
      }
    }
    for (std::int64_t tile = 0; tile < tiles; ++tile) Soften(tile);
    if (tiles == 1) return AddValuesOfFew();
    for (std::int64_t dim = 0; dim < a_.head_dim; dim += kStep) {
      PairValues(dim);
      for (std::int64_t tile = 0; tile < tiles; tile += 2) {
        tile + 1 < tiles ? AddValues<2>(tile, dim) : AddValues<1>(tile, dim);
      }
    }
  }

 private:
  std::int64_t steps() const { return a_.head_dim / kStep; }
  // Two tiles of q: the nearest bf16, and the rest.
  std::byte* QueriesAt(std::int64_t tile, std::int64_t step) {
    return queries_ + (tile * steps() + step) * 2 * kTileBytes;
  }
  // Scores [32 keys, 16 queries], then as many weights as two tiles [16 queries, 32 keys].
  float* ScoresAt(std::int64_t tile, std::int64_t step) {
    return scores_ + (tile * kKeyTiles + step) * kStep * kSide;
  }
  std::int64_t QueriesOf(std::int64_t tile) const { return std::min(count_ - tile * kSide, kSide); }
  const std::byte* RowAt(const void* const* pages, std::int64_t key) const {
    const auto* page = static_cast<const std::byte*>(pages[key / kPageTokens]);
    return page == nullptr ? nullptr : page + key % kPageTokens * a_.row_bytes;
  }

  void PackQueries(std::int64_t tile) {
    const std::int64_t there = QueriesOf(tile);
    for (std::int64_t step = 0; step < steps(); ++step) {
      alignas(64) __m512i nearest[kSide] = {}, rest[kSide] = {};  // [queries, 16 pairs]
      for (std::int64_t query = 0; query < there; ++query) {
        const float* q = a_.q + (first_ + tile * kSide + query) * a_.stride + step * kStep;
        Split(_mm512_loadu_ps(q), _mm512_loadu_ps(q + kSide), nearest + query, rest + query);
      }
      StoreTurned(nearest, QueriesAt(tile, step));
      StoreTurned(rest, QueriesAt(tile, step) + kTileBytes);
    }
  }

  // The values of a step, where there is one.
  Ahead ValuesAhead(std::int64_t step, std::int64_t times) const {
    const std::byte* v = step < hull_.end_step() ? RowAt(a_.v_page, step * kStep) : nullptr;
    if (v == nullptr) return {};
    return {v, (kStep - 1) * a_.row_bytes + a_.head_dim * 2, times};
  }

  // While keys are multiplied: the ones after them, and their values.
  Next KeysAfter(std::int64_t step) const {
    if (step + 1 >= hull_.end_step()) return {};
    return Piece(RowAt(a_.k_page, (step + 1) * kStep));
  }
  Next ValuesOf(std::int64_t step) const {
    const std::byte* row = RowAt(a_.v_page, step * kStep);
    // K=V: one row holds both.
    const std::int64_t apart = row - RowAt(a_.k_page, step * kStep);
    return apart < a_.row_bytes && -apart < a_.row_bytes ? Next{} : Piece(row);
  }
  Next Piece(const std::byte* row) const {
    if (row == nullptr) return {};
    return {reinterpret_cast<std::uintptr_t>(row), kStep * a_.row_bytes / 64 / steps()};
  }

  // The same of one tile of queries, bound by reading keys: a tile's rows are kApart keys apart, so
  // that each runs along its own 4 KB of memory, which the processor follows by itself.
  void ScoreFew() {
    static constexpr std::int64_t kApart = kPageTokens / kSide;
    for (std::int64_t page = hull_.begin / kPageTokens; page * kPageTokens < hull_.end; ++page) {
      const std::byte* keys = RowAt(a_.k_page, page * kPageTokens);
      if (keys == nullptr) continue;
      // Where keys end, the first values are next.
      const bool last = (page + 1) * kPageTokens >= hull_.end;
      Ahead values = last ? ValuesAhead(hull_.first_step(), kApart * steps()) : Ahead();
      for (std::int64_t first = 0; first < kApart; ++first) {
        const std::byte* k = keys + first * a_.row_bytes;
        TileZero<0>();
        for (std::int64_t step = 0; step < steps(); ++step, k += kStep * 2) {
          const std::byte* q = QueriesAt(0, step);
          TileLoad<4>(k, kApart * a_.row_bytes);
          TileLoad<6>(q, 64);
          TileDotBf16<0, 4, 6>();
          TileLoad<7>(q + kTileBytes, 64);
          TileDotBf16<0, 4, 7>();
          values.Load();
        }
        TileStore<0>(scores_ + (page * kPageTokens + first) * kSide, kApart * kSide * 4);
      }
    }
  }

  // Scores of kTiles tiles of queries from `tile` on. Tiles 0 to 3 are sums [16 keys, 16 queries],
  // 4 and 5 keys, 6 and 7 queries.
  template <int kTiles>
  void Score(std::int64_t tile) {
    for (std::int64_t key = hull_.first_step(); key < hull_.end_step(); ++key) {
      const std::byte* k = RowAt(a_.k_page, key * kStep);
      if (k == nullptr) continue;
      Next keys = tile == 0 ? KeysAfter(key) : Next{};
      Next values = tile == 0 ? ValuesOf(key) : Next{};
      TileZero<0>();
      TileZero<1>();
      if (kTiles == 2) TileZero<2>(), TileZero<3>();
      for (std::int64_t step = 0; step < steps(); ++step, k += kStep * 2) {
        const std::byte* q = QueriesAt(tile, step);
        TileLoad<4>(k, a_.row_bytes);
        TileLoad<6>(q, 64);
        TileDotBf16<0, 4, 6>();
        TileLoad<5>(k + kSide * a_.row_bytes, a_.row_bytes);
        TileDotBf16<1, 5, 6>();
        keys.Fetch();
        TileLoad<7>(q + kTileBytes, 64);
        TileDotBf16<0, 4, 7>();
        TileDotBf16<1, 5, 7>();
        values.Fetch();
        if (kTiles == 1) continue;
        q = QueriesAt(tile + 1, step);
        TileLoad<6>(q, 64);
        TileDotBf16<2, 4, 6>();
        TileDotBf16<3, 5, 6>();
        TileLoad<7>(q + kTileBytes, 64);
        TileDotBf16<2, 4, 7>();
        TileDotBf16<3, 5, 7>();
      }
      float* scores = ScoresAt(tile, key);
      TileStore<0>(scores, 64);
      TileStore<1>(scores + kSide * kSide, 64);
      if (kTiles == 1) continue;
      scores = ScoresAt(tile + 1, key);
      TileStore<2>(scores, 64);
      TileStore<3>(scores + kSide * kSide, 64);
    }
  }

  // Scores → weights e^(score − max), 0 where a query does not look; writes max and sum.
  void Soften(std::int64_t tile) {
    const std::int64_t there = QueriesOf(tile);
    alignas(64) std::int32_t begins[kSide] = {}, ends[kSide] = {};
    for (std::int64_t query = 0; query < there; ++query) {
      begins[query] = a_.range[first_ + tile * kSide + query].begin;
      ends[query] = a_.range[first_ + tile * kSide + query].end;
    }
    const __m512i begin = _mm512_load_si512(begins);
    const __m512i end = _mm512_load_si512(ends);
    const auto seen = [&](std::int64_t key) {
      const __mmask16 begun =
          _mm512_cmple_epi32_mask(begin, _mm512_set1_epi32(static_cast<int>(key)));
      const __mmask16 left =
          _mm512_cmple_epi32_mask(_mm512_set1_epi32(static_cast<int>(key + 1)), end);
      return static_cast<__mmask16>(begun & left);
    };
    __m512 max = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    for (std::int64_t step = hull_.first_step(); step < hull_.end_step(); ++step) {
      const float* scores = ScoresAt(tile, step);
      for (std::int64_t key = 0; key < kStep; ++key) {
        max = _mm512_mask_max_ps(max, seen(step * kStep + key), max,
                                 _mm512_load_ps(scores + key * kSide));
      }
    }
    __m512 sum = _mm512_setzero_ps();
    for (std::int64_t step = hull_.first_step(); step < hull_.end_step(); ++step) {
      float* scores = ScoresAt(tile, step);
      const auto weigh = [&](std::int64_t key) {
        const __m512 score = _mm512_load_ps(scores + key * kSide);
        const __m512 weight =
            _mm512_maskz_mov_ps(seen(step * kStep + key), Exp({_mm512_sub_ps(score, max)}).v);
        sum = _mm512_add_ps(sum, weight);
        return weight;
      };
      // Both of a pair of keys in the two halves → side by side.
      alignas(64) static constexpr std::uint16_t kBeside[32] = {
          0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
          8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
      const __m512i beside = _mm512_load_si512(kBeside);
      alignas(64) __m512i nearest[kSide], rest[kSide];  // [pairs of keys, 16 queries]
      for (std::int64_t pair = 0; pair < kSide; ++pair) {
        const __m512 first = weigh(2 * pair);
        const __m512 second = weigh(2 * pair + 1);
        Split(first, second, nearest + pair, rest + pair);
        nearest[pair] = _mm512_permutexvar_epi16(beside, nearest[pair]);
        rest[pair] = _mm512_permutexvar_epi16(beside, rest[pair]);
      }
      auto* weights = reinterpret_cast<std::byte*>(scores);
      StoreTurned(nearest, weights);
      StoreTurned(rest, weights + kTileBytes);
    }
    const __mmask16 mask = there == kSide ? 0xffff : FirstLanes(there);
    _mm512_mask_storeu_ps(a_.max + first_ + tile * kSide, mask, max);
    _mm512_mask_storeu_ps(a_.sum + first_ + tile * kSide, mask, sum);
  }

  // Dimensions [dim, dim + 32) of two values to a row of two tiles: of each quarter of 8 the first
  // four to one, the others to the other. Rows that no query sees may hold anything: zeros.
  CULET_INLINE void PairValue(std::int64_t key, std::int64_t dim, std::byte* to) const {
    const auto row = [&](std::int64_t at) {
      const std::byte* v = RowAt(a_.v_page, at);
      if (v == nullptr || at < hull_.begin || at >= hull_.end) return _mm512_setzero_si512();
      return _mm512_loadu_si512(v + dim * 2);
    };
    const __m512i first = row(key), second = row(key + 1);
    _mm512_store_si512(to, _mm512_unpacklo_epi16(first, second));
    _mm512_store_si512(to + kTileBytes, _mm512_unpackhi_epi16(first, second));
  }
  // These dimensions of all values.
  void PairValues(std::int64_t dim) {
    for (std::int64_t step = hull_.first_step(); step < hull_.end_step(); ++step) {
      std::byte* to = values_ + step * 2 * kTileBytes;
      for (std::int64_t pair = 0; pair < kSide; ++pair) {
        PairValue(step * kStep + 2 * pair, dim, to + pair * 64);
      }
    }
  }
  // All dimensions of a step of values.
  void PairRows(std::int64_t step) {
    for (std::int64_t pair = 0; pair < kSide; ++pair) {
      std::byte* to = rows_ + pair * 64;
      for (std::int64_t dim = 0; dim < a_.head_dim; dim += kStep, to += 2 * kTileBytes) {
        PairValue(step * kStep + 2 * pair, dim, to);
      }
    }
  }

  // All dimensions of one tile of queries, bound by reading values: 32 of them after the other, as
  // they lie. The sums wait in memory meanwhile.
  void AddValuesOfFew() {
    const std::int64_t first = hull_.first_step();
    if (first >= hull_.end_step()) std::memset(sums_, 0, sizeof(sums_));
    for (std::int64_t step = first; step < hull_.end_step(); ++step) {
      PairRows(step);
      const auto* weights = reinterpret_cast<const std::byte*>(ScoresAt(0, step));
      TileLoad<6>(weights, 64);
      TileLoad<7>(weights + kTileBytes, 64);
      Ahead next = ValuesAhead(step + 1, steps());
      const std::byte* v = rows_;
      float* sums = sums_;
      for (std::int64_t dim = 0; dim < steps(); ++dim) {
        if (step == first) {
          TileZero<0>();
          TileZero<1>();
        } else {
          TileLoad<0>(sums, 64);
          TileLoad<1>(sums + kSide * kSide, 64);
        }
        next.Load();
        TileLoad<4>(v, 64);
        TileDotBf16<0, 6, 4>();
        TileLoad<5>(v + kTileBytes, 64);
        TileDotBf16<1, 6, 5>();
        TileDotBf16<0, 7, 4>();
        TileDotBf16<1, 7, 5>();
        TileStore<0>(sums, 64);
        TileStore<1>(sums + kSide * kSide, 64);
        v += 2 * kTileBytes;
        sums += 2 * kSide * kSide;
      }
    }
    for (std::int64_t dim = 0; dim < steps(); ++dim) {
      StoreOutputs(sums_ + dim * 2 * kSide * kSide, 0, dim * kStep);
    }
  }

  // These dimensions of the outputs of kTiles tiles of queries. Tiles 0 to 3 are sums [16 queries,
  // 16 dimensions], 4 and 5 values, 6 and 7 weights.
  template <int kTiles>
  void AddValues(std::int64_t tile, std::int64_t dim) {
    TileZero<0>();
    TileZero<1>();
    if (kTiles == 2) TileZero<2>(), TileZero<3>();
    for (std::int64_t step = hull_.first_step(); step < hull_.end_step(); ++step) {
      const std::byte* v = values_ + step * 2 * kTileBytes;
      const auto* weights = reinterpret_cast<const std::byte*>(ScoresAt(tile, step));
      TileLoad<4>(v, 64);
      TileLoad<6>(weights, 64);
      TileDotBf16<0, 6, 4>();
      TileLoad<5>(v + kTileBytes, 64);
      TileDotBf16<1, 6, 5>();
      TileLoad<7>(weights + kTileBytes, 64);
      TileDotBf16<0, 7, 4>();
      TileDotBf16<1, 7, 5>();
      if (kTiles == 1) continue;
      weights = reinterpret_cast<const std::byte*>(ScoresAt(tile + 1, step));
      TileLoad<6>(weights, 64);
      TileDotBf16<2, 6, 4>();
      TileDotBf16<3, 6, 5>();
      TileLoad<7>(weights + kTileBytes, 64);
      TileDotBf16<2, 7, 4>();
      TileDotBf16<3, 7, 5>();
    }
    alignas(64) float sums[4 * kSide * kSide];
    TileStore<0>(sums, 64);
    TileStore<1>(sums + kSide * kSide, 64);
    if (kTiles == 2) {
      TileStore<2>(sums + 2 * kSide * kSide, 64);
      TileStore<3>(sums + 3 * kSide * kSide, 64);
    }
    for (int t = 0; t < kTiles; ++t) StoreOutputs(sums + t * 2 * kSide * kSide, tile + t, dim);
  }
  void StoreOutputs(const float* sums, std::int64_t tile, std::int64_t dim) {
    const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    const __m512i second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    for (std::int64_t query = 0; query < QueriesOf(tile); ++query) {
      const __m512d low = _mm512_castps_pd(_mm512_load_ps(sums + query * kSide));
      const __m512d high = _mm512_castps_pd(_mm512_load_ps(sums + (kSide + query) * kSide));
      float* out = a_.out + (first_ + tile * kSide + query) * a_.stride + dim;
      _mm512_storeu_ps(out, _mm512_castpd_ps(_mm512_permutex2var_pd(low, first, high)));
      _mm512_storeu_ps(out + kSide, _mm512_castpd_ps(_mm512_permutex2var_pd(low, second, high)));
    }
  }

  const AttentionBlockArgs& a_;
  std::int64_t first_, count_;  // queries
  Hull hull_;
  alignas(64) std::byte queries_[kPassTiles * kMostTiledDims / kStep * 2 * kTileBytes];
  alignas(64) float scores_[kPassTiles * kSide * kBlockKeys];
  alignas(64) std::byte values_[kKeyTiles * 2 * kTileBytes];
  alignas(64) std::byte rows_[kMostTiledDims / kStep * 2 * kTileBytes];
  alignas(64) float sums_[kMostTiledDims / kStep * 2 * kSide * kSide];
};

void Block(const AttentionBlockArgs& a) {
  // Which one it is hangs on the layer alone: a query's result must not depend on its company.
  if (!AttentionInTiles(a.dtype, a.head_dim)) return avx512::AttentionBlock(a);
  TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) shapes.Set(tile, kSide, 64);
  const TilesInUse tiles(shapes);
  for (std::int64_t query = 0; query < a.queries; query += kPassTiles * kSide) {
    Pass(a, query).Run();
  }
}

}  // namespace

void FillAttentionPart(CpuKernels& table) { table.attention_block = {Block, CpuLevel::kAmx}; }

}  // namespace culet::amx
CULET_TARGET_END
