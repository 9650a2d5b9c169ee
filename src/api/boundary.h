// The edge of the public interface: what is seen from outside, and one family of errors to know.
#pragma once

// For what lies inside an exported class and is none of its users' business.
#define CULET_HIDDEN __attribute__((visibility("hidden")))

namespace culet {

// For the catch (...) of a public function. Throws the present exception on, but where memory or
// threads ran out, in its place Error(kResource). What a caller's own callback threw goes through.
[[noreturn]] void RethrowAsError();

// Sets aside what RethrowAsError throws where memory ran out: there may be none for it then.
void ReserveErrors();

}  // namespace culet
