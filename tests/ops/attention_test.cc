// If this fails, rows look at wrong keys, or a row's result depends on chunking, batch or threads.
#include "ops/attention.h"

#include <algorithm>

#include "bounds.h"
#include "ops/cpu/kernels.h"
#include "ops/testing.h"

namespace culet {
namespace {

class AttentionTest : public OnEveryLevel {};
CULET_ON_EVERY_LEVEL(AttentionTest);

constexpr std::int32_t kNoPage = -1;

// A cache with pages in random order, some of them given back, and a batch over it.
struct Scene {
  DType dtype = DType::kF32;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 16;
  std::int64_t sequences = 1;
  std::int64_t table_stride = 0;
  std::vector<std::int32_t> tables;
  std::vector<std::byte> k_bytes, v_bytes;
  std::int64_t turning = 0;     // where K and V lie in one row
  std::vector<float> k_weight;  // then
  std::vector<std::int32_t> positions, sequence_of;
  std::vector<KeyRange> visible;
  std::vector<float> q;

  KvLayer layer() {
    return {dtype,  turning > 0 ? nullptr : k_bytes.data(), v_bytes.data(), kv_heads, head_dim,
            turning};
  }
  std::int64_t rows() const { return static_cast<std::int64_t>(positions.size()); }
  BatchPlan plan() const {
    BatchPlan plan;
    plan.rows = rows();
    plan.positions = positions;
    plan.sequences = sequence_of;
    plan.kinds[1].visible = visible;
    plan.kinds[1].page_tables = tables;
    plan.kinds[1].table_stride = table_stride;
    return plan;
  }
  float At(const std::vector<std::byte>& bytes, std::int64_t sequence, std::int64_t position,
           std::int64_t head, std::int64_t i) const {
    const std::int64_t page =
        tables[static_cast<std::size_t>(sequence * table_stride + position / kPageTokens)];
    const std::byte* row =
        bytes.data() + ((page * kv_heads + head) * kPageTokens + position % kPageTokens) *
                           KvRowBytes(dtype, head_dim);
    if (dtype == DType::kI8) {
      return static_cast<float>(static_cast<std::int8_t>(row[i])) * KvScale(row, head_dim, i);
    }
    if (dtype == DType::kF32) {
      float value = 0;
      std::memcpy(&value, row + 4 * i, 4);
      return value;
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, row + 2 * i, 2);
    return Bf16ToF32(bits);
  }
};

// Pages for `length` positions a sequence; those wholly before `kept_from` are given back. Slots
// that nobody wrote hold NaN.
void MakeCache(Scene& scene, Random& random, std::int64_t length, std::int64_t kept_from) {
  scene.table_stride = (length + kPageTokens - 1) / kPageTokens + 1;
  std::vector<std::int32_t> free;
  for (std::int32_t page = 0; page < scene.sequences * scene.table_stride + 3; ++page) {
    free.push_back(page);
  }
  for (std::size_t i = free.size(); i > 1; --i) {
    std::swap(free[i - 1],
              free[static_cast<std::size_t>(random.Below(static_cast<std::int64_t>(i)))]);
  }
  // NaN in every format: of int8 rows, the scales are.
  scene.k_bytes.assign(free.size() * scene.layer().page_bytes(), std::byte{0xff});
  scene.v_bytes = scene.k_bytes;
  scene.tables.assign(static_cast<std::size_t>(scene.sequences * scene.table_stride), kNoPage);
  std::size_t next = 0;
  for (std::int64_t s = 0; s < scene.sequences; ++s) {
    for (std::int64_t page = kept_from / kPageTokens; page * kPageTokens < length; ++page) {
      scene.tables[static_cast<std::size_t>(s * scene.table_stride + page)] = free[next++];
    }
  }
}

// Appends random K and V at positions [from, length) of every sequence, through the op itself.
void FillCache(Context& ctx, Scene& scene, Random& random, std::int64_t from, std::int64_t length) {
  Scene writer = scene;
  writer.positions.clear();
  writer.sequence_of.clear();
  for (std::int64_t s = 0; s < scene.sequences; ++s) {
    for (std::int64_t p = from; p < length; ++p) {
      writer.positions.push_back(static_cast<std::int32_t>(p));
      writer.sequence_of.push_back(static_cast<std::int32_t>(s));
    }
  }
  const std::int64_t rows = writer.rows();
  const std::vector<float> k = RandomFloats(random, rows * scene.kv_heads * scene.head_dim);
  const std::vector<float> v = RandomFloats(random, rows * scene.kv_heads * scene.head_dim);
  const View<const float, 3>::Extents extents = {rows, scene.kv_heads, scene.head_dim};
  AppendKv(ctx, {k.data(), extents}, {v.data(), extents}, scene.layer(), writer.plan(), 1);
}

std::vector<float> RunAttention(Context& ctx, Scene& scene) {
  // Heads with gaps between rows, guarded.
  Guarded out(scene.rows(), scene.heads * scene.head_dim, 5);
  const View<float, 2> rows = out.view();
  const View<float, 3> view(rows.data(), {scene.rows(), scene.heads, scene.head_dim},
                            {rows.stride(0), scene.head_dim, 1});
  const View<const float, 3> q(scene.q.data(), {scene.rows(), scene.heads, scene.head_dim});
  Attention(ctx, q, scene.layer(), scene.plan(), 1, view, scene.k_weight);
  return out.Dense();
}

// `extra`: roundings of each addend of a score besides those of its sum.
void CheckAgainstFormula(Scene& scene, const std::vector<float>& out, const std::string& what,
                         CpuLevel level, std::int64_t extra = 0) {
  const double split = AttentionSplit(level, scene.dtype, scene.head_dim);
  const std::int64_t group = scene.heads / scene.kv_heads;
  for (std::int64_t r = 0; r < scene.rows(); ++r) {
    const KeyRange range = scene.visible[static_cast<std::size_t>(r)];
    const std::int64_t s = scene.sequence_of[static_cast<std::size_t>(r)];
    for (std::int64_t h = 0; h < scene.heads; ++h) {
      const float* q = scene.q.data() + (r * scene.heads + h) * scene.head_dim;
      std::vector<double> weights;
      double max = -1e300;
      double score_abs = 0;
      for (std::int64_t p = range.begin; p < range.end; ++p) {
        double score = 0;
        double abs = 0;
        for (std::int64_t i = 0; i < scene.head_dim; ++i) {
          const double product =
              static_cast<double>(q[i]) * scene.At(scene.k_bytes, s, p, h / group, i);
          score += product;
          abs += std::fabs(product);
        }
        weights.push_back(score);
        max = std::max(max, score);
        score_abs = std::max(score_abs, abs);
      }
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - max);
      for (std::int64_t i = 0; i < scene.head_dim; ++i) {
        double value = 0;
        double max_v = 0;
        for (std::int64_t p = range.begin; p < range.end; ++p) {
          const double v = scene.At(scene.v_bytes, s, p, h / group, i);
          value += weights[static_cast<std::size_t>(p - range.begin)] / sum * v;
          max_v = std::max(max_v, std::fabs(v));
        }
        ASSERT_NEAR(out[static_cast<std::size_t>((r * scene.heads + h) * scene.head_dim + i)],
                    value,
                    AttentionBound(range.end - range.begin, scene.head_dim + 8 * extra, score_abs,
                                   max_v, split))
            << what << ": row " << r << " head " << h << " dim " << i << " keys [" << range.begin
            << ", " << range.end << "), seed " << TestSeed();
      }
    }
  }
}

// A random batch: runs of rows of several sequences, windows, pages given back.
Scene RandomScene(Context& ctx, Random& random) {
  static constexpr std::int64_t kHeads[][2] = {{1, 1}, {8, 1},  {4, 2}, {6, 2},
                                               {8, 8}, {16, 2}, {3, 1}};
  static constexpr std::int64_t kDims[] = {2, 6, 8, 12, 16, 20, 24, 32, 34, 40, 48, 64, 128, 256};
  Scene scene;
  const auto& heads = kHeads[random.Below(7)];
  scene.heads = heads[0];
  scene.kv_heads = heads[1];
  scene.head_dim = kDims[random.Below(14)];
  static constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kI8};
  scene.dtype = kTypes[random.Below(3)];
  scene.sequences = 1 + random.Below(3);
  static constexpr std::int64_t kLengths[] = {1, 5, 63, 64, 65, 200, 255, 256, 257, 300, 513, 700};
  const std::int64_t length = kLengths[random.Below(12)];
  const std::int64_t rows_each = 1 + random.Below(std::min<std::int64_t>(length, 20));
  const std::int64_t window = random.Below(2) == 0 ? length : 1 + random.Below(length);
  const std::int64_t first_seen = std::max<std::int64_t>(0, length - rows_each - window + 1);
  MakeCache(scene, random, length, first_seen);
  FillCache(ctx, scene, random, first_seen / kPageTokens * kPageTokens, length);
  const bool interleave = random.Below(3) == 0;
  const std::int64_t total = scene.sequences * rows_each;
  for (std::int64_t i = 0; i < total; ++i) {
    const std::int64_t s = interleave ? i % scene.sequences : i / rows_each;
    const std::int64_t p = length - rows_each + (interleave ? i / scene.sequences : i % rows_each);
    scene.sequence_of.push_back(static_cast<std::int32_t>(s));
    scene.positions.push_back(static_cast<std::int32_t>(p));
    scene.visible.push_back({static_cast<std::int32_t>(std::max<std::int64_t>(0, p - window + 1)),
                             static_cast<std::int32_t>(p + 1)});
  }
  scene.q = RandomFloats(random, total * scene.heads * scene.head_dim);
  // Sharp rows too: scores of ± 30 and more.
  if (random.Below(2) == 0) {
    for (float& value : scene.q) value *= 16.0f / std::sqrt(static_cast<float>(scene.head_dim));
  }
  return scene;
}

