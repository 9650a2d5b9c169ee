// Attention: checks, tiles of queries, and work over threads. The sums
// are in the kernels (ops/cpu/kernels.h): partial states of 256-key blocks, joined in rising order.
#include "ops/attention.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

#include "ops/cpu/kernels.h"
#include "ops/kv_rows.h"
#include "ops/profile.h"
#include "ops/shapes.h"

namespace culet {
namespace {

// Queries (rows × query heads of one kv head) that share one pass over the keys. 48 queries of 512
// f32 are 96 KB, as are their outputs: both stay in the second-level cache beside a page.
constexpr std::int64_t kTileQueries = 48;
// Blocks a thread gets between two joins where the keys of one tile are split over threads.
constexpr std::int64_t kWaveItems = 8;
// Where whole blocks leave threads idle for more than this part of the work, queries are split too:
// each part of them reads the keys anew.
constexpr double kMostIdle = 0.2;
// Fewer queries a pass than this use the values that they load too little.
constexpr std::int64_t kLeastQueries = 4;

std::int64_t TileRows(std::int64_t group) {
  return std::max<std::int64_t>(1, kTileQueries / group);
}

// Scratch: row tiles, one work area a thread, and the partial states of a wave.
struct Layout {
  std::size_t tiles;       // [rows + 1] i32: first row of each tile
  std::size_t states;      // [rows · heads · 2] f32: max and sum of each query
  std::size_t areas;       // [threads] areas
  std::size_t partials;    // [threads · kWaveItems] partial states
  std::size_t area_bytes;  // q, scores, widened keys, ranges and one partial state
  std::size_t partial_bytes;
  std::size_t bytes;
};

std::size_t FloatBytes(std::int64_t count) {
  return AlignUp(static_cast<std::size_t>(count) * sizeof(float));
}

Layout MakeLayout(std::int64_t rows, std::int64_t heads, std::int64_t group, std::int64_t head_dim,
                  int threads) {
  const std::int64_t stride = RoundUp(head_dim, 16);
  const std::int64_t queries = std::min(TileRows(group), rows) * group;
  Layout layout{};
  layout.partial_bytes = 2 * FloatBytes(queries) + FloatBytes(queries * stride);
  layout.area_bytes = FloatBytes(queries * stride) + FloatBytes(queries * kBlockKeys) +
                      FloatBytes(WidenedFloats(stride)) +
                      AlignUp(static_cast<std::size_t>(queries) * sizeof(KeyRange)) +
                      layout.partial_bytes;
  layout.tiles = 0;
  layout.states = FloatBytes(rows + 1);
  layout.areas = layout.states + FloatBytes(rows * heads * 2);
  layout.partials = layout.areas + layout.area_bytes * static_cast<std::size_t>(threads);
  layout.bytes =
      layout.partials + layout.partial_bytes * static_cast<std::size_t>(threads * kWaveItems);
  return layout;
}

struct Partial {
  float* max;  // [queries]
  float* sum;  // [queries]
  float* out;  // [queries, stride]
};

Partial PartialAt(std::byte* at, std::int64_t queries) {
  const std::size_t vector = FloatBytes(queries);
  return {reinterpret_cast<float*>(at), reinterpret_cast<float*>(at + vector),
          reinterpret_cast<float*>(at + 2 * vector)};
}

// What the call must read, each key and value of a sequence once, and multiply.
OpWork WorkOf(const KvLayer& cache, const BatchPlan& plan, const KindPlan& kind,
              std::int64_t heads) {
  OpWork work;
  for (std::int64_t row = 0; row < plan.rows;) {
    const auto at = [&](std::int64_t index) { return static_cast<std::size_t>(index); };
    const std::int64_t sequence = plan.sequences[at(row)];
    KeyRange seen = kind.visible[at(row)];
    for (; row < plan.rows && plan.sequences[at(row)] == sequence; ++row) {
      const KeyRange range = kind.visible[at(row)];
      seen = {std::min(seen.begin, range.begin), std::max(seen.end, range.end)};
      work.multiply_adds +=
          2.0 * static_cast<double>((range.end - range.begin) * heads * cache.head_dim);
    }
    work.bytes += static_cast<double>((seen.end - seen.begin) * cache.position_bytes());
  }
  return work;
}

// One call's constants.
struct Job {
  Context& ctx;
  const View<const float, 3>& q;
  const KvLayer& cache;
  const BatchPlan& plan;
  const KindPlan& kind;
  const View<float, 3>& out;
  std::span<const float> k_weight;
  std::int64_t group;
  std::int64_t stride;
  std::int64_t tile_queries;  // most queries of a tile
  Layout layout;
  std::byte* scratch;

