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

// Step::Do(sum) is one multiply-add of a vector.
template <typename Step>
float Peak(std::int64_t steps) {
  // All different, or the compiler makes one chain of them.
  F32 a = Set(1), b = Set(2), c = Set(3), d = Set(4), e = Set(5), f = Set(6);
  F32 g = Set(7), h = Set(8), i = Set(9), j = Set(10), k = Set(11), l = Set(12);
  for (std::int64_t step = 0; step < steps; ++step) {
    a = Step::Do(a), b = Step::Do(b), c = Step::Do(c), d = Step::Do(d);
    e = Step::Do(e), f = Step::Do(f), g = Step::Do(g), h = Step::Do(h);
    i = Step::Do(i), j = Step::Do(j), k = Step::Do(k), l = Step::Do(l);
  }
  const F32 first = Add(Add(Add(a, b), Add(c, d)), Add(e, f));
  const F32 second = Add(Add(Add(g, h), Add(i, j)), Add(k, l));
  return ReduceAdd(Add(first, second));
}

struct F32Step {
  // 1 is where s ← s/2 + 1/2 ends.
  static CULET_INLINE F32 Do(F32 sum) { return Fma(sum, Set(0.5f), Set(0.5f)); }
};
