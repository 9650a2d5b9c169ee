// Answers, their results, and the sessions that give them.
#include <cmath>
#include <optional>
#include <utility>

#include "capi/boundary.h"
#include "culet/json.h"

using culet::capi::Copy;
using culet::capi::Guard;
using culet::capi::Need;
using culet::capi::OptionsText;
using culet::capi::Set;
using culet::capi::Span;

struct culet_result {
  culet::GenerateResult result;
};
struct culet_answer {
  culet::Answer answer;
  std::optional<culet::GenerateEvent> event = {};  // the last that was handed out
  culet_event shown = {};                          // of it
  bool taken = false;                              // the result was
};
struct culet_session {
  culet::Session session;
};

namespace {

culet::GenerateOptions OptionsOf(const char* options) {
  return culet::ParseGenerateOptions(OptionsText(options), "the options");
}

culet_event Show(const culet::GenerateEvent& event) {
  using Kind = culet::GenerateEvent::Kind;
  culet_event shown = {};
  const std::string* text = &event.text;
  switch (event.kind) {
    case Kind::kThinking: shown.kind = CULET_EVENT_THINKING; break;
    case Kind::kContent: shown.kind = CULET_EVENT_CONTENT; break;
    case Kind::kToolCall:
      shown.kind = CULET_EVENT_TOOL_CALL;
      shown.tool_name = event.call.name.c_str();
      text = &event.call.arguments_json;
      break;
  }
  shown.text = text->c_str();
  shown.text_bytes = text->size();
  return shown;
}

// Waits for the end; on_event sees what comes meanwhile.
void Follow(culet::Answer answer, culet_event_callback on_event, void* user,
            culet_result** result) {
  while (const std::optional<culet::GenerateEvent> event = answer.Next()) {
    const culet_event shown = Show(*event);
    if (on_event == nullptr || on_event(&shown, user)) continue;
    answer.Cancel();
    break;
  }
  culet::GenerateResult whole = answer.Wait();
  if (result != nullptr) *result = new culet_result{std::move(whole)};
}

const char* TextOf(const std::string* text, std::size_t* bytes) {
  Set(bytes, text == nullptr ? 0 : text->size());
  return text == nullptr ? "" : text->c_str();
}

const culet::CalledTool* CallAt(const culet_result* result, std::size_t index) {
  if (result == nullptr || index >= result->result.tool_calls.size()) return nullptr;
  return &result->result.tool_calls[index];
}

}  // namespace

// ---- answers ----

culet_status culet_generate(culet_model* model, const culet_prompt* prompt, const char* options,
                            culet_event_callback on_event, void* user, culet_result** result,
                            culet_error** error) {
  Set(result, nullptr);
  return Guard(error, [&] {
    Follow(culet::Start(Need(model, "culet_generate: model").model,
                        Need(prompt, "culet_generate: prompt").prompt, OptionsOf(options)),
           on_event, user, result);
  });
}

culet_status culet_start(culet_model* model, const culet_prompt* prompt, const char* options,
                         culet_answer** answer, culet_error** error) {
  Set(answer, nullptr);
  return Guard(error, [&] {
    Need(answer, "culet_start: answer");
    *answer = new culet_answer{culet::Start(Need(model, "culet_start: model").model,
                                            Need(prompt, "culet_start: prompt").prompt,
                                            OptionsOf(options))};
  });
}

culet_status culet_answer_next(culet_answer* answer, double seconds, const culet_event** event,
                               culet_error** error) {
  Set(event, nullptr);
  return Guard(error, [&] {
    Need(answer, "culet_answer_next: answer");
    Need(event, "culet_answer_next: event");
    if (std::isnan(seconds)) {
      throw culet::Error(culet::ErrorKind::kInvalidArgument,
                         "culet_answer_next: seconds is no number");
    }
    answer->event = seconds < 0 ? answer->answer.Next() : answer->answer.NextWithin(seconds);
    if (!answer->event) {
      if (answer->answer.ended()) answer->answer.ThrowIfFailed();
      return;
    }
    answer->shown = Show(*answer->event);
    *event = &answer->shown;
  });
}

bool culet_answer_ended(const culet_answer* answer) {
  return answer == nullptr || answer->answer.ended();
}

void culet_answer_cancel(culet_answer* answer) {
  if (answer != nullptr) answer->answer.Cancel();
}

culet_status culet_answer_wait(culet_answer* answer, culet_result** result, culet_error** error) {
  Set(result, nullptr);
  return Guard(error, [&] {
    Need(result, "culet_answer_wait: result");
    if (Need(answer, "culet_answer_wait: answer").taken) {
      throw culet::Error(culet::ErrorKind::kInvalidArgument,
                         "culet_answer_wait: this answer's result was taken before; it is given "
                         "once");
    }
    culet::GenerateResult whole = answer->answer.Wait();
    answer->taken = true;
    *result = new culet_result{std::move(whole)};
  });
}

