// A block of keys for a tile of queries that all see all of it, over the vocabulary (see
// ops/cpu/kernels.h for the arguments). After math_inl.h.
//
// Both products are outer products from panels of kDensePanel columns: kGroup queries are broadcast
// one value at a time over a panel's vectors, kGroup·kPanelVectors sums stay in registers: 12, fed
// by 8 loads for 12 multiply-adds with AVX2, and by 13 with AVX-512, whose broadcasts are operands
// of the multiply-add. A panel of keys (head_dim · 64 bytes) and the tile's queries, later a panel
// of values (16 KB) and a group's weights, stay in the first-level cache.
//
// Order of sums, the same for any query: a score runs along head_dim; an output is scaled, then
// runs along keys; the sum of exponentials runs along keys in one vector.

inline constexpr int kPanelVectors = static_cast<int>(kDensePanel) / kLanes;
inline constexpr int kGroup = 12 / kPanelVectors;
static_assert(kDenseGroup % kGroup == 0 && kPanelVectors * kLanes == kDensePanel);

// acc[r] += Σ_i a[r·a_stride + i] · panel[i], i < n        panel [n, kDensePanel]
CULET_INLINE void OuterPanel(const float* a, std::int64_t a_stride, const float* panel,
                             std::int64_t n, F32 (&acc)[kGroup][kPanelVectors]) {
  for (std::int64_t i = 0; i < n; ++i) {
    F32 values[kPanelVectors];
    for (int c = 0; c < kPanelVectors; ++c) values[c] = Load(panel + i * kDensePanel + c * kLanes);
    for (int r = 0; r < kGroup; ++r) {
      const F32 factor = Set(a[r * a_stride + i]);
      for (int c = 0; c < kPanelVectors; ++c) acc[r][c] = Fma(factor, values[c], acc[r][c]);
    }
  }
}

// Scores → weights e^(score − max) with the maximum so far; returns by what earlier sums shrink.
CULET_INLINE float DenseSoften(const DenseAttentionArgs& a, std::int64_t query) {
  float* scores = a.scores + query * kDenseScores;
  const F32 lowest = Set(-std::numeric_limits<float>::infinity());
  F32 max = lowest;
  for (std::int64_t key = 0; key < a.keys; key += kLanes) {
    const std::int64_t left = a.keys - key;
    const F32 value = Load(scores + key);
    max = Max(max, left >= kLanes ? value : KeepLanes(value, lowest, 0, left));
  }
  const float largest = std::max(a.max[query], ReduceMax(max));
  const float before = std::exp(a.max[query] - largest);
  F32 sum = Zero();
  for (std::int64_t key = 0; key < a.keys; key += kLanes) {
    const std::int64_t left = a.keys - key;
    const F32 all = Exp(Sub(Load(scores + key), Set(largest)));
    const F32 weight = left >= kLanes ? all : KeepLanes(all, Zero(), 0, left);
    Store(scores + key, weight);
    sum = Add(sum, weight);
  }
  a.max[query] = largest;
  a.sum[query] = a.sum[query] * before + ReduceAdd(sum);
  return before;
}

inline void DenseBlock(const DenseAttentionArgs& a) {
  // Keys of the last panel that are none have k = 0; their scores are not looked at.
  for (std::int64_t key = 0; key < a.keys; key += kDensePanel) {
    const float* panel = a.k + key * a.head_dim;
    for (std::int64_t query = 0; query < a.queries; query += kGroup) {
      F32 acc[kGroup][kPanelVectors];
      for (int r = 0; r < kGroup; ++r) {
        for (int c = 0; c < kPanelVectors; ++c) acc[r][c] = Zero();
      }
      OuterPanel(a.q + query * a.head_dim, a.head_dim, panel, a.head_dim, acc);
      for (int r = 0; r < kGroup; ++r) {
        for (int c = 0; c < kPanelVectors; ++c) {
          Store(a.scores + (query + r) * kDenseScores + key + c * kLanes, acc[r][c]);
        }
      }
    }
  }
  float before[kDenseTile];
  for (std::int64_t query = 0; query < a.queries; ++query) before[query] = DenseSoften(a, query);
  for (std::int64_t first = 0; first < a.stride; first += kDensePanel) {
    const float* panel = a.v + first * a.keys;
    for (std::int64_t query = 0; query < a.queries; query += kGroup) {
      float* out = a.out + query * a.stride + first;
      F32 acc[kGroup][kPanelVectors];
      for (int r = 0; r < kGroup; ++r) {
        const F32 scale = Set(before[query + r]);
        for (int c = 0; c < kPanelVectors; ++c) {
          acc[r][c] = Mul(Load(out + r * a.stride + c * kLanes), scale);
        }
      }
      OuterPanel(a.scores + query * kDenseScores, kDenseScores, panel, a.keys, acc);
      for (int r = 0; r < kGroup; ++r) {
        for (int c = 0; c < kPanelVectors; ++c) {
          Store(out + r * a.stride + c * kLanes, acc[r][c]);
        }
      }
    }
  }
}

inline void FillDenseAttention(CpuKernels& table, CpuLevel level) {
  table.dense_attention_block = {DenseBlock, level};
}
