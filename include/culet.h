// culet: Gemma 4 on your own machine. The C interface, for C and for whatever can call it.
//
//   const culet_message messages[] = {{"user", "What is 27 + 45?"}};
//   culet_error* error = NULL;
//   culet_model* model = NULL;
//   culet_prompt* prompt = NULL;
//   culet_result* result = NULL;
//   culet_model_load("models/pebble", NULL, &model, &error);
//   if (!error) culet_text_chat(culet_model_text(model), messages, 1, false, &prompt, &error);
//   if (!error) culet_generate(model, prompt, NULL, NULL, NULL, &result, &error);
//   puts(error ? culet_error_message(error) : culet_result_text(result, NULL));
//   culet_result_free(result);
//   culet_prompt_free(prompt);
//   culet_model_free(model);
//   culet_error_free(error);
//
// Ownership. What a function hands out by a pointer to a pointer belongs to the caller, who frees
// it with the function of its type (text and arrays with culet_free); every such function takes
// NULL. What a function returns as `const` belongs to the object that was asked and lives as long
// as it, if nothing else is said. Arguments are read during the call and may be freed after it. A
// session or an answer keeps its model: the order in which they are freed does not matter.
//
// Errors. A function that can fail returns a culet_status. Where that is not CULET_OK, what it
// would hand out is NULL (or 0) and `*error`, unless `error` is NULL, is an object with a message
// for people: the place, what was found, what was expected, a way out. A call that succeeds sets it
// to NULL; an object that was there before is not freed. Where a required pointer is NULL the
// answer is CULET_INVALID_ARGUMENT. No exception leaves a function and none may leave a callback; a
// callback that longjmps is undefined.
//
// Threads. Functions on a model, a text or a prompt may be called from any thread, at the same
// time. A session, an answer or a result is used by one thread at a time; culet_answer_cancel alone
// may be called from any. Callbacks run on the thread that called, but for culet_answer_on_ready's.
//
// Text is UTF-8. Options are a JSON object, NULL for the defaults; a key that is not known is
// refused by name. No struct in here will ever change, but culet_event, which only the library
// makes and which may grow at its end.
#ifndef CULET_H_
#define CULET_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CULET_API __attribute__((visibility("default")))
#else
#define CULET_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// "0.1.0". Static.
CULET_API const char* culet_version(void);

// ---- errors ----

typedef enum culet_status {
  CULET_OK = 0,
  CULET_INVALID_ARGUMENT = 1,  // the caller asked for something that cannot be
  CULET_NOT_FOUND = 2,         // a file, model or name that is not there
  CULET_CORRUPT = 3,           // a file that lies, is cut off or does not fit its neighbours
  CULET_UNSUPPORTED = 4,       // well formed, but culet does not do it
  CULET_RESOURCE = 5,          // memory, disk, context or queue that does not suffice
  CULET_IO = 6,                // the system refused to read or write
  CULET_INTERNAL = 7           // culet's own fault, or an exception from a callback
} culet_status;

// "ok", "invalid argument", … Static.
CULET_API const char* culet_status_name(culet_status status);

typedef struct culet_error culet_error;
CULET_API culet_status culet_error_status(const culet_error* error);  // of NULL: CULET_OK
CULET_API const char* culet_error_message(const culet_error* error);  // of NULL: ""
CULET_API void culet_error_free(culet_error* error);

// `done` of `total`, several times a second; false stops the work.
typedef bool (*culet_progress_callback)(uint64_t done, uint64_t total, void* user);

// Frees text and arrays that were handed out.
CULET_API void culet_free(void* memory);

// ---- what is there, before anything is loaded ----

// This machine: {"cpu_model", "threads", "levels", "level", "memory_bytes", "free_bytes", …}.
CULET_API culet_status culet_describe_machine(char** json, culet_error** error);

// What a model is and what running it takes, from config and headers alone: shape, parameters and
// bytes by part, and the plan at these options: "context" and "chunk" in tokens, "kv_bytes",
// "activation_bytes", "resident_bytes". `path`: a folder in Hugging Face's layout, or a
// .safetensors file in one. `options`: culet_model_load's.
CULET_API culet_status culet_describe(const char* path, const char* options, char** json,
                                      culet_error** error);

// Where the model lies that a person calls `name`: a path, a bundled model ("pebble"), or a model
// of the hub in the cache ("e2b", "owner/name"; culet_pull fetches). Fails with CULET_NOT_FOUND and
// all that was tried.
CULET_API culet_status culet_find_model(const char* name, char** path, culet_error** error);

// ---- a model ----