  const std::int32_t* tiles() const {
    return reinterpret_cast<const std::int32_t*>(scratch + layout.tiles);
  }
  float* state(std::int64_t row, std::int64_t head) const {
    return reinterpret_cast<float*>(scratch + layout.states) + (row * q.extent(1) + head) * 2;
  }
};

// Rows [begin, end) of one sequence, for one kv head, and the blocks that they see.
struct Tile {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t kv_head;
  std::int64_t first_block;
  std::int64_t end_block;
};

Tile TileAt(const Job& job, std::int64_t index) {
  const std::int64_t kv_heads = job.cache.kv_heads;
  Tile tile{job.tiles()[index / kv_heads], job.tiles()[index / kv_heads + 1], index % kv_heads, 0,
            0};
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  std::int64_t last = 0;
  for (std::int64_t row = tile.begin; row < tile.end; ++row) {
    first = std::min<std::int64_t>(first, job.kind.visible[row].begin);
    last = std::max<std::int64_t>(last, job.kind.visible[row].end);
  }
  tile.first_block = first / kBlockKeys;
  tile.end_block = (last + kBlockKeys - 1) / kBlockKeys;
  return tile;
}

// q [head_dim] as it meets a row's K: the resting dimensions, each times its weight, then the
// turning ones.
void PackQuery(const Job& job, const float* q, float* packed) {
  const std::int64_t head_dim = job.cache.head_dim;
  if (job.cache.turning == 0) {
    std::copy_n(q, head_dim, packed);
    return;
  }
  const TurningRuns runs(job.cache);
  const float* weight = job.k_weight.data();
  const auto rest = [&](std::int64_t begin) {
    for (std::int64_t i = begin; i < begin + runs.rest; ++i) *packed++ = q[i] * weight[i];
  };
  rest(runs.turn);
  rest(runs.half + runs.turn);
  runs.Turning(q, packed);
}

struct Area {
  float* q;
  float* scores;
  float* widened;
  KeyRange* ranges;
  std::byte* partial;
};

Area AreaAt(const Job& job, int thread) {
  std::byte* at =
      job.scratch + job.layout.areas + job.layout.area_bytes * static_cast<std::size_t>(thread);
  Area area{};
  area.q = reinterpret_cast<float*>(at);
  at += FloatBytes(job.tile_queries * job.stride);
  area.scores = reinterpret_cast<float*>(at);
  at += FloatBytes(job.tile_queries * kBlockKeys);
  area.widened = reinterpret_cast<float*>(at);
  at += FloatBytes(WidenedFloats(job.stride));
  area.ranges = reinterpret_cast<KeyRange*>(at);
  at += AlignUp(static_cast<std::size_t>(job.tile_queries) * sizeof(KeyRange));
  area.partial = at;
  return area;
}

// Of a tile's queries those from `begin` on.
struct QuerySpan {
  std::int64_t begin;
  std::int64_t count;
};

QuerySpan AllQueries(const Job& job, const Tile& tile) {
  return {0, (tile.end - tile.begin) * job.group};
}

// Brings the queries of the tile side by side, padded with zeros, each to its place in q.
void PackQueries(const Job& job, const Tile& tile, const QuerySpan& queries, float* q) {
  const std::int64_t head_dim = job.cache.head_dim;
  for (std::int64_t query = queries.begin; query < queries.begin + queries.count; ++query) {
    const std::int64_t row = tile.begin + query / job.group;
    const std::int64_t head = tile.kv_head * job.group + query % job.group;
    float* packed = q + query * job.stride;
    PackQuery(job, job.q.row(row) + head * job.q.stride(1), packed);
    std::fill(packed + head_dim, packed + job.stride, 0.0f);
  }
}

// The partial state of `block` for `queries` of the tile, which lie in area.q.
void RunBlock(const Job& job, const Tile& tile, const QuerySpan& queries, std::int64_t block,
              const Area& area, const Partial& partial) {
  const std::int64_t head_dim = job.cache.head_dim;
  const std::int64_t block_begin = block * kBlockKeys;
  AttentionBlockArgs args;
  args.queries = queries.count;
  args.head_dim = head_dim;
  args.stride = job.stride;
  args.q = area.q + queries.begin * job.stride;
  args.range = area.ranges + queries.begin;
  args.dtype = job.cache.dtype;
  args.row_bytes = job.cache.row_bytes();
  // From V's first value they are all of the row's values away; K begins `turning` groups later.
  args.v_scales = head_dim + job.cache.turning;
  args.k_scales =
      head_dim + job.cache.turning / kKvGroup * static_cast<std::int64_t>(sizeof(float));
  args.scores = area.scores + queries.begin * kBlockKeys;
  args.widened = area.widened;
  args.max = partial.max + queries.begin;
  args.sum = partial.sum + queries.begin;
  args.out = partial.out + queries.begin * job.stride;
  bool seen[kBlockPages] = {};
  KeyRange* range = area.ranges;
  for (std::int64_t row = tile.begin; row < tile.end; ++row) {
    const KeyRange visible = job.kind.visible[row];
    KeyRange local;
    local.begin = static_cast<std::int32_t>(
        std::clamp<std::int64_t>(visible.begin - block_begin, 0, kBlockKeys));
    local.end = static_cast<std::int32_t>(
        std::clamp<std::int64_t>(visible.end - block_begin, local.begin, kBlockKeys));
    for (std::int64_t g = 0; g < job.group; ++g) *range++ = local;
    if (local.begin == local.end) continue;
    for (std::int64_t page = local.begin / kPageTokens; page * kPageTokens < local.end; ++page) {
      seen[page] = true;
    }
  }
  const std::int32_t* table =
      job.kind.page_tables.data() + job.plan.sequences[tile.begin] * job.kind.table_stride;
  for (std::int64_t page = 0; page < kBlockPages; ++page) {
    if (!seen[page]) continue;
    const std::int64_t id = table[block_begin / kPageTokens + page];
    CULET_DCHECK(id >= 0);
    const std::size_t offset = job.cache.offset(id, tile.kv_head, 0);
    args.v_page[page] = static_cast<const std::byte*>(job.cache.v) + offset;
    args.k_page[page] = job.cache.turning > 0
                            ? static_cast<const std::byte*>(args.v_page[page]) + job.cache.k_shift()
                            : static_cast<const std::byte*>(job.cache.k) + offset;
  }
  job.ctx.kernels().attention_block(args);
}

// body(query of the tile, row, head) over queries [begin, end).
template <typename Body>
void OverQueries(const Job& job, const Tile& tile, Body body) {
  std::int64_t query = 0;
  for (std::int64_t row = tile.begin; row < tile.end; ++row) {
    for (std::int64_t g = 0; g < job.group; ++g) {
      body(query++, row, tile.kv_head * job.group + g);
    }
  }
}

float* OutAt(const Job& job, std::int64_t row, std::int64_t head) {
  return job.out.row(row) + head * job.out.stride(1);
}

void Begin(const Job& job, const Tile& tile) {
  OverQueries(job, tile, [&](std::int64_t, std::int64_t row, std::int64_t head) {
    float* state = job.state(row, head);
    state[0] = -std::numeric_limits<float>::infinity();
    state[1] = 0.0f;
    std::fill_n(OutAt(job, row, head), job.cache.head_dim, 0.0f);
  });
}

void Join(const Job& job, const Tile& tile, const Partial& partial) {
  OverQueries(job, tile, [&](std::int64_t query, std::int64_t row, std::int64_t head) {
    float* state = job.state(row, head);
    job.ctx.kernels().attention_merge(state, state + 1, OutAt(job, row, head), partial.max[query],
                                      partial.sum[query], partial.out + query * job.stride,
                                      job.cache.head_dim);
  });
}

// `spare`: [head_dim].
void End(const Job& job, const Tile& tile, float* spare) {
  const std::int64_t head_dim = job.cache.head_dim;
  const TurningRuns runs(job.cache);
  OverQueries(job, tile, [&](std::int64_t, std::int64_t row, std::int64_t head) {
    const float inverse = 1.0f / job.state(row, head)[1];
    float* out = OutAt(job, row, head);
    for (std::int64_t i = 0; i < head_dim; ++i) out[i] *= inverse;
    if (job.cache.turning == 0) return;
    std::copy_n(out, head_dim, spare);
    runs.FromV(spare, out);
  });
}

// Tiles dealt to threads one by one: causal tiles differ much in work, and who computes a tile does
// not show in its result. `alone`: on the caller only.
void RunWholeTiles(const Job& job, std::int64_t tiles, bool alone) {
  std::atomic<std::int64_t> next{0};
  const auto run = [&](std::int64_t, std::int64_t, int thread) {
    const Area area = AreaAt(job, thread);
    const Partial partial = PartialAt(area.partial, job.tile_queries);
    for (;;) {
      // From the end: the last tiles of a prompt are the longest.
      const std::int64_t index = tiles - 1 - next.fetch_add(1, std::memory_order_relaxed);
      if (index < 0) return;
      const Tile tile = TileAt(job, index);
      PackQueries(job, tile, AllQueries(job, tile), area.q);
      Begin(job, tile);
      for (std::int64_t block = tile.first_block; block < tile.end_block; ++block) {
        RunBlock(job, tile, AllQueries(job, tile), block, area, partial);
        Join(job, tile, partial);
      }
      End(job, tile, area.q);
    }
  };
  if (alone) {
    run(0, 1, 0);
  } else {
    const int threads = job.ctx.pool().threads();
    job.ctx.pool().ParallelFor(threads, 1, run);
  }
}

// In how many parts a tile's queries go to threads. Blocks are dealt one by one, so that the first
// and the last, which may hold few keys, share a thread: whole ones then take as long as blocks of
// kBlockKeys would.
std::int64_t SpansOf(const Job& job, const Tile& tile, std::int64_t queries) {
  const std::int64_t threads = job.ctx.pool().threads();
  const KeyRange seen = job.kind.visible[tile.end - 1];  // like the others', but for a few keys
  const std::int64_t keys = seen.end - seen.begin;
  const std::int64_t rounds = (keys + threads * kBlockKeys - 1) / (threads * kBlockKeys);
  const auto idle = static_cast<double>(rounds * threads * kBlockKeys - keys);
  if (idle <= kMostIdle * static_cast<double>(keys)) return 1;
  return std::clamp<std::int64_t>(queries / kLeastQueries, 1, threads);
}

// Few tiles: the blocks of a tile go to all threads, and where these do not come out even its
// queries too, a wave at a time, and are joined between waves.
void RunSplitTiles(const Job& job, std::int64_t tiles) {
  const int threads = job.ctx.pool().threads();
  const std::int64_t wave = threads * kWaveItems;
  const auto partial_at = [&](std::int64_t block) {
    return PartialAt(job.scratch + job.layout.partials +
                         job.layout.partial_bytes * static_cast<std::size_t>(block),
                     job.tile_queries);
  };
  for (std::int64_t index = 0; index < tiles; ++index) {
    const Tile tile = TileAt(job, index);
    const std::int64_t queries = AllQueries(job, tile).count;
    const std::int64_t spans = SpansOf(job, tile, queries);
    const std::int64_t span = (queries + spans - 1) / spans;
    Begin(job, tile);
    for (std::int64_t first = tile.first_block; first < tile.end_block; first += wave) {
      const std::int64_t count = std::min(wave, tile.end_block - first);
      const auto run = [&](std::int64_t begin, std::int64_t end, int thread) {
        const Area area = AreaAt(job, thread);
        for (std::int64_t item = begin; item < end; ++item) {
          const std::int64_t from = item % spans * span;
          const QuerySpan some = {from, std::min(span, queries - from)};
          if (some.count <= 0) continue;
          PackQueries(job, tile, some, area.q);
          RunBlock(job, tile, some, first + item / spans, area, partial_at(item / spans));
        }
      };
      job.ctx.pool().ParallelFor(count * spans, 1, run, static_cast<int>(kWaveItems * spans));
      for (std::int64_t block = 0; block < count; ++block) Join(job, tile, partial_at(block));
    }
    End(job, tile, AreaAt(job, 0).q);
  }
}

}  // namespace

void Attention(Context& ctx, View<const float, 3> q, const KvLayer& cache, const BatchPlan& plan,
               int kind_index, View<float, 3> out, std::span<const float> k_weight) {
  const std::int64_t rows = q.extent(0);
  const std::int64_t heads = q.extent(1);
  if (q.extents() != out.extents() || q.extent(2) != cache.head_dim || cache.kv_heads < 1 ||
      heads % cache.kv_heads != 0) {
    ThrowShape("Attention: q " + ShapeText(q) + " does not fit out " + ShapeText(out) +
               " and a cache of " + std::to_string(cache.kv_heads) + " heads of " +
               std::to_string(cache.head_dim));
  }
  CheckKvCache("Attention", cache);
  if (cache.turning > 0 && static_cast<std::int64_t>(k_weight.size()) != cache.head_dim) {
    ThrowShape("Attention: " + std::to_string(k_weight.size()) + " weights of K for heads of " +
               std::to_string(cache.head_dim) + " whose K and V lie in one row");
  }
  CheckKvPlan("Attention", plan, rows);
  CheckContiguous("Attention", "q", q);
  CheckContiguous("Attention", "out", out);
  if (rows == 0) return;
  OpTimer timer(ctx, "Attention", kind_index);
  const KindPlan& kind = plan.kind(kind_index);
  if (static_cast<std::int64_t>(kind.visible.size()) < rows) {
    ThrowShape("Attention: " + std::to_string(kind.visible.size()) + " key ranges for " +
               std::to_string(rows) + " rows");
  }
  std::int64_t keys = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const KeyRange range = kind.visible[static_cast<std::size_t>(row)];
    keys += range.end - range.begin;
    if (range.begin < 0 || range.begin >= range.end) {
      ThrowShape("Attention: row " + std::to_string(row) + " sees no key: [" +
                 std::to_string(range.begin) + ", " + std::to_string(range.end) + ")");
    }
    const std::int64_t sequence = plan.sequences[static_cast<std::size_t>(row)];
    for (std::int64_t page = range.begin / kPageTokens; page * kPageTokens < range.end; ++page) {
      KvPageOf("Attention", kind, sequence, page * kPageTokens);
    }
  }

