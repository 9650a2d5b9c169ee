// How the command ends. docs/commands.md lists these.
#pragma once

#include "culet/error.h"

namespace culet::cli {

inline constexpr int kExitInternal = 1;
inline constexpr int kExitUsage = 2;  // also everything that was asked for and cannot be
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitCorrupt = 4;
inline constexpr int kExitUnsupported = 5;
inline constexpr int kExitResource = 6;
inline constexpr int kExitIo = 7;
inline constexpr int kExitInterrupted = 130;  // as a shell shows SIGINT
inline constexpr int kExitClosedPipe = 141;   // as a shell shows SIGPIPE

int ExitCodeOf(ErrorKind kind);

}  // namespace culet::cli
