// Tokenizers for tests: the small ones of tests/text/data, the published one where CULET_FIXTURES
// says where it is, and random text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace culet {

inline std::filesystem::path DataFolder() {
  return std::filesystem::path(CULET_SOURCE_DIR) / "tests" / "text" / "data";
}

// "overlaps", "plain_spaces", "bare" or "no_underline": see tests/text/make_small_tokenizers.py.
inline std::filesystem::path SmallTokenizerPath(const std::string& name) {
  return DataFolder() / ("tokenizer_" + name + ".json");
}

inline Tokenizer SmallTokenizer(const std::string& name) {
  return Tokenizer::Load(FileSystem::Real(), SmallTokenizerPath(name));
}

inline std::string SmallTokenizerText(const std::string& name) {
  return FileSystem::Real().ReadFile(SmallTokenizerPath(name), 1 << 20);
}

// The published tokenizer of Gemma 4; nullptr where CULET_FIXTURES is not set. Unpacked and loaded
// once a program.
const Tokenizer* PublishedTokenizer();

// Says why a test does not run; use in a test's first lines.
#define CULET_NEED_PUBLISHED_TOKENIZER()                                                      \
  if (PublishedTokenizer() == nullptr) {                                                      \
    GTEST_SKIP() << "CULET_FIXTURES is not set: the published tokenizer.json is not at hand"; \
  }                                                                                           \
  static_assert(true)

// Seed of every random choice; CULET_TEST_SEED in the environment replaces it.
std::uint64_t TestSeed();

// `pieces` random ones of `alphabet`, joined.
inline std::string RandomText(std::mt19937_64* random, const std::vector<std::string>& alphabet,
                              int pieces) {
  std::string text;
  for (int i = 0; i < pieces; ++i) text += alphabet[(*random)() % alphabet.size()];
  return text;
}

}  // namespace culet
