// Attention over a block of keys, over the vocabulary (see ops/cpu/kernels.h for the arguments).
// After math_inl.h. One loop serves decoding and prompts: panels of up to kTileRows queries.
//
// Order of sums, the same for any panel: a score runs along head_dim in one vector, then Reduce4;
// the sum of exponentials runs along positions in one vector; each output runs along keys one by
// one, in rising order. Keys that a query does not see get weight 0 exactly, which leaves sums as
// they are.

// Rows of keys or values in one format: kLanes values from column i of a row on, or the last n.
template <DType kType>
struct Keys {
  static constexpr std::int64_t kElementBytes = kType == DType::kF32    ? 4
                                                : kType == DType::kBF16 ? 2
                                                                        : 1;

  static CULET_INLINE F32 Read(const std::byte* row, std::int64_t i, std::int64_t scales) {
    const std::byte* p = row + i * kElementBytes;
    if constexpr (kType == DType::kBF16) {
      return LoadBf16(reinterpret_cast<const std::uint16_t*>(p));
    } else if constexpr (kType == DType::kF32) {
      return Load(reinterpret_cast<const float*>(p));
    } else {
      return Mul(LoadI8(p), Set(Scale(row, i, scales)));
    }
  }
  static CULET_INLINE F32 ReadN(const std::byte* row, std::int64_t i, std::int64_t scales,
                                std::int64_t n) {
    const std::byte* p = row + i * kElementBytes;
    if constexpr (kType == DType::kBF16) {
      return LoadBf16N(reinterpret_cast<const std::uint16_t*>(p), n);
    } else if constexpr (kType == DType::kF32) {
      return LoadN(reinterpret_cast<const float*>(p), n);
    } else {
      return Mul(LoadI8N(p, n), Set(Scale(row, i, scales)));
    }
  }

 private:
  static CULET_INLINE float Scale(const std::byte* row, std::int64_t i, std::int64_t scales) {
    float scale;
    std::memcpy(&scale, row + scales + i / kKvGroup * 4, sizeof(scale));
    return scale;
  }
};
static_assert(kKvGroup % kLanes == 0);  // a vector has one scale

// Where four rows of keys lie, and how many bytes farther what is fetched into the second-level
// cache meanwhile, as there are too few instructions in flight to cover memory's latency: the keys
// that follow, and the values of these where there is only one panel of queries (else 0). That has
// no time to fetch values while it adds them.
struct FourKeys {
  const std::byte* at[4];
  std::intptr_t next;
  std::intptr_t value;
};

// Fetches what panel `panel` of `panels` is to fetch before it works: all at once would fill the
// processor's queue of misses and hold up what is computed meanwhile. `bytes`: of the four rows,
// which lie one after the other.
CULET_INLINE void FetchShare(const FourKeys& keys, std::int64_t bytes, std::int64_t panel,
                             std::int64_t panels) {
  constexpr std::int64_t kLine = 64;
  const std::int64_t share = (bytes / kLine + panels - 1) / panels * kLine;
  const auto here = reinterpret_cast<std::uintptr_t>(keys.at[0]);
  for (std::int64_t at = panel * share; at < std::min(bytes, (panel + 1) * share); at += kLine) {
    FetchLine(here + static_cast<std::uintptr_t>(at + keys.next));
    if (keys.value != 0) FetchLine(here + static_cast<std::uintptr_t>(at + keys.value));
  }
}

// Four keys in f32 [head_dim / kLanes, 4, kLanes], zero beyond head_dim: once for all panels of
// queries, which then are multiply-adds and loads alone.
template <typename K>
CULET_INLINE void WidenKeys(const FourKeys& keys, std::int64_t head_dim, std::int64_t scales,
                            float* to) {
  std::int64_t i = 0;
  for (; i + kLanes <= head_dim; i += kLanes) {
    for (int c = 0; c < 4; ++c) Store(to + 4 * i + c * kLanes, K::Read(keys.at[c], i, scales));
  }
  if (i == head_dim) return;
  for (int c = 0; c < 4; ++c) {
    Store(to + 4 * i + c * kLanes, K::ReadN(keys.at[c], i, scales, head_dim - i));
  }
}