// Loaded weights, the memory for KV, and the thread that computes.
typedef struct culet_model culet_model;

// Maps the weights and allocates KV. Options, with their defaults:
//   "threads": 0            0: the CPUs that this process may use
//   "context": 0            positions of prompt and answer; 0: min(model's maximum, 8192)
//   "chunk": 512            most rows of one step
//   "image_tokens"          most tokens of a picture or frame: 12B, 26B-A4B and 31B compute each in
//                           one step, and "chunk" is made as large as that takes
//   "sequences": 0          answers computed at once, sessions included; 0: what costs little
//   "pool_tokens": 0        positions of full layers over all sequences; 0: one context
//   "prefix_tokens"         positions kept of beginnings that later prompts may share
//   "prompt_rows_beside_decoding": 64
//   "queue": 1024           answers that may wait; one more is refused
//   "kv": "auto"            or "f32", "bf16", "int8"
//   "rewind_tokens": 0      rows kept behind the window for culet_session_rewind
//   "tokenizer": ""         a tokenizer.json elsewhere
//   "allow_control_tokens": false
//   "overrides": {}         of config.json: {"text_config.sliding_window": 256}
//   "cpu": ""               kernel level; "": CULET_CPU or the best that this machine has
//   "quant": ""             "int8" or "int4": a copy in such weights, made once and kept in a cache
// Fails with CULET_RESOURCE, and the numbers, where the plan does not fit into free memory.
CULET_API culet_status culet_model_load(const char* path, const char* options, culet_model** model,
                                        culet_error** error);
// Frees the caller's hold. The memory goes when sessions and answers of it are freed too.
CULET_API void culet_model_free(culet_model* model);

// As culet_describe.
CULET_API culet_status culet_model_info(const culet_model* model, char** json, culet_error** error);
// What the model's generation_config.json gives: {"stop_tokens", "temperature", "top_k", …}.
CULET_API culet_status culet_model_defaults(const culet_model* model, char** json,
                                            culet_error** error);
// Since it was loaded: {"steps", "rows", "answers", "preemptions", "prompt_tokens", …}.
CULET_API culet_status culet_model_statistics(const culet_model* model, char** json,
                                              culet_error** error);
CULET_API int64_t culet_model_context(const culet_model* model);  // positions; of NULL: 0
CULET_API int64_t culet_model_vocab(const culet_model* model);    // logits of a row; of NULL: 0

// ---- the text side ----

// Tokenizer, chat template, output parser.
typedef struct culet_text culet_text;

// A model's own. It lives as long as `model` is not freed, and is not freed itself.
CULET_API const culet_text* culet_model_text(const culet_model* model);  // of NULL: NULL

// The text side alone, from a folder that may lack weights. Options: "tokenizer",
// "allow_control_tokens".
CULET_API culet_status culet_text_open(const char* path, const char* options, culet_text** text,
                                       culet_error** error);
CULET_API void culet_text_free(culet_text* text);

// Ids of `bytes` bytes of text, control tokens recognised, nothing added. Bytes that are no UTF-8
// count as U+FFFD.
CULET_API culet_status culet_text_encode(const culet_text* text, const char* utf8, size_t bytes,
                                         int32_t** tokens, size_t* count, culet_error** error);
// The way back, control tokens as text. `bytes` (may be NULL) is without the NUL behind it.
CULET_API culet_status culet_text_decode(const culet_text* text, const int32_t* tokens,
                                         size_t count, char** utf8, size_t* bytes,
                                         culet_error** error);

// A prompt as tokens, with what is needed to read the answer.
typedef struct culet_prompt culet_prompt;

// One turn of a plain conversation. `role`: "system", "user" or "assistant".
typedef struct culet_message {
  const char* role;
  const char* content;
} culet_message;
// A conversation of plain turns by the chat template, and the model's turn begun. `think`: it may
// think first.
CULET_API culet_status culet_text_chat(const culet_text* text, const culet_message* messages,
                                       size_t count, bool think, culet_prompt** prompt,
                                       culet_error** error);
// Any conversation by the chat template. `request`: {"messages": […], "tools": […],
// "enable_thinking", "preserve_thinking", "add_generation_prompt"}, in the form of OpenAI's and
// Hugging Face's tools. Content is data: control tokens in it stay text. `known` (or NULL and 0):
// the tokens of the conversation so far, whose ids are kept where the prompt says the same, so that
// a session computes new tokens only.
CULET_API culet_status culet_text_prompt(const culet_text* text, const char* request,
                                         const int32_t* known, size_t known_count,
                                         culet_prompt** prompt, culet_error** error);
