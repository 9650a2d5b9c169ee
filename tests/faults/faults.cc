#include "faults/faults.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>
#include <random>
#include <system_error>

namespace culet::faults {
namespace {

std::atomic<int> armed{-1};  // a Call
std::atomic<std::uint64_t> made{0};
std::uint64_t failing = 0;
bool all_after = false;
std::atomic<bool> forbid_weights{false};
std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> mapped{0};

// Counts a call; true where it is to fail.
bool Fails(Call call) {
  if (armed.load(std::memory_order_relaxed) != static_cast<int>(call)) return false;
  const std::uint64_t number = ++made;
  return all_after ? number >= failing : number == failing;
}

int Failure(int error_number) {
  errno = error_number;
  return -1;
}

void HideWeights(void* memory, std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  std::uint64_t header = 0;
  if (bytes <= sizeof header) return;
  std::memcpy(&header, memory, sizeof header);
  if (header >= bytes) return;  // another kind of file
  const std::size_t start = (sizeof header + header + kPage - 1) / kPage * kPage;
  if (start < bytes) ::mprotect(static_cast<char*>(memory) + start, bytes - start, PROT_NONE);
}

}  // namespace

const char* CallName(Call call) {
  constexpr const char* kNames[] = {
      "operator new", "open",  "fstat",       "read",  "short read", "EINTR",  "mmap",
      "mkostemp",     "write", "short write", "fsync", "close",      "rename", "thread start"};
  return kNames[static_cast<int>(call)];
}

void ForbidWeights(bool forbidden) { forbid_weights = forbidden; }

void Arm(Call call, std::uint64_t n, bool and_all_after) {
  failing = n;
  all_after = and_all_after;
  made = 0;
  armed = static_cast<int>(call);
}

std::uint64_t Disarm() {
  armed = -1;
  return made;
}

Held HeldNow() {
  Held held;
  // Before the folder is read, which allocates. Less optimised code of the sanitizers' builds takes
  // memory inside the standard library, where it is not counted, and frees it here; they look for
  // leaks in their own way.
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
  held.allocations = allocations;
#endif
  held.mapped_bytes = mapped;
  std::error_code ignored;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", ignored), end; entry != end;
       entry.increment(ignored)) {
    ++held.descriptors;
  }
  return held;
}

std::string ToText(const Held& held) {
  return std::to_string(held.allocations) + " allocations, " + std::to_string(held.mapped_bytes) +
         " mapped bytes, " + std::to_string(held.descriptors) + " descriptors";
}

std::vector<std::uint64_t> Numbers(std::uint64_t total, std::uint64_t first, std::uint64_t sample) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t n = 1; n <= std::min(total, first); ++n) numbers.push_back(n);
  if (total <= first) return numbers;
  std::mt19937_64 random(total);
  for (std::uint64_t i = 0; i < sample; ++i) {
    numbers.push_back(first + 1 + random() % (total - first));
  }
  return numbers;
}

}  // namespace culet::faults

using culet::faults::Call;
using culet::faults::Fails;
using culet::faults::Failure;

extern "C" {

int __real_open(const char* path, int flags, mode_t mode);
int __wrap_open(const char* path, int flags, ...) {
  if (Fails(Call::kOpen)) return Failure(EMFILE);
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  return __real_open(path, flags, mode);
}

int __real_fstat(int descriptor, struct stat* status);
int __wrap_fstat(int descriptor, struct stat* status) {
  return Fails(Call::kStat) ? Failure(EIO) : __real_fstat(descriptor, status);
}

ssize_t __real_read(int descriptor, void* buffer, std::size_t bytes);
ssize_t __wrap_read(int descriptor, void* buffer, std::size_t bytes) {
  if (Fails(Call::kRead)) return Failure(EIO);
  if (Fails(Call::kInterrupt)) return Failure(EINTR);
  if (Fails(Call::kReadSome)) bytes = std::min<std::size_t>(bytes, 1);
  return __real_read(descriptor, buffer, bytes);
}

ssize_t __real_write(int descriptor, const void* buffer, std::size_t bytes);
ssize_t __wrap_write(int descriptor, const void* buffer, std::size_t bytes) {
  if (Fails(Call::kWrite)) return Failure(ENOSPC);
  if (Fails(Call::kInterrupt)) return Failure(EINTR);
  if (Fails(Call::kWriteSome)) bytes = std::min<std::size_t>(bytes, 1);
  return __real_write(descriptor, buffer, bytes);
}

void* __real_mmap(void* at, std::size_t bytes, int rights, int flags, int file, off_t offset);
void* __wrap_mmap(void* at, std::size_t bytes, int rights, int flags, int file, off_t offset) {
  if (Fails(Call::kMap)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void* const memory = __real_mmap(at, bytes, rights, flags, file, offset);
  if (memory == MAP_FAILED) return memory;
  culet::faults::mapped += static_cast<std::int64_t>(bytes);
  if (culet::faults::forbid_weights && file >= 0) culet::faults::HideWeights(memory, bytes);
  return memory;
}

int __real_munmap(void* at, std::size_t bytes);
int __wrap_munmap(void* at, std::size_t bytes) {
  culet::faults::mapped -= static_cast<std::int64_t>(bytes);
  return __real_munmap(at, bytes);
}

int __real_mkostemp(char* name, int flags);
int __wrap_mkostemp(char* name, int flags) {
  return Fails(Call::kCreate) ? Failure(EACCES) : __real_mkostemp(name, flags);
}

int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor) {
  return Fails(Call::kSync) ? Failure(EIO) : __real_fsync(descriptor);
}

int __real_close(int descriptor);
int __wrap_close(int descriptor) {
  const int result = __real_close(descriptor);
  return Fails(Call::kClose) ? Failure(EIO) : result;
}

int __real_rename(const char* from, const char* to);
int __wrap_rename(const char* from, const char* to) {
  return Fails(Call::kRename) ? Failure(EACCES) : __real_rename(from, to);
}

// std::thread::_M_start_thread(std::unique_ptr<std::thread::_State>, void (*)()).
#define CULET_START_THREAD \
  _ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE
#define CULET_JOIN(a, b) a##b
#define CULET_NAMED(a, b) CULET_JOIN(a, b)
void CULET_NAMED(__real_, CULET_START_THREAD)(void* thread, void* state, void (*depend)());
void CULET_NAMED(__wrap_, CULET_START_THREAD)(void* thread, void* state, void (*depend)()) {
  if (Fails(Call::kThread)) {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  }
  CULET_NAMED(__real_, CULET_START_THREAD)(thread, state, depend);
}

}  // extern "C"

namespace {

void* Allocate(std::size_t bytes, std::size_t alignment) {
  if (Fails(Call::kNew)) throw std::bad_alloc();
  void* memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(std::max<std::size_t>(bytes, 1))
          : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  ++culet::faults::allocations;
  return memory;
}

void Free(void* memory) noexcept {
  if (memory == nullptr) return;
  --culet::faults::allocations;
  std::free(memory);
}

}  // namespace

// The array and the nothrow forms of the library call these.
void* operator new(std::size_t bytes) { return Allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return Allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes) { return Allocate(bytes, 1); }
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete(void* memory, std::size_t) noexcept { Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { Free(memory); }
void operator delete[](void* memory) noexcept { Free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { Free(memory); }
