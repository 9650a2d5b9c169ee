// What every fuzz target shares: the entry that libFuzzer calls, and checks of what must hold.
//
// A target is one file TARGET_fuzz.cc that defines FuzzOne. It is built twice: with libFuzzer (the
// preset `fuzz`), and with replay_main.cc by any compiler, to run over tests/fuzz/corpus/TARGET.
// Whatever FuzzOne lets out as an exception counts as a crash: hostile input may cause a
// culet::Error and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace culet::fuzz {

void FuzzOne(std::string_view input);

// Stops with what did not hold.
inline void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: this must hold: %s\n", what);
  std::abort();
}

// Takes the first byte of the input, for choices that are not part of the text.
inline unsigned TakeByte(std::string_view* input) {
  if (input->empty()) return 0;
  const unsigned byte = static_cast<unsigned char>(input->front());
  input->remove_prefix(1);
  return byte;
}

}  // namespace culet::fuzz
