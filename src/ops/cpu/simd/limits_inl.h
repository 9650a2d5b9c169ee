// What machine_limits.cc measures with: reading, and multiply-adds in registers. After vec_inl.h.

inline std::uint64_t ReadStream(const std::byte* data, std::size_t bytes) {
  constexpr std::size_t kBytes = kLanes * sizeof(float);
  const std::size_t share = bytes / 4 / (2 * kBytes) * (2 * kBytes);  // of each stream
  F32 sums[8];
  for (F32& sum : sums) sum = Zero();
  for (std::size_t at = 0; at < share; at += 2 * kBytes) {
    for (std::size_t stream = 0; stream < 4; ++stream) {
      const auto* p = reinterpret_cast<const float*>(data + stream * share + at);
      // Xor-like cheap and safe on any bits: the value is of no interest.
      sums[2 * stream] = Max(sums[2 * stream], Load(p));
      sums[2 * stream + 1] = Max(sums[2 * stream + 1], Load(p + kLanes));
    }
  }
  F32 sum = Zero();
  for (const F32& part : sums) sum = Max(sum, part);
  return static_cast<std::uint64_t>(ReduceMax(sum) != 0.0f);
}

// Independent chains: enough to hide the latency of a multiply-add, few enough for the registers.
inline constexpr int kPeakChains = 3 * kTileRows + 2;

inline float PeakF32(std::int64_t steps) {
  F32 chains[kPeakChains];
  for (F32& chain : chains) chain = Zero();
  const F32 factor = Set(0.5f);
  for (std::int64_t step = 0; step < steps; ++step) {
    for (F32& chain : chains) chain = Fma(chain, factor, factor);
  }
  F32 sum = Zero();
  for (const F32& chain : chains) sum = Add(sum, chain);
  return ReduceAdd(sum);
}