  if (timer.running()) {
    const bool tiles = ctx.kernels().attention_block.level == CpuLevel::kAmx &&
                       AttentionInTiles(cache.dtype, cache.head_dim);
    timer.Add(WorkOf(cache, plan, kind, heads), tiles ? DType::kBF16 : DType::kF32);
  }
  const std::int64_t group = heads / cache.kv_heads;
  Job job{ctx,
          q,
          cache,
          plan,
          kind,
          out,
          k_weight,
          group,
          RoundUp(cache.head_dim, 16),
          std::min(TileRows(group), rows) * group,
          MakeLayout(rows, heads, group, cache.head_dim, ctx.pool().threads()),
          nullptr};
  job.scratch = ctx.Scratch(job.layout.bytes);
  auto* tiles = reinterpret_cast<std::int32_t*>(job.scratch + job.layout.tiles);
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const bool joins = row > 0 && row - tiles[count - 1] < TileRows(group) &&
                       plan.sequences[static_cast<std::size_t>(row)] ==
                           plan.sequences[static_cast<std::size_t>(row - 1)];
    if (!joins) tiles[count++] = static_cast<std::int32_t>(row);
  }
  tiles[count] = static_cast<std::int32_t>(rows);
  // Little work costs less than waking a thread.
  const bool alone = keys * heads * cache.head_dim < kParallelElements;
  if (alone || count * cache.kv_heads >= ctx.pool().threads()) {
    RunWholeTiles(job, count * cache.kv_heads, alone);
  } else {
    RunSplitTiles(job, count * cache.kv_heads);
  }
}

std::size_t AttentionScratchBytes(std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
                                  std::int64_t max_positions, int threads) {
  (void)max_positions;  // blocks are joined a wave at a time, so that long contexts need no more
  // The number of kv heads is not known here, and padding to whole tiles makes the need rise and
  // fall with the group: the largest over all groups.
  std::size_t most = 0;
  for (std::int64_t group = 1; group <= heads; ++group) {
    if (heads % group == 0) {
      most = std::max(most, MakeLayout(rows, heads, group, head_dim, threads).bytes);
    }
  }
  return most;
}

}  // namespace culet