TEST_P(AttentionTest, EqualsTheFormulaOnRandomBatchesWithWindowsAndPagesGivenBack) {
  Random random(11);
  const int scenes = GetParam() == CpuLevel::kPlain ? 60 : 150;
  for (int index = 0; index < scenes; ++index) {
    Scene scene = RandomScene(ctx(), random);
    CheckAgainstFormula(scene, RunAttention(ctx(), scene), "scene " + std::to_string(index),
                        GetParam());
    if (testing::Test::HasFatalFailure()) return;
  }
}

// One row of a scene as a batch of its own.
Scene OnlyRow(const Scene& scene, std::int64_t row) {
  Scene one = scene;
  const auto index = static_cast<std::size_t>(row);
  one.positions = {scene.positions[index]};
  one.sequence_of = {scene.sequence_of[index]};
  one.visible = {scene.visible[index]};
  const auto begin = scene.q.begin() + row * scene.heads * scene.head_dim;
  one.q.assign(begin, begin + scene.heads * scene.head_dim);
  return one;
}

TEST_P(AttentionTest, ARowAloneEqualsItselfInAnyBatchBitForBitOnOneAndTwoThreads) {
  Random random(12);
  const int scenes = GetParam() == CpuLevel::kPlain ? 12 : 40;
  for (int index = 0; index < scenes; ++index) {
    Scene scene = RandomScene(ctx(), random);
    const std::vector<float> together = RunAttention(ctx(), scene);
    ASSERT_TRUE(SameBits(RunAttention(two_threads(), scene), together))
        << "threads, scene " << index << ", seed " << TestSeed();
    std::vector<float> alone, alone_two;
    for (std::int64_t row = 0; row < scene.rows(); ++row) {
      Scene one = OnlyRow(scene, row);
      const std::vector<float> out = RunAttention(ctx(), one);
      alone.insert(alone.end(), out.begin(), out.end());
      const std::vector<float> out_two = RunAttention(two_threads(), one);
      alone_two.insert(alone_two.end(), out_two.begin(), out_two.end());
    }
    ASSERT_TRUE(SameBits(alone, together)) << "batch, scene " << index << ", seed " << TestSeed();
    ASSERT_TRUE(SameBits(alone_two, together))
        << "split, scene " << index << ", seed " << TestSeed();
  }
}