// The same as text.
CULET_API culet_status culet_text_render(const culet_text* text, const char* request, char** utf8,
                                         size_t* bytes, culet_error** error);
// Plain completion: <bos> and the text.
CULET_API culet_status culet_text_raw_prompt(const culet_text* text, const char* utf8, size_t bytes,
                                             culet_prompt** prompt, culet_error** error);
// Tokens that the caller made. `starts_in_thought`: the prompt ends inside the thinking channel.
CULET_API culet_status culet_prompt_new(const int32_t* tokens, size_t count, bool starts_in_thought,
                                        culet_prompt** prompt, culet_error** error);
CULET_API const int32_t* culet_prompt_tokens(const culet_prompt* prompt, size_t* count);
CULET_API bool culet_prompt_starts_in_thought(const culet_prompt* prompt);
CULET_API void culet_prompt_free(culet_prompt* prompt);

// What a model wrote, control tokens as text, as {"thinking", "content", "tool_calls"}.
CULET_API culet_status culet_parse(const char* utf8, size_t bytes, bool starts_in_thought,
                                   char** json, culet_error** error);

// ---- answers ----

typedef enum culet_event_kind {
  CULET_EVENT_THINKING = 0,
  CULET_EVENT_CONTENT = 1,
  CULET_EVENT_TOOL_CALL = 2
} culet_event_kind;

// A piece of an answer. Valid during the callback, or until the answer's next call.
typedef struct culet_event {
  culet_event_kind kind;
  const char* text;       // thinking, content: the next piece; tool call: arguments, a JSON object
  size_t text_bytes;      // without the NUL behind it
  const char* tool_name;  // tool call; else NULL
} culet_event;

// An answer that has ended.
typedef struct culet_result culet_result;
CULET_API const char* culet_result_text(const culet_result* result, size_t* bytes);
CULET_API const char* culet_result_thinking(const culet_result* result, size_t* bytes);
// "stop", "length", "tool_calls", "cancelled" or "timeout". Static.
CULET_API const char* culet_result_finish_reason(const culet_result* result);
// As generated, the stop token included.
CULET_API const int32_t* culet_result_tokens(const culet_result* result, size_t* count);
CULET_API size_t culet_result_tool_calls(const culet_result* result);
CULET_API const char* culet_result_tool_name(const culet_result* result, size_t index);
// A JSON object.
CULET_API const char* culet_result_tool_arguments(const culet_result* result, size_t index);
// All of it: {"text", "thinking", "tool_calls", "finish_reason", "usage", "timings" (ms and
// tokens/s), "tokens", "logprobs", "seed", "logits_hash"}.
CULET_API culet_status culet_result_json(const culet_result* result, char** json,
                                         culet_error** error);
CULET_API void culet_result_free(culet_result* result);

// Asked with every event; false ends the answer with "cancelled".
typedef bool (*culet_event_callback)(const culet_event* event, void* user);

// Answers a prompt in company with all other answers of this model and waits for the end.
// `on_event` and `result` may be NULL. Options; what is absent comes from the model's
// generation_config.json:
//   "max_tokens"             0: until the context is full
//   "temperature"            0: greedy
//   "top_k", "top_p", "min_p", "repetition_penalty"
//   "seed"                   absent: from the system's entropy
//   "stop"                   a text or a list: the answer ends before any of them
//   "logprobs": 0            alternatives a token, in culet_result_json
//   "ignore_stop_tokens": false
//   "timeout_s"              seconds; ends with "timeout"
// Fails with CULET_RESOURCE, and the numbers, where the prompt does not fit the context.
CULET_API culet_status culet_generate(culet_model* model, const culet_prompt* prompt,
                                      const char* options, culet_event_callback on_event,
                                      void* user, culet_result** result, culet_error** error);

// An answer in the making: the model's own thread computes it.
typedef struct culet_answer culet_answer;

// The same, and does not wait.
CULET_API culet_status culet_start(culet_model* model, const culet_prompt* prompt,
                                   const char* options, culet_answer** answer, culet_error** error);
// Waits for the next event, `seconds` at most (negative: without end). NULL at the end, and where
// nothing came in time: culet_answer_ended tells which. At the end of an answer that failed it
// fails with what that failed with.
CULET_API culet_status culet_answer_next(culet_answer* answer, double seconds,
                                         const culet_event** event, culet_error** error);
CULET_API bool culet_answer_ended(const culet_answer* answer);  // and every event was taken
// Ends it before the model's next step. Any thread, also while another waits, but not beside
// culet_answer_free.
CULET_API void culet_answer_cancel(culet_answer* answer);
// Waits for the end and hands out the whole, or fails with what the answer failed with. Once.
CULET_API culet_status culet_answer_wait(culet_answer* answer, culet_result** result,
                                         culet_error** error);
