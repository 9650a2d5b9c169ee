// Answers in the making, sessions, and what wakes an event loop for them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "culet/generate.h"
#include "gil.h"
#include "handles.h"
#include "module.h"
#include "waker.h"

namespace culet::python {

using namespace nanobind::literals;

namespace {

using Clock = std::chrono::steady_clock;

const char* KindName(GenerateEvent::Kind kind) {
  switch (kind) {
    case GenerateEvent::Kind::kThinking: return "thinking";
    case GenerateEvent::Kind::kContent: return "text";
    case GenerateEvent::Kind::kToolCall: return "tool_call";
  }
  return "text";
}

// The next event, None at the end. Waits at most `seconds` where given, and then None says nothing.
std::optional<GenerateEvent> Next(AnswerHandle& self, std::optional<double> seconds) {
  Answer& answer = self.get();
  for (;;) {
    std::optional<GenerateEvent> event;
    {
      const WithoutGil released;
      event = answer.NextWithin(seconds.value_or(kAskEverySeconds));
    }
    if (event || seconds || answer.ended()) return event;
    CheckInterrupts();
  }
}

// The end, and the whole; what comes until then is not shown.
std::shared_ptr<const GenerateResult> Wait(AnswerHandle& self) {
  Answer& answer = self.get();
  while (!answer.ended()) {
    {
      const WithoutGil released;
      const auto limit = Clock::now() + std::chrono::duration<double>(kAskEverySeconds);
      // Events may come without end.
      while (answer.NextWithin(kAskEverySeconds) && Clock::now() < limit) {
      }
    }
    CheckInterrupts();
  }
  if (!self.result) self.result = std::make_shared<const GenerateResult>(answer.Wait());
  return self.result;
}

void AddResult(nb::module_& module) {
  nb::class_<CalledTool>(module, "CalledTool")
      .def_prop_ro("name", [](const CalledTool& self) { return ToStr(self.name); })
      .def_prop_ro("arguments_json",
                   [](const CalledTool& self) { return ToStr(self.arguments_json); });
  nb::class_<GenerateEvent>(module, "Event")
      .def_prop_ro("kind", [](const GenerateEvent& self) { return KindName(self.kind); })
      .def_prop_ro("text", [](const GenerateEvent& self) { return ToStr(self.text); })
      .def_ro("call", &GenerateEvent::call);
  nb::class_<TokenLogprob>(module, "TokenLogprob")
      .def_ro("id", &TokenLogprob::id)
      .def_prop_ro("text", [](const TokenLogprob& self) { return ToStr(self.text); })
      .def_ro("logprob", &TokenLogprob::logprob);
  nb::class_<StepLogprobs>(module, "StepLogprobs")
      .def_ro("chosen", &StepLogprobs::chosen)
      .def_ro("top", &StepLogprobs::top);
  nb::class_<GenerateResult>(module, "Result")
      .def_prop_ro("text", [](const GenerateResult& self) { return ToStr(self.text); })
      .def_prop_ro("thinking", [](const GenerateResult& self) { return ToStr(self.thinking); })
      .def_ro("tool_calls", &GenerateResult::tool_calls)
      .def_prop_ro("finish_reason",
                   [](const GenerateResult& self) {
                     return std::string(FinishReasonName(self.finish_reason));
                   })
      .def_ro("prompt_tokens", &GenerateResult::prompt_tokens)
      .def_ro("cached_tokens", &GenerateResult::cached_tokens)
      .def_ro("computed_tokens", &GenerateResult::computed_tokens)
      .def_ro("completion_tokens", &GenerateResult::completion_tokens)
      .def_ro("prefill_ms", &GenerateResult::prefill_ms)
      .def_ro("decode_ms", &GenerateResult::decode_ms)
      .def_ro("seed", &GenerateResult::seed)
      .def_ro("logits_hash", &GenerateResult::logits_hash)
      .def_ro("tokens", &GenerateResult::tokens)
      .def_ro("logprobs", &GenerateResult::logprobs);
}

}  // namespace

void AddAnswer(nb::module_& module) {
  AddResult(module);

  nb::class_<WakerHandle>(module, "Waker")
      .def(nb::init<>())
      .def_prop_ro("descriptor", [](const WakerHandle& self) { return self.waker->descriptor(); })
      .def("take", [](const WakerHandle& self) { return self.waker->Take(); });

  nb::class_<AnswerHandle>(module, "Answer")
      .def("next", [](AnswerHandle& self) { return Next(self, std::nullopt); })
      .def("poll", [](AnswerHandle& self) { return Next(self, 0.0); })
      .def_prop_ro("ended", [](const AnswerHandle& self) { return self.get().ended(); })
      // What ends with a program or an object is no error in a fork's child.
      .def("cancel",
           [](const AnswerHandle& self) {
             if (self.of_this_process()) self.get().Cancel();
           })
      .def("wait", &Wait)
      // The model's thread may still call when the loop has long forgotten: it keeps the waker.
      .def(
          "notify",
          [](const AnswerHandle& self, const WakerHandle& waker, std::uint64_t id) {
            self.get().OnReady([waker = waker.waker, id] { waker->Wake(id); });
          },
          "waker"_a, "id"_a);

  nb::class_<SessionHandle>(module, "Session")
      .def(
          "start",
          [](const SessionHandle& self, const Prompt& prompt, const GenerateOptions& options,
             const StopFlag& stop) {
            return StartAnswer(options, stop, [&](const GenerateOptions& asked) {
              return self.get().Start(prompt, asked);
            });
          },
          "prompt"_a, "options"_a, "stop"_a);
}

}  // namespace culet::python