TEST_P(AttentionTest, LongContextSplitOverThreadsEqualsOneThreadBitForBit) {
  Random random(13);
  for (const auto& [head_dim, dtype] :
       {std::pair<std::int64_t, DType>{64, DType::kBF16}, {512, DType::kBF16}, {512, DType::kI8}}) {
    Scene scene;
    scene.heads = 8;
    scene.kv_heads = 1;
    scene.head_dim = head_dim;
    scene.dtype = dtype;
    const std::int64_t length = 6000;  // 24 blocks: more than one wave
    MakeCache(scene, random, length, 0);
    FillCache(ctx(), scene, random, 0, length);
    scene.positions = {static_cast<std::int32_t>(length - 1)};
    scene.sequence_of = {0};
    scene.visible = {{0, static_cast<std::int32_t>(length)}};
    scene.q = RandomFloats(random, scene.heads * head_dim);
    const std::vector<float> one = RunAttention(ctx(), scene);
    EXPECT_TRUE(SameBits(RunAttention(two_threads(), scene), one));
    CheckAgainstFormula(scene, one, "long", GetParam());
  }
}

// Few keys: the queries of a head go to several threads, of which the last may get none.
TEST_P(AttentionTest, QueriesSplitOverManyThreadsEqualOneThreadBitForBit) {
  Random random(14);
  Context six_threads(6, GetParam());
  for (const std::int64_t queries : {8, 25}) {
    for (const std::int64_t length : {200, 300, 700}) {
      Scene scene;
      scene.heads = queries;
      scene.kv_heads = 1;
      scene.head_dim = 256;
      scene.dtype = DType::kBF16;
      MakeCache(scene, random, length, 0);
      FillCache(ctx(), scene, random, 0, length);
      scene.positions = {static_cast<std::int32_t>(length - 1)};
      scene.sequence_of = {0};
      scene.visible = {{0, static_cast<std::int32_t>(length)}};
      scene.q = RandomFloats(random, queries * scene.head_dim);
      EXPECT_TRUE(SameBits(RunAttention(six_threads, scene), RunAttention(ctx(), scene)))
          << queries << " queries, " << length << " keys";
    }
  }
}

