// Errors of culet. Every function of the public interface that can fail throws culet::Error.
//
// A message names the place (file, field, tensor, option), what was found, what was expected and a
// way out. Options are named as the fields of this interface that they are, such as
// LoadOptions::context, in this spelling alone, so that a front end can put its own names there.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "culet/export.h"

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

// "invalid argument", "not found", … Lives for ever. Any thread.
CULET_EXPORT std::string_view ErrorKindName(ErrorKind kind);

class CULET_EXPORT Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace culet
