#include "api/boundary.h"

#include <new>
#include <system_error>

#include "base/error.h"

namespace culet {
namespace {

const Error& OutOfMemory() {
  static const Error error(ErrorKind::kResource,
                           "memory ran out; a smaller context or chunk needs less");
  return error;
}

}  // namespace

void ReserveErrors() { OutOfMemory(); }

void RethrowAsError() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(OutOfMemory());
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) throw;
    throw Error(ErrorKind::kResource,
                "the system starts no more threads; fewer threads need less of it");
  }
}

}  // namespace culet
