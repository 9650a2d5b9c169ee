#include "base/error.h"

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace culet {

std::string_view ErrorKindName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return "invalid argument";
    case ErrorKind::kNotFound: return "not found";
    case ErrorKind::kCorrupt: return "corrupt";
    case ErrorKind::kUnsupported: return "unsupported";
    case ErrorKind::kResource: return "out of resources";
    case ErrorKind::kIo: return "input/output";
    case ErrorKind::kInternal: return "internal";
  }
  return "internal";
}

std::string ErrnoText(int error_number) {
  return std::error_code(error_number, std::generic_category()).message();
}

void DcheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "culet: internal check failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace culet
