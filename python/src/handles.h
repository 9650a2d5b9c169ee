// What Python objects of the module hold.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <memory>
#include <string_view>

#include "culet/generate.h"
#include "culet/model.h"
#include "culet/text.h"
#include "gil.h"
#include "waker.h"

namespace culet::python {

// Text of a model. Bytes that are no UTF-8 (half a character, where an answer ends in it) become
// U+FFFD.
inline nb::object ToStr(std::string_view text) {
  return nb::steal<nb::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

// Ends a long call, from any thread.
struct StopFlag {
  std::atomic<bool> stopped = false;
};

struct TextHandle {
  std::shared_ptr<const TextProcessor> text;
};

// Shared with the model's threads, which may not touch a Python object.
struct WakerHandle {
  std::shared_ptr<Waker> waker = std::make_shared<Waker>();
};

class ModelHandle : public Owned<std::shared_ptr<Model>> {
 public:
  explicit ModelHandle(std::shared_ptr<Model> model) : Owned(std::move(model), "the model") {}
};

// Threads: any, one at a time but Cancel.
class AnswerHandle : public Owned<Answer> {
 public:
  explicit AnswerHandle(Answer answer) : Owned(std::move(answer), "the answer") {}
  std::shared_ptr<const GenerateResult> result;  // once it has been waited for
};

// Starts an answer by `start(options)` without the lock. Until there is one, which may take long
// where the prompt has media, a signal or `stop` cancels it.
template <typename StartIt>
std::unique_ptr<AnswerHandle> StartAnswer(const GenerateOptions& options, const StopFlag& stop,
                                          const StartIt& start) {
  std::unique_ptr<AnswerHandle> answer;
  {
    WithoutGil released;
    GenerateOptions asked = options;
    asked.on_media = [&](std::int64_t, std::int64_t) {
      return !stop.stopped && !released.Interrupted();
    };
    answer = std::make_unique<AnswerHandle>(start(asked));
  }
  CheckInterrupts();
  return answer;
}

class SessionHandle : public Owned<Session> {
 public:
  explicit SessionHandle(Session session) : Owned(std::move(session), "the chat") {}
};

}  // namespace culet::python