// scores[query][0 … 4) of kQueries queries and four keys. A key's vector meets all queries at once:
// kQueries·4 sums, the queries' vectors and one of a key are all registers that AVX2 has for three.
template <int kQueries>
CULET_INLINE void ScorePanel(const float* q, const float* keys, std::int64_t stride,
                             std::int64_t head_dim, float* scores) {
  F32 acc[kQueries][4];
  for (int query = 0; query < kQueries; ++query) {
    for (int c = 0; c < 4; ++c) acc[query][c] = Zero();
  }
  for (std::int64_t i = 0; i < head_dim; i += kLanes) {
    F32 x[kQueries];
    for (int query = 0; query < kQueries; ++query) x[query] = Load(q + query * stride + i);
    for (int c = 0; c < 4; ++c) {
      const F32 value = Load(keys + 4 * i + c * kLanes);
      for (int query = 0; query < kQueries; ++query) {
        acc[query][c] = Fma(x[query], value, acc[query][c]);
      }
    }
  }
  for (int query = 0; query < kQueries; ++query) {
    StoreFour(scores + query * kBlockKeys,
              Reduce4(acc[query][0], acc[query][1], acc[query][2], acc[query][3]));
  }
}

// Positions [begin, end) of the block that any query of the tile sees.
struct Hull {
  std::int64_t begin;
  std::int64_t end;
};

CULET_INLINE Hull HullOf(const AttentionBlockArgs& a) {
  Hull hull{kBlockKeys, 0};
  for (std::int64_t query = 0; query < a.queries; ++query) {
    if (a.range[query].begin >= a.range[query].end) continue;
    hull.begin = std::min<std::int64_t>(hull.begin, a.range[query].begin);
    hull.end = std::max<std::int64_t>(hull.end, a.range[query].end);
  }
  return hull;
}

// Values of a page, from the first that is seen on.
struct PageValues {
  const std::byte* at;
  std::int64_t count;
  std::int64_t row_bytes;
  std::int64_t scales;
};

// The columns that come next, of each value from `at` on: fetched by and by while panels work, as
// all at once would fill the processor's queue of misses.
struct NextColumns {
  std::uintptr_t at = 0;
  std::int64_t row_bytes = 0;
  std::int64_t count = 0;
  std::int64_t bytes = 0;  // of a value's columns

  CULET_INLINE void FetchOne() {
    for (std::int64_t line = 0; line < bytes; line += 64) {
      FetchLine(at + static_cast<std::uintptr_t>(line));
    }
    at += static_cast<std::uintptr_t>(row_bytes);
  }
  // The part of panel `panel` of `panels`.
  CULET_INLINE NextColumns Share(std::int64_t panel, std::int64_t panels) const {
    const std::int64_t share = (count + panels - 1) / panels;
    const std::int64_t first = std::min(count, panel * share);
    return {at + static_cast<std::uintptr_t>(first * row_bytes), row_bytes,
            std::min(count - first, share), bytes};
  }
};

// Columns [first, first + kVectors·kLanes) in f32 side by side, the last vector cut to `last`
// lanes.
template <typename K, int kVectors>
CULET_INLINE void WidenValues(const PageValues& values, std::int64_t first, std::int64_t last,
                              float* to) {
  const std::int64_t end = first + (kVectors - 1) * kLanes;
  const std::byte* v = values.at;
  for (std::int64_t key = 0; key < values.count; ++key) {
    for (int c = 0; c + 1 < kVectors; ++c) {
      Store(to + c * kLanes, K::Read(v, first + c * kLanes, values.scales));
    }
    Store(to + (kVectors - 1) * kLanes,
          last == kLanes ? K::Read(v, end, values.scales) : K::ReadN(v, end, values.scales, last));
    v += values.row_bytes;
    to += kVectors * kLanes;
  }
}

