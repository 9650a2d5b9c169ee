#include "capi/boundary.h"

struct culet_error {
  culet_status status;
  const char* message;
};

namespace culet::capi {
namespace {

// Where there is no memory for an error, or for its text, this is given out; it is never freed.
constinit culet_error out_of_memory = {CULET_RESOURCE,
                                       "memory ran out; a smaller context or chunk needs less"};

culet_status StatusOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return CULET_INVALID_ARGUMENT;
    case ErrorKind::kNotFound: return CULET_NOT_FOUND;
    case ErrorKind::kCorrupt: return CULET_CORRUPT;
    case ErrorKind::kUnsupported: return CULET_UNSUPPORTED;
    case ErrorKind::kResource: return CULET_RESOURCE;
    case ErrorKind::kIo: return CULET_IO;
    case ErrorKind::kInternal: return CULET_INTERNAL;
  }
  return CULET_INTERNAL;
}

// Fields of the C++ interface are keys of the options here: "LoadOptions::context" is "context".
std::string WithKeyNames(std::string message) {
  for (const std::string_view owner : {"TextProcessor::Options::", "LoadOptions::",
                                       "GenerateOptions::", "EmbedOptions::", "PullSettings::"}) {
    std::size_t at = 0;
    while ((at = message.find(owner, at)) != std::string::npos) message.erase(at, owner.size());
  }
  return message;
}

culet_error* NewError(culet_status status, const std::string& message) {
  char* text = Copy(message);
  auto* error = new (std::nothrow) culet_error{status, text};
  if (error != nullptr) return error;
  std::free(text);
  throw std::bad_alloc();
}

culet_status Report(culet_status status, const char* message, culet_error** error) noexcept {
  if (error == nullptr) return status;
  try {
    *error = NewError(status, WithKeyNames(message));
  } catch (...) {
    *error = &out_of_memory;
    status = out_of_memory.status;
  }
  return status;
}

}  // namespace

culet_status FailWith(culet_error** error) noexcept {
  try {
    throw;
  } catch (const Error& thrown) {
    return Report(StatusOf(thrown.kind()), thrown.what(), error);
  } catch (const std::bad_alloc&) {
    Set(error, &out_of_memory);
    return out_of_memory.status;
  } catch (const std::exception& thrown) {
    return Report(CULET_INTERNAL, thrown.what(), error);
  } catch (...) {
    return Report(CULET_INTERNAL, "an exception that is none of culet's; a callback must not throw",
                  error);
  }
}

}  // namespace culet::capi

const char* culet_version() { return culet::Version(); }

const char* culet_status_name(culet_status status) {
  switch (status) {
    case CULET_OK: return "ok";
    case CULET_INVALID_ARGUMENT: return "invalid argument";
    case CULET_NOT_FOUND: return "not found";
    case CULET_CORRUPT: return "corrupt";
    case CULET_UNSUPPORTED: return "unsupported";
    case CULET_RESOURCE: return "resource";
    case CULET_IO: return "io";
    case CULET_INTERNAL: return "internal";
  }
  return "unknown";
}

culet_status culet_error_status(const culet_error* error) {
  return error == nullptr ? CULET_OK : error->status;
}

const char* culet_error_message(const culet_error* error) {
  return error == nullptr ? "" : error->message;
}

void culet_error_free(culet_error* error) {
  if (error == nullptr || error == &culet::capi::out_of_memory) return;
  std::free(const_cast<char*>(error->message));
  delete error;
}

void culet_free(void* memory) { std::free(memory); }
