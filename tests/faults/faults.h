// Makes the n-th system call, allocation or thread start of this program fail, beneath everything
// that culet does: the linker sends the calls of our own code here (--wrap), and operator new is
// replaced. What libraries call among themselves is not touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace culet::faults {

enum class Call {
  kNew,        // operator new
  kOpen,       // open
  kStat,       // fstat
  kRead,       // read: fails
  kReadSome,   // read: gives one byte; no failure, it must not matter
  kInterrupt,  // read and write: EINTR once; no failure either
  kMap,        // mmap, of a file or of memory
  kCreate,     // mkostemp
  kWrite,      // write: the disk is full
  kWriteSome,  // write: takes one byte; no failure
  kSync,       // fsync
  kClose,      // close: done, but reports a failure
  kRename,     // rename
  kThread,     // a thread is started
};
const char* CallName(Call call);

// The n-th (from 1) `call` fails from now on; with `and_all_after` every later one does, too.
void Arm(Call call, std::uint64_t n, bool and_all_after = false);
// Returns how often `call` was made since Arm.
std::uint64_t Disarm();

// While true, the data of a .safetensors file that is mapped cannot be read, from the first page
// boundary behind the header on: a look at a weight ends the program.
void ForbidWeights(bool forbidden);

// What is held now: allocations, mapped bytes and open descriptors.
struct Held {
  std::int64_t allocations = 0;
  std::int64_t mapped_bytes = 0;
  std::int64_t descriptors = 0;
  bool operator==(const Held&) const = default;
};
Held HeldNow();
std::string ToText(const Held& held);

// 1 … `first`, then `sample` more of what is left up to `total`, the same for the same numbers.
std::vector<std::uint64_t> Numbers(std::uint64_t total, std::uint64_t first, std::uint64_t sample);

}  // namespace culet::faults
