// A hash and a random generator that give the same numbers on every machine. Neither is for
// secrets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace culet {

// FNV-1a, 64 bits.
inline std::uint64_t HashBytes(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte byte : bytes) {
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  return hash;
}

// SplitMix64 (Steele, Lea, Flood 2014): any seed serves, every seed gives a full period, and the
// state is one word.
inline std::uint64_t NextRandom(std::uint64_t* state) {
  std::uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

// In [0, 1), from the 53 upper bits: as many as a double holds.
inline double UnitInterval(std::uint64_t random) {
  return static_cast<double>(random >> 11) * 0x1p-53;
}

}  // namespace culet