// As a cache of two rows would have it: k = v ⊙ w where it rests.
void CheckOneRow(Context& ctx, Context& two_threads, Random& random, std::int64_t head_dim,
                 std::int64_t turning, DType dtype) {
  SCOPED_TRACE("head_dim " + std::to_string(head_dim) + " turning " + std::to_string(turning) +
               " " + std::string(DTypeName(dtype)));
  Scene scene;
  scene.heads = 6;
  scene.kv_heads = 2;
  scene.head_dim = head_dim;
  scene.dtype = dtype;
  scene.turning = turning;
  scene.k_weight = RandomFloats(random, head_dim);
  const std::int64_t length = 330;
  MakeCache(scene, random, length, 0);
  Scene whole = scene;  // the formula's: K and V apart, in f32, with what the cache holds
  whole.dtype = DType::kF32;
  whole.turning = 0;
  MakeCache(whole, random, length, 0);
  const View<const float, 3>::Extents extents = {length, scene.kv_heads, head_dim};
  std::vector<float> v = RandomFloats(random, length * scene.kv_heads * head_dim);
  std::vector<float> k = RandomFloats(random, length * scene.kv_heads * head_dim);
  const auto turns = [&](std::int64_t i) { return i % (head_dim / 2) < turning / 2; };
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(k.size()); ++i) {
    const std::int64_t dim = i % head_dim;
    const auto at = static_cast<std::size_t>(i);
    // Values that every format holds as they are (a group's largest is 127).
    v[at] = dim % 32 == 0 ? 127.0f : std::nearbyint(v[at] * 20);
    k[at] = !turns(dim)     ? v[at] * scene.k_weight[static_cast<std::size_t>(dim)]
            : dim % 32 == 0 ? 127.0f
                            : std::nearbyint(k[at] * 20);
  }
  for (Scene* each : {&scene, &whole}) {
    Scene writer = *each;
    for (std::int64_t p = 0; p < length; ++p) {
      writer.positions.push_back(static_cast<std::int32_t>(p));
      writer.sequence_of.push_back(0);
    }
    // The writer's own copy of the bytes is not the scene's.
    KvLayer layer = each->layer();
    AppendKv(ctx, {k.data(), extents}, {v.data(), extents}, layer, writer.plan(), 1);
    for (const std::int32_t p : {0, 63, 64, 200, 255, 256, 329}) {
      each->positions.push_back(p);
      each->sequence_of.push_back(0);
      each->visible.push_back({std::max(0, p - 270), p + 1});
    }
  }
  scene.q = RandomFloats(random, scene.rows() * scene.heads * head_dim);
  for (float& value : scene.q) value *= 0.05f / std::sqrt(static_cast<float>(head_dim));
  whole.q = scene.q;
  const std::vector<float> out = RunAttention(ctx, scene);
  // The weight meets q in one and the value in the other: a rounding each.
  CheckAgainstFormula(whole, out, "one row", ctx.kernels().level, 2);
  EXPECT_TRUE(SameBits(RunAttention(two_threads, scene), out));
  std::vector<float> alone;
  for (std::int64_t row = 0; row < scene.rows(); ++row) {
    Scene one = OnlyRow(scene, row);
    const std::vector<float> result = RunAttention(two_threads, one);
    alone.insert(alone.end(), result.begin(), result.end());
  }
  EXPECT_TRUE(SameBits(alone, out));
}