// out[kQueries][kVectors·kLanes] += weights[query][0 … count) · values [count, kVectors·kLanes].
template <int kQueries, int kVectors>
CULET_INLINE void ValuePanel(const float* values, std::int64_t count, const float* weights,
                             float* out, std::int64_t stride, NextColumns next) {
  F32 acc[kQueries][kVectors];
  for (int query = 0; query < kQueries; ++query) {
    for (int c = 0; c < kVectors; ++c) acc[query][c] = Load(out + query * stride + c * kLanes);
  }
  for (std::int64_t key = 0; key < count; ++key, values += kVectors * kLanes) {
    if (key < next.count) next.FetchOne();
    F32 weight[kQueries];
    for (int query = 0; query < kQueries; ++query)
      weight[query] = Set(weights[query * kBlockKeys + key]);
    for (int c = 0; c < kVectors; ++c) {
      const F32 value = Load(values + c * kLanes);
      for (int query = 0; query < kQueries; ++query) {
        acc[query][c] = Fma(weight[query], value, acc[query][c]);
      }
    }
  }
  for (int query = 0; query < kQueries; ++query) {
    for (int c = 0; c < kVectors; ++c) Store(out + query * stride + c * kLanes, acc[query][c]);
  }
}

// Scores of query → weights e^(score − max), 0 where it does not look; writes max and sum.
CULET_INLINE void Soften(const AttentionBlockArgs& a, const Hull& hull, std::int64_t query) {
  float* scores = a.scores + query * kBlockKeys;
  const KeyRange range = a.range[query];
  const F32 lowest = Set(-std::numeric_limits<float>::infinity());
  const std::int64_t begin = hull.begin / kLanes * kLanes;
  F32 max = lowest;
  for (std::int64_t key = begin; key < hull.end; key += kLanes) {
    max = Max(max, KeepLanes(Load(scores + key), lowest, range.begin - key, range.end - key));
  }
  const float largest = ReduceMax(max);
  F32 sum = Zero();
  for (std::int64_t key = begin; key < hull.end; key += kLanes) {
    const F32 weight = KeepLanes(Exp(Sub(Load(scores + key), Set(largest))), Zero(),
                                 range.begin - key, range.end - key);
    Store(scores + key, weight);
    sum = Add(sum, weight);
  }
  a.max[query] = largest;
  a.sum[query] = ReduceAdd(sum);
}

// Calls Step<kQueries>::Run(args…) for 1 ≤ queries ≤ kTileRows.
template <template <int> typename Step, typename... Args>
CULET_INLINE void ForPanel(std::int64_t queries, Args... args) {
  switch (queries) {
    case 1: return Step<1>::Run(args...);
    case 2: return Step<2>::Run(args...);
    case 3: return Step<3>::Run(args...);
#if CULET_TILE_ROWS > 3
    case 4: return Step<4>::Run(args...);
    case 5: return Step<5>::Run(args...);
    case 6: return Step<6>::Run(args...);
#endif
    default: __builtin_unreachable();
  }
}

template <int kQueries>
struct Score {
  static CULET_INLINE void Run(const float* q, const float* keys, std::int64_t stride,
                               std::int64_t head_dim, float* scores) {
    ScorePanel<kQueries>(q, keys, stride, head_dim, scores);
  }
};
template <int kVectors>
struct Columns {
  template <int kQueries>
  struct Value {
    static CULET_INLINE void Run(const float* values, std::int64_t count, const float* weights,
                                 float* out, std::int64_t stride, NextColumns next) {
      ValuePanel<kQueries, kVectors>(values, count, weights, out, stride, next);
    }
  };
};

