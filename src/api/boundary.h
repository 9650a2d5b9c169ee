// The edge of the public interface: callers have one family of errors to know.
#pragma once

namespace culet {

// For the catch (...) of a public function. Throws the present exception on, but where memory or
// threads ran out, in its place Error(kResource). What a caller's own callback threw goes through.
[[noreturn]] void RethrowAsError();

// Sets aside what RethrowAsError throws where memory ran out: there may be none for it then.
void ReserveErrors();

}  // namespace culet