TEST_P(AttentionTest, KeysAndValuesInOneRowEqualThoseInTwo) {
  Random random(18);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    CheckOneRow(ctx(), two_threads(), random, 512, 128, dtype);
    CheckOneRow(ctx(), two_threads(), random, 256, 64, dtype);
    if (dtype == DType::kI8) continue;
    CheckOneRow(ctx(), two_threads(), random, 32, 8, dtype);
    CheckOneRow(ctx(), two_threads(), random, 20, 2, dtype);
  }
}

TEST_P(AttentionTest, RowsThatLookAheadInABlockOfMediaAreServed) {
  Random random(14);
  Scene scene;
  scene.head_dim = 32;
  MakeCache(scene, random, 300, 0);
  FillCache(ctx(), scene, random, 0, 300);
  for (std::int32_t p = 250; p < 270; ++p) {
    scene.positions.push_back(p);
    scene.sequence_of.push_back(0);
    scene.visible.push_back({p - 200, p < 260 ? 260 : p + 1});
  }
  scene.q = RandomFloats(random, scene.rows() * scene.heads * scene.head_dim);
  CheckAgainstFormula(scene, RunAttention(ctx(), scene), "media", GetParam());
}

TEST_P(AttentionTest, AppendedKeysLieRoundedInThePagesThatTheTableNames) {
  Random random(15);
  Scene scene;
  scene.dtype = DType::kBF16;
  scene.head_dim = 6;
  MakeCache(scene, random, 70, 0);
  scene.positions = {0, 63, 64, 69};
  scene.sequence_of = {0, 0, 0, 0};
  const View<const float, 3>::Extents extents = {4, scene.kv_heads, scene.head_dim};
  const std::vector<float> k = RandomFloats(random, 4 * scene.kv_heads * scene.head_dim);
  const std::vector<float> v = RandomFloats(random, 4 * scene.kv_heads * scene.head_dim);
  AppendKv(ctx(), {k.data(), extents}, {v.data(), extents}, scene.layer(), scene.plan(), 1);
  int written = 0;
  for (const std::byte byte : scene.k_bytes) written += byte != std::byte{0xff};
  EXPECT_LE(written, 4 * scene.kv_heads * scene.head_dim * 2);
  for (std::int64_t r = 0; r < 4; ++r) {
    for (std::int64_t h = 0; h < scene.kv_heads; ++h) {
      for (std::int64_t i = 0; i < scene.head_dim; ++i) {
        const auto index = static_cast<std::size_t>((r * scene.kv_heads + h) * scene.head_dim + i);
        const std::int64_t p = scene.positions[static_cast<std::size_t>(r)];
        EXPECT_EQ(scene.At(scene.k_bytes, 0, p, h, i), RoundToBf16(k[index]));
        EXPECT_EQ(scene.At(scene.v_bytes, 0, p, h, i), RoundToBf16(v[index]));
      }
    }
  }
}

TEST_P(AttentionTest, NothingIsAllocatedOnceScratchIsReserved) {
  Random random(16);
  for (int index = 0; index < 20; ++index) {
    Scene scene = RandomScene(ctx(), random);
    Context fresh(2, GetParam());
    fresh.Scratch(AttentionScratchBytes(scene.rows(), scene.heads, scene.head_dim, 1000, 2));
    const std::size_t reserved = fresh.scratch_bytes();
    RunAttention(fresh, scene);
    EXPECT_EQ(fresh.scratch_bytes(), reserved);
  }
}

TEST(Attention, AVisiblePageThatWasGivenBackIsAnErrorNotGarbage) {
  Context ctx(1);
  Random random(17);
  Scene scene;
  MakeCache(scene, random, 200, 128);
  FillCache(ctx, scene, random, 128, 200);
  scene.positions = {199};
  scene.sequence_of = {0};
  scene.visible = {{100, 200}};
  scene.q = RandomFloats(random, scene.heads * scene.head_dim);
  try {
    RunAttention(ctx, scene);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    EXPECT_THAT(error.what(), testing::HasSubstr("position 64 of sequence 0 has no page"));
  }
}

}  // namespace
}  // namespace culet