// Queries of a panel: as few panels as kTileRows allows, of equal height (4 + 4, not 6 + 2).
CULET_INLINE std::int64_t PanelOf(const AttentionBlockArgs& a) {
  const std::int64_t panels = (a.queries + kTileRows - 1) / kTileRows;
  return (a.queries + panels - 1) / panels;
}

CULET_INLINE bool OnePanel(const AttentionBlockArgs& a) { return a.queries <= kTileRows; }

// out += Σ weight · V of a page in columns [first, first + kVectors·kLanes), the last vector cut to
// `last`. `weights` and `out` [queries, …] are the first query's, at the page's first value and in
// column 0.
template <typename K, int kVectors>
CULET_INLINE void ValueColumns(const AttentionBlockArgs& a, const PageValues& values,
                               const float* weights, std::int64_t first, std::int64_t last,
                               const NextColumns& next) {
  const std::int64_t panel = PanelOf(a);
  const std::int64_t panels = (a.queries + panel - 1) / panel;
  WidenValues<K, kVectors>(values, first, last, a.widened);
  for (std::int64_t index = 0; index < panels; ++index) {
    const std::int64_t query = index * panel;
    ForPanel<Columns<kVectors>::template Value>(
        std::min(panel, a.queries - query), static_cast<const float*>(a.widened), values.count,
        weights + query * kBlockKeys, a.out + query * a.stride + first, a.stride,
        next.Share(index, panels));
  }
}

// What is to be fetched while the columns before `first` are taken: those from `first` on, or the
// first ones of the next page. With one panel keys have brought all of it.
template <typename K>
CULET_INLINE NextColumns NextOf(const AttentionBlockArgs& a, const PageValues& values,
                                const Hull& hull, std::int64_t page, std::int64_t first) {
  if (OnePanel(a)) return {};
  constexpr std::int64_t kBytes = 4 * kLanes * K::kElementBytes;
  if (first < a.head_dim) {
    // Fewer bytes than a line: the columns before these have brought it.
    const std::int64_t bytes = first * K::kElementBytes % 64 == 0 ? kBytes : 0;
    return {reinterpret_cast<std::uintptr_t>(values.at + first * K::kElementBytes),
            values.row_bytes, bytes > 0 ? values.count : 0, bytes};
  }
  const std::int64_t begin = (page + 1) * kPageTokens;
  if (page + 1 == kBlockPages || begin >= hull.end || a.v_page[page + 1] == nullptr) return {};
  return {reinterpret_cast<std::uintptr_t>(a.v_page[page + 1]), values.row_bytes,
          std::min(hull.end - begin, kPageTokens), kBytes};
}

template <typename K>
CULET_INLINE void AddValues(const AttentionBlockArgs& a, const Hull& hull) {
  std::fill_n(a.out, a.queries * a.stride, 0.0f);
  for (std::int64_t page = 0; page < kBlockPages; ++page) {
    if (a.v_page[page] == nullptr) continue;
    const std::int64_t begin = std::max(hull.begin, page * kPageTokens);
    const std::int64_t end = std::min(hull.end, (page + 1) * kPageTokens);
    if (begin >= end) continue;
    const PageValues values = {
        static_cast<const std::byte*>(a.v_page[page]) + (begin - page * kPageTokens) * a.row_bytes,
        end - begin, a.row_bytes, a.v_scales};
    const float* weights = a.scores + begin;
    std::int64_t first = 0;
    for (; first + 4 * kLanes <= a.head_dim; first += 4 * kLanes) {
      ValueColumns<K, 4>(a, values, weights, first, kLanes,
                         NextOf<K>(a, values, hull, page, first + 4 * kLanes));
    }
    for (; first + kLanes <= a.head_dim; first += kLanes) {
      ValueColumns<K, 1>(a, values, weights, first, kLanes, NextColumns{});
    }
    if (first < a.head_dim) {
      ValueColumns<K, 1>(a, values, weights, first, a.head_dim - first, NextColumns{});
    }
  }
}