// `ready` is called, on the model's thread, whenever there is an event to take and at the end. It
// must be short and must not call culet: it is for waking an event loop. NULL: no more.
CULET_API culet_status culet_answer_on_ready(culet_answer* answer, void (*ready)(void* user),
                                             void* user, culet_error** error);
// Cancels what has not ended.
CULET_API void culet_answer_free(culet_answer* answer);

// ---- sessions and single steps ----

// One sequence that keeps its KV from call to call.
typedef struct culet_session culet_session;

// Takes one of the model's sequences; fails with CULET_RESOURCE where all are taken.
CULET_API culet_status culet_session_new(culet_model* model, culet_session** session,
                                         culet_error** error);
CULET_API void culet_session_free(culet_session* session);

// As culet_generate and culet_start; computes what of the prompt the session has not seen (the
// longest common beginning is kept). While it answers, the session can do nothing else.
CULET_API culet_status culet_session_generate(culet_session* session, const culet_prompt* prompt,
                                              const char* options, culet_event_callback on_event,
                                              void* user, culet_result** result,
                                              culet_error** error);
CULET_API culet_status culet_session_start(culet_session* session, const culet_prompt* prompt,
                                           const char* options, culet_answer** answer,
                                           culet_error** error);

// Computes tokens behind what is there: a prompt's, or one. `logits` [vocab] of the last one are
// the session's, until its next call.
CULET_API culet_status culet_session_append(culet_session* session, const int32_t* tokens,
                                            size_t count, const float** logits, size_t* vocab,
                                            culet_error** error);
// Forgets everything from `position` (in tokens) on. Exact; what was given back behind the window
// is computed again at the next append. Position 0 resets the session.
CULET_API culet_status culet_session_rewind(culet_session* session, int64_t position,
                                            culet_error** error);
// Keeps what a later rewind to here needs, within a memory limit.
CULET_API culet_status culet_session_pin(culet_session* session, culet_error** error);
// What the KV stands for; the session's, until its next call.
CULET_API culet_status culet_session_tokens(const culet_session* session, const int32_t** tokens,
                                            size_t* count, culet_error** error);
// Positions computed again after rewinds, so far.
CULET_API int64_t culet_session_recomputed_tokens(const culet_session* session);

// One row's logits [vocab], valid during the call; false ends the computation.
typedef bool (*culet_row_callback)(int64_t position, const float* logits, size_t vocab, void* user);
// Logits of every position of `tokens`, in chunks of `chunk` rows (0: the load option). Ended by
// the callback it succeeds. The callback must not call functions on this model.
CULET_API culet_status culet_model_logits(culet_model* model, const int32_t* tokens, size_t count,
                                          int64_t chunk, culet_row_callback on_row, void* user,
                                          culet_error** error);

// ---- embeddings ----

// Each of `count` texts as one vector, pooled over the model's last hidden states; they are
// computed together, in company with answers, and none depends on its company. `values` [count,
// *dimensions] is handed out, for culet_free; `tokens` [count] (or NULL) is the caller's and
// receives how many each text has. `on_progress` (or NULL) counts tokens; where it stops the work,
// `values` is NULL. Options:
//   "pooling": "mean"       or "last"
//   "dimensions": 0         the first so many; 0: all, which is the hidden size
//   "normalize": false      to length 1
//   "bos"                   <bos> in front or not; absent: as the tokenizer has it
// Fails with CULET_RESOURCE, and the numbers, where a text is longer than the context.
CULET_API culet_status culet_embed(culet_model* model, const char* const* texts, size_t count,
                                   const char* options, culet_progress_callback on_progress,
                                   void* user, float** values, size_t* dimensions, int64_t* tokens,
                                   culet_error** error);

// ---- the Hugging Face hub ----

// Makes the hub's cache hold a model ("e2b", "owner/name", either with "@revision") and hands out
// its folder, for culet_model_load. `on_progress` (or NULL) counts the bytes of all files. NULL
// where it stopped the pull: what has come is kept. Options: "offline": false (only look into the
// cache), "connections": 0 (files at once). Cache, token and proxies come from the variables that
// huggingface_hub reads.
CULET_API culet_status culet_pull(const char* name, const char* options,
                                  culet_progress_callback on_progress, void* user, char** folder,
                                  culet_error** error);

#ifdef __cplusplus
}
#endif

#endif  // CULET_H_
