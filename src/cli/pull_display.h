// A pull as a person sees it: what is about to happen, progress, and how to go on after Ctrl-C.
#pragma once

#include <string>

#include "culet/hub.h"

namespace culet::cli {

// Pulls with progress on standard error: one line drawn over and over on a terminal, in a pipe one
// line a file. `ask`: where a person sits at the terminal, the question comes first. Throws
// Interrupted where that said no, or for Ctrl-C.
PulledModel PullShown(const std::string& name, bool offline, bool ask, int connections = 0);

// A yes-or-no question on the terminal; Enter alone means `otherwise`. Throws Interrupted for
// Ctrl-C and for the end of the input.
bool AskYesNo(const std::string& question, bool otherwise);

}  // namespace culet::cli