// Keys that lie between those that are computed and those that are fetched: the time of four alone
// does not cover memory's latency.
inline constexpr std::int64_t kAheadKeys = 8;

// Bytes from the keys at `key` to those kAheadKeys later; 0 where the block has none.
CULET_INLINE std::intptr_t NextKeys(const AttentionBlockArgs& a, std::int64_t page,
                                    std::int64_t key, std::int64_t end) {
  const auto row = static_cast<std::intptr_t>(a.row_bytes);
  if (key + kAheadKeys < end) return kAheadKeys * row;
  if (page + 1 == kBlockPages || a.k_page[page + 1] == nullptr) return 0;
  return static_cast<const char*>(a.k_page[page + 1]) - static_cast<const char*>(a.k_page[page]) +
         (kAheadKeys - kPageTokens) * row;
}

template <typename K>
void BlockOf(const AttentionBlockArgs& a) {
  const Hull hull = HullOf(a);
  const std::int64_t panel = PanelOf(a);
  const std::int64_t panels = (a.queries + panel - 1) / panel;
  const std::int64_t row_bytes = a.row_bytes;
  for (std::int64_t page = 0; page < kBlockPages; ++page) {
    if (a.k_page[page] == nullptr) continue;
    const std::int64_t begin = std::max(hull.begin, page * kPageTokens);
    const std::int64_t end = std::min(hull.end, (page + 1) * kPageTokens);
    const auto* base = static_cast<const std::byte*>(a.k_page[page]);
    for (std::int64_t key = begin / 4 * 4; key < end; key += 4) {
      // The first and last of these may lie outside of the hull and hold anything: their scores are
      // masked.
      FourKeys keys;
      for (std::int64_t c = 0; c < 4; ++c) {
        keys.at[c] = base + (key + c - page * kPageTokens) * row_bytes;
      }
      keys.next = NextKeys(a, page, key, end);
      keys.value = OnePanel(a) ? static_cast<const char*>(a.v_page[page]) -
                                     static_cast<const char*>(a.k_page[page])
                               : 0;
      WidenKeys<K>(keys, a.head_dim, a.k_scales, a.widened);
      for (std::int64_t index = 0; index < panels; ++index) {
        const std::int64_t query = index * panel;
        FetchShare(keys, 4 * row_bytes, index, panels);
        ForPanel<Score>(std::min(panel, a.queries - query), a.q + query * a.stride,
                        static_cast<const float*>(a.widened), a.stride, a.head_dim,
                        a.scores + query * kBlockKeys + key);
      }
    }
  }
  for (std::int64_t query = 0; query < a.queries; ++query) Soften(a, hull, query);
  AddValues<K>(a, hull);
}

inline void Block(const AttentionBlockArgs& a) {
  if (a.dtype == DType::kBF16) {
    BlockOf<Keys<DType::kBF16>>(a);
  } else if (a.dtype == DType::kI8) {
    BlockOf<Keys<DType::kI8>>(a);
  } else {
    BlockOf<Keys<DType::kF32>>(a);
  }
}

inline void Merge(float* max, float* sum, float* out, float block_max, float block_sum,
                  const float* block_out, std::int64_t n) {
  if (block_sum == 0.0f) return;  // the row sees none of the block's keys
  const float joined = std::max(*max, block_max);
  const float old_scale = std::exp(*max - joined);  // 0 for the first block
  const float new_scale = std::exp(block_max - joined);
  *max = joined;
  *sum = *sum * old_scale + block_sum * new_scale;
  const F32 before = Set(old_scale);
  const F32 after = Set(new_scale);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const F32 added = Mul(LoadPart(block_out + i, n - i), after);
    StorePart(out + i, Fma(LoadPart(out + i, n - i), before, added), n - i);
  }
}

inline void FillAttention(CpuKernels& table, CpuLevel level) {
  table.attention_block = {Block, level};
  table.attention_merge = {Merge, level};
}
