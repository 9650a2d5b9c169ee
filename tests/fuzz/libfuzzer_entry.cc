#include "fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  culet::fuzz::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
