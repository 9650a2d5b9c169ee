// The one family of errors. Below the front ends nothing prints and nothing exits: what a file, a
// user or the network can cause throws Error; what only a bug of ours can cause is CULET_DCHECK.
//
// A message names the place (file, field, tensor, option), what was found, what was expected and a
// way out. See docs/architecture.md, decision 12.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace culet {

// What a front end needs to know to choose an exit code or an HTTP status.
enum class ErrorKind {
  kInvalidArgument,  // the caller asked for something that cannot be: option, request, prompt
  kNotFound,         // a file, model or name that is not there
  kCorrupt,          // a file that lies, is cut off or does not fit its neighbours
  kUnsupported,      // well formed, but culet does not do it
  kResource,         // memory, disk, context or queue that does not suffice
  kIo,               // the system refused to read or write
  kInternal,         // our own fault
};

// "invalid argument", "not found", …
std::string_view ErrorKindName(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Text of errno value `error_number`, for messages ("No space left on device").
std::string ErrnoText(int error_number);

// Called by CULET_DCHECK; prints and aborts.
[[noreturn]] void DcheckFailed(const char* condition, const char* file, int line);

}  // namespace culet

// On in debug builds, under sanitizers and in tests; never reachable from input.
#ifdef CULET_DCHECKS
#define CULET_DCHECK(condition) \
  ((condition) ? (void)0 : ::culet::DcheckFailed(#condition, __FILE__, __LINE__))
#else
#define CULET_DCHECK(condition) ((void)0)
#endif
