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

// Where four rows of keys lie. `next` and `value` are bytes from there to the four keys that follow
// and to the values of these: both are fetched into the second-level cache meanwhile, as few
// queries leave too few instructions in flight to cover memory's latency.
struct FourKeys {
  const std::byte* at[4];
  std::intptr_t next;
  std::intptr_t value;
};

template <typename K>
CULET_INLINE void FetchFor(const FourKeys& keys, std::int64_t i) {
  // A vector of bf16 or int8 is half of a line at most: keys and values take turns.
  const bool half = K::kElementBytes < 4;
  const bool even = (i / kLanes) % 2 == 0;
  for (int c = 0; c < 4; ++c) {
    const auto here = reinterpret_cast<std::uintptr_t>(keys.at[c] + i * K::kElementBytes);
    if (!half || even) {
      FetchLine(here + static_cast<std::uintptr_t>(keys.next));
    }
    if (!half || !even) {
      FetchLine(here + static_cast<std::uintptr_t>(keys.value));
    }
  }
}

// scores[query][0 … 4) of kQueries queries and four keys.
template <typename K, int kQueries, bool kFetch>
CULET_INLINE void ScorePanel(const float* q, std::int64_t stride, const FourKeys& keys,
                             std::int64_t head_dim, std::int64_t scales, float* scores) {
  F32 acc[kQueries][4];
  for (int query = 0; query < kQueries; ++query) {
    for (int c = 0; c < 4; ++c) acc[query][c] = Zero();
  }
  std::int64_t i = 0;
  for (; i + kLanes <= head_dim; i += kLanes) {
    F32 values[4];
    for (int c = 0; c < 4; ++c) values[c] = K::Read(keys.at[c], i, scales);
    if (kFetch) FetchFor<K>(keys, i);
    for (int query = 0; query < kQueries; ++query) {
      const F32 x = Load(q + query * stride + i);
      for (int c = 0; c < 4; ++c) acc[query][c] = Fma(x, values[c], acc[query][c]);
    }
  }
  if (i < head_dim) {
    F32 values[4];
    for (int c = 0; c < 4; ++c) {
      values[c] = K::ReadN(keys.at[c], i, scales, head_dim - i);
    }
    for (int query = 0; query < kQueries; ++query) {
      const F32 x = Load(q + query * stride + i);
      for (int c = 0; c < 4; ++c) acc[query][c] = Fma(x, values[c], acc[query][c]);
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

// V of head_dim columns [first, first + kVectors·kLanes), the last vector cut to `last` lanes.
template <typename K, int kQueries, int kVectors>
CULET_INLINE void ValuePanel(const AttentionBlockArgs& a, const Hull& hull, const float* weights,
                             std::int64_t first, std::int64_t last, float* out) {
  F32 acc[kQueries][kVectors];
  for (int query = 0; query < kQueries; ++query) {
    for (int c = 0; c < kVectors; ++c) acc[query][c] = Zero();
  }
  const std::int64_t row_bytes = a.row_bytes;
  for (std::int64_t page = 0; page < kBlockPages; ++page) {
    if (a.v_page[page] == nullptr) continue;
    const std::int64_t begin = std::max(hull.begin, page * kPageTokens);
    const std::int64_t end = std::min(hull.end, (page + 1) * kPageTokens);
    const auto* v =
        static_cast<const std::byte*>(a.v_page[page]) + (begin - page * kPageTokens) * row_bytes;
    for (std::int64_t key = begin; key < end; ++key, v += row_bytes) {
      F32 values[kVectors];
      for (int c = 0; c + 1 < kVectors; ++c) {
        values[c] = K::Read(v, first + c * kLanes, a.v_scales);
      }
      const std::int64_t end_column = first + (kVectors - 1) * kLanes;
      values[kVectors - 1] = last == kLanes ? K::Read(v, end_column, a.v_scales)
                                            : K::ReadN(v, end_column, a.v_scales, last);
      for (int query = 0; query < kQueries; ++query) {
        const F32 weight = Set(weights[query * kBlockKeys + key]);
        for (int c = 0; c < kVectors; ++c) {
          acc[query][c] = Fma(weight, values[c], acc[query][c]);
        }
      }
    }
  }
  for (int query = 0; query < kQueries; ++query) {
    for (int c = 0; c < kVectors; ++c) {
      Store(out + query * a.stride + first + c * kLanes, acc[query][c]);
    }
  }
}

template <typename K, int kQueries>
void ValueColumns(const AttentionBlockArgs& a, const Hull& hull, const float* weights, float* out) {
  std::int64_t first = 0;
  for (; first + 4 * kLanes <= a.head_dim; first += 4 * kLanes) {
    ValuePanel<K, kQueries, 4>(a, hull, weights, first, kLanes, out);
  }
  for (; first + kLanes <= a.head_dim; first += kLanes) {
    ValuePanel<K, kQueries, 1>(a, hull, weights, first, kLanes, out);
  }
  if (first < a.head_dim) {
    ValuePanel<K, kQueries, 1>(a, hull, weights, first, a.head_dim - first, out);
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

template <typename K>
struct Panels {
  template <int kQueries>
  struct Score {
    static CULET_INLINE void Run(const float* q, std::int64_t stride, const FourKeys* keys,
                                 std::int64_t head_dim, std::int64_t scales, bool fetch,
                                 float* scores) {
      if (fetch) {
        ScorePanel<K, kQueries, true>(q, stride, *keys, head_dim, scales, scores);
      } else {
        ScorePanel<K, kQueries, false>(q, stride, *keys, head_dim, scales, scores);
      }
    }
  };
  template <int kQueries>
  struct Value {
    static CULET_INLINE void Run(const AttentionBlockArgs* a, const Hull* hull,
                                 const float* weights, float* out) {
      ValueColumns<K, kQueries>(*a, *hull, weights, out);
    }
  };
};

// Bytes from the keys at `key` to the ones that are read after them; 0 after the last.
CULET_INLINE std::intptr_t NextKeys(const AttentionBlockArgs& a, std::int64_t page,
                                    std::int64_t key, std::int64_t end) {
  const auto row = static_cast<std::intptr_t>(a.row_bytes);
  if (key + 4 < end) return 4 * row;
  if (page + 1 == kBlockPages || a.k_page[page + 1] == nullptr) return 0;
  return static_cast<const char*>(a.k_page[page + 1]) - static_cast<const char*>(a.k_page[page]) -
         (key - page * kPageTokens) * row;
}

template <typename K>
void BlockOf(const AttentionBlockArgs& a) {
  const Hull hull = HullOf(a);
  const std::int64_t panels = (a.queries + kTileRows - 1) / kTileRows;
  const std::int64_t panel = (a.queries + panels - 1) / panels;  // even: 4 + 4, not 6 + 2
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
      keys.value =
          static_cast<const char*>(a.v_page[page]) - static_cast<const char*>(a.k_page[page]);
      for (std::int64_t query = 0; query < a.queries; query += panel) {
        ForPanel<Panels<K>::template Score>(
            std::min(panel, a.queries - query), a.q + query * a.stride, a.stride,
            static_cast<const FourKeys*>(&keys), a.head_dim, a.k_scales, query == 0,
            a.scores + query * kBlockKeys + key);
      }
    }
  }
  for (std::int64_t query = 0; query < a.queries; ++query) Soften(a, hull, query);
  for (std::int64_t query = 0; query < a.queries; query += panel) {
    ForPanel<Panels<K>::template Value>(std::min(panel, a.queries - query), &a, &hull,
                                        static_cast<const float*>(a.scores + query * kBlockKeys),
                                        a.out + query * a.stride);
  }
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
