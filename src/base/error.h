// The one family of errors, and checks of our own logic.
//
// Below the front ends nothing prints and nothing exits: what a file, a user or the network can
// cause throws Error (culet/error.h); what only a bug of ours can cause is CULET_DCHECK. See
// docs/architecture.md, decision 12.
#pragma once

#include <string>

#include "culet/error.h"

namespace culet {

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