culet_status culet_answer_on_ready(culet_answer* answer, void (*ready)(void* user), void* user,
                                   culet_error** error) {
  return Guard(error, [&] {
    Need(answer, "culet_answer_on_ready: answer");
    if (ready == nullptr) {
      answer->answer.OnReady({});
    } else {
      answer->answer.OnReady([ready, user] { ready(user); });
    }
  });
}

void culet_answer_free(culet_answer* answer) { delete answer; }

// ---- results ----

const char* culet_result_text(const culet_result* result, size_t* bytes) {
  return TextOf(result == nullptr ? nullptr : &result->result.text, bytes);
}

const char* culet_result_thinking(const culet_result* result, size_t* bytes) {
  return TextOf(result == nullptr ? nullptr : &result->result.thinking, bytes);
}

const char* culet_result_finish_reason(const culet_result* result) {
  // The names are literals, with a NUL behind them.
  return result == nullptr ? "" : culet::FinishReasonName(result->result.finish_reason).data();
}

const int32_t* culet_result_tokens(const culet_result* result, size_t* count) {
  Set(count, result == nullptr ? 0 : result->result.tokens.size());
  return result == nullptr ? nullptr : result->result.tokens.data();
}

size_t culet_result_tool_calls(const culet_result* result) {
  return result == nullptr ? 0 : result->result.tool_calls.size();
}

const char* culet_result_tool_name(const culet_result* result, size_t index) {
  const culet::CalledTool* call = CallAt(result, index);
  return call == nullptr ? nullptr : call->name.c_str();
}

const char* culet_result_tool_arguments(const culet_result* result, size_t index) {
  const culet::CalledTool* call = CallAt(result, index);
  return call == nullptr ? nullptr : call->arguments_json.c_str();
}

culet_status culet_result_json(const culet_result* result, char** json, culet_error** error) {
  Set(json, nullptr);
  return Guard(error, [&] {
    Need(json, "culet_result_json: json");
    *json = Copy(culet::ToJson(Need(result, "culet_result_json: result").result));
  });
}

void culet_result_free(culet_result* result) { delete result; }

// ---- sessions ----

culet_status culet_session_new(culet_model* model, culet_session** session, culet_error** error) {
  Set(session, nullptr);
  return Guard(error, [&] {
    Need(session, "culet_session_new: session");
    *session = new culet_session{culet::Session(Need(model, "culet_session_new: model").model)};
  });
}

void culet_session_free(culet_session* session) { delete session; }

culet_status culet_session_generate(culet_session* session, const culet_prompt* prompt,
                                    const char* options, culet_event_callback on_event, void* user,
                                    culet_result** result, culet_error** error) {
  Set(result, nullptr);
  return Guard(error, [&] {
    Follow(Need(session, "culet_session_generate: session")
               .session.Start(Need(prompt, "culet_session_generate: prompt").prompt,
                              OptionsOf(options)),
           on_event, user, result);
  });
}

culet_status culet_session_start(culet_session* session, const culet_prompt* prompt,
                                 const char* options, culet_answer** answer, culet_error** error) {
  Set(answer, nullptr);
  return Guard(error, [&] {
    Need(answer, "culet_session_start: answer");
    *answer = new culet_answer{
        Need(session, "culet_session_start: session")
            .session.Start(Need(prompt, "culet_session_start: prompt").prompt, OptionsOf(options))};
  });
}

culet_status culet_session_append(culet_session* session, const int32_t* tokens, size_t count,
                                  const float** logits, size_t* vocab, culet_error** error) {
  Set(logits, nullptr);
  Set(vocab, 0);
  return Guard(error, [&] {
    const std::span<const float> row =
        Need(session, "culet_session_append: session")
            .session.Append(Span(tokens, count, "culet_session_append: tokens"));
    Set(logits, row.data());
    Set(vocab, row.size());
  });
}

culet_status culet_session_rewind(culet_session* session, int64_t position, culet_error** error) {
  return Guard(error,
               [&] { Need(session, "culet_session_rewind: session").session.Rewind(position); });
}

culet_status culet_session_pin(culet_session* session, culet_error** error) {
  return Guard(error, [&] { Need(session, "culet_session_pin: session").session.Pin(); });
}

culet_status culet_session_tokens(const culet_session* session, const int32_t** tokens,
                                  size_t* count, culet_error** error) {
  Set(tokens, nullptr);
  Set(count, 0);
  return Guard(error, [&] {
    const std::span<const culet::TokenId> all =
        Need(session, "culet_session_tokens: session").session.tokens();
    Set(tokens, all.data());
    Set(count, all.size());
  });
}

int64_t culet_session_recomputed_tokens(const culet_session* session) {
  return session == nullptr ? 0 : session->session.recomputed_tokens();
}
