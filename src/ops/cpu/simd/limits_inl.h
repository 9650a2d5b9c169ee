// What machine_limits.cc measures with: reading, and multiply-adds in registers. After vec_inl.h.

inline std::uint64_t ReadStream(const std::byte* data, std::size_t bytes) {
  constexpr std::size_t kBytes = kLanes * sizeof(float);
  const std::size_t share = bytes / 4 / (2 * kBytes) * (2 * kBytes);  // of each stream
  F32 sums[8];
  for (F32& sum : sums) sum = Zero();
  for (std::size_t at = 0; at < share; at += 2 * kBytes) {
    for (std::size_t stream = 0; stream < 4; ++stream) {
      const auto* p = reinterpret_cast<const float*>(data + stream * share + at);
      // The largest is as cheap as anything and safe on any bits; its value is of no interest.
      sums[2 * stream] = Max(sums[2 * stream], Load(p));
      sums[2 * stream + 1] = Max(sums[2 * stream + 1], Load(p + kLanes));
    }
  }
  F32 sum = Zero();
  for (const F32& part : sums) sum = Max(sum, part);
  return static_cast<std::uint64_t>(ReduceMax(sum) != 0.0f);
}

// Twelve independent chains: more than a multiply-add's latency times its rate on any CPU so far
// (8), fewer than the registers. By name, as g++ keeps an array of them in memory.
inline constexpr int kPeakChains = 12;

// Step::Do(sum) is one multiply-add of a Step::Vector; Start makes one of a number, Sum adds two,
// Value makes a number again.
template <typename Step>
float Peak(std::int64_t steps) {
  using Vector = typename Step::Vector;
  // All different, or the compiler makes one chain of them.
  Vector a = Step::Start(1), b = Step::Start(2), c = Step::Start(3), d = Step::Start(4);
  Vector e = Step::Start(5), f = Step::Start(6), g = Step::Start(7), h = Step::Start(8);
  Vector i = Step::Start(9), j = Step::Start(10), k = Step::Start(11), l = Step::Start(12);
  for (std::int64_t step = 0; step < steps; ++step) {
    a = Step::Do(a), b = Step::Do(b), c = Step::Do(c), d = Step::Do(d);
    e = Step::Do(e), f = Step::Do(f), g = Step::Do(g), h = Step::Do(h);
    i = Step::Do(i), j = Step::Do(j), k = Step::Do(k), l = Step::Do(l);
  }
  const Vector first = Step::Sum(Step::Sum(Step::Sum(a, b), Step::Sum(c, d)), Step::Sum(e, f));
  const Vector second = Step::Sum(Step::Sum(Step::Sum(g, h), Step::Sum(i, j)), Step::Sum(k, l));
  return Step::Value(Step::Sum(first, second));
}

struct F32Steps {
  using Vector = F32;
  static CULET_INLINE F32 Start(int number) { return Set(static_cast<float>(number)); }
  static CULET_INLINE F32 Sum(F32 a, F32 b) { return Add(a, b); }
  static CULET_INLINE float Value(F32 a) { return ReduceAdd(a); }
};
struct F32Step : F32Steps {
  // 1 is where s ← s/2 + 1/2 ends.
  static CULET_INLINE F32 Do(F32 sum) { return Fma(sum, Set(0.5f), Set(0.5f)); }
};
