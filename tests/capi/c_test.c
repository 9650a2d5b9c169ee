// Fails where the C interface is not C, answers differently than the C++ interface that it stands
// on would, or lets a caller's mistake do more than give an error. Runs the bundled demo model.
//
//   capi_c_test MODEL
#define _POSIX_C_SOURCE 200809L

#include <culet.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int failures = 0;

#define CHECK(condition) Check((condition), #condition, __LINE__)
static void Check(bool holds, const char* what, int line) {
  if (holds) return;
  ++failures;
  fprintf(stderr, "c_test.c:%d: %s does not hold\n", line, what);
}

// The call must succeed.
#define OK(call) CheckOk((call), #call, __LINE__)
static culet_error* error = NULL;
static void CheckOk(culet_status status, const char* call, int line) {
  if (status == CULET_OK && error == NULL) return;
  ++failures;
  fprintf(stderr, "c_test.c:%d: %s: %s: %s\n", line, call, culet_status_name(status),
          culet_error_message(error));
  culet_error_free(error);
  error = NULL;
}

// The call must fail so, with a message that holds `text`.
#define FAILS(call, status, text) CheckFails((call), (status), (text), #call, __LINE__)
static void CheckFails(culet_status status, culet_status expected, const char* text,
                       const char* call, int line) {
  if (status != expected || culet_error_status(error) != expected ||
      strstr(culet_error_message(error), text) == NULL) {
    ++failures;
    fprintf(stderr, "c_test.c:%d: %s: \"%s\" (%s), expected \"%s\" (%s)\n", line, call,
            culet_error_message(error), culet_status_name(status), text,
            culet_status_name(expected));
  }
  culet_error_free(error);
  error = NULL;
}

// The call must name the argument that is NULL.
#define NEEDS(call, name) FAILS(call, CULET_INVALID_ARGUMENT, name " is NULL")

static const char* const kQuestion =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"What is 27 + 45?\"}],"
    " \"add_generation_prompt\": true}";
static const char* const kGreedy = "{\"temperature\": 0}";
// Never ends by itself.
static const char* const kLong =
    "{\"temperature\": 0, \"ignore_stop_tokens\": true, \"max_tokens\": 0}";

static culet_model* Load(const char* path) {
  culet_model* model = NULL;
  OK(culet_model_load(path, "{\"context\": 512, \"threads\": 2, \"rewind_tokens\": 512}", &model,
                      &error));
  if (model == NULL) exit(1);
  return model;
}

static culet_prompt* Ask(const culet_model* model) {
  culet_prompt* prompt = NULL;
  OK(culet_text_prompt(culet_model_text(model), kQuestion, NULL, 0, &prompt, &error));
  return prompt;
}

// A growing text of the events that a callback saw.
typedef struct Seen {
  char text[4096];
  size_t events;
  size_t most;  // events that it wants
} Seen;
static bool See(const culet_event* event, void* user) {
  Seen* seen = user;
  CHECK(strlen(event->text) == event->text_bytes);
  CHECK(event->tool_name == NULL);
  if (event->kind == CULET_EVENT_CONTENT &&
      strlen(seen->text) + event->text_bytes < sizeof seen->text) {
    strcat(seen->text, event->text);
  }
  return ++seen->events < seen->most;
}

// ---- before a model is loaded ----

static void TestDescribe(const char* path) {
  char* json = NULL;
  CHECK(strchr(culet_version(), '.') != NULL);
  error = (culet_error*)&failures;  // whatever stood there before
  OK(culet_describe_machine(&json, &error));
  CHECK(json != NULL && strstr(json, "\"cpu_model\":") != NULL);
  culet_free(json);
  OK(culet_describe(path, "{\"context\": 256}", &json, &error));
  CHECK(json != NULL && strstr(json, "\"context\":256,") != NULL);
  culet_free(json);

  FAILS(culet_describe(path, "{\"contxt\": 256}", &json, &error), CULET_INVALID_ARGUMENT, "contxt");
  CHECK(json == NULL);
  FAILS(culet_describe(path, "{\"context\": \"many\"}", &json, &error), CULET_INVALID_ARGUMENT,
        "context is \"many\"");
  FAILS(culet_describe(path, "[]", &json, &error), CULET_INVALID_ARGUMENT, "an array");
  FAILS(culet_describe(path, "{", &json, &error), CULET_INVALID_ARGUMENT, "the options");
  FAILS(culet_describe(path, "{\"chunk\": 0}", &json, &error), CULET_INVALID_ARGUMENT,
        "chunk is 0; it must be");
  // Fields of C++ structs are not named to a reader who has none.
  culet_describe(path, "{\"chunk\": 0}", &json, &error);
  CHECK(strstr(culet_error_message(error), "::") == NULL);
  culet_error_free(error);
  error = NULL;
}

// Nothing here goes out to a network.
static void TestNames(const char* path) {
  setenv("HF_HUB_CACHE", "/no/such/cache", 1);
  char* found = NULL;
  OK(culet_find_model(path, &found, &error));
  CHECK(found != NULL && strcmp(found, path) == 0);
  culet_free(found);
  FAILS(culet_find_model("no such model", &found, &error), CULET_NOT_FOUND, "no such model");
  FAILS(culet_pull("e2b", "{\"offline\": true}", NULL, NULL, &found, &error), CULET_NOT_FOUND,
        "offline");
  FAILS(culet_pull("e2b", "{\"offlin\": true}", NULL, NULL, &found, &error), CULET_INVALID_ARGUMENT,
        "offlin");
  CHECK(found == NULL);
}

static void TestMissingModel(void) {
  culet_model* model = (culet_model*)&failures;  // anything but NULL
  FAILS(culet_model_load("/no/such/model", NULL, &model, &error), CULET_NOT_FOUND,
        "/no/such/model");
  CHECK(model == NULL);
  // Nobody has to want the message.
  CHECK(culet_model_load("/no/such/model", NULL, &model, NULL) == CULET_NOT_FOUND);
}

// ---- text ----

static void TestText(const culet_model* model) {
  const culet_text* text = culet_model_text(model);
  int32_t* tokens = NULL;
  size_t count = 0;
  OK(culet_text_encode(text, "hello world", 11, &tokens, &count, &error));
  CHECK(count > 0);
  char* decoded = NULL;
  size_t bytes = 0;
  OK(culet_text_decode(text, tokens, count, &decoded, &bytes, &error));
  CHECK(decoded != NULL && strcmp(decoded, "hello world") == 0 && bytes == 11);
  culet_free(decoded);
  culet_free(tokens);

  OK(culet_text_encode(text, NULL, 0, &tokens, &count, &error));
  CHECK(tokens != NULL && count == 0);
  culet_free(tokens);

  char* rendered = NULL;
  OK(culet_text_render(text, kQuestion, &rendered, &bytes, &error));
  CHECK(rendered != NULL && strstr(rendered, "What is 27 + 45?") != NULL &&
        strlen(rendered) == bytes);

  // The prompt is the rendered text as tokens, and the same as of plain turns.
  culet_prompt* prompt = NULL;
  const culet_message messages[] = {{"user", "What is 27 + 45?"}};
  OK(culet_text_chat(text, messages, 1, false, &prompt, &error));
  size_t chat_count = 0;
  const int32_t* chat_ids = culet_prompt_tokens(prompt, &chat_count);
  culet_prompt* same = Ask(model);
  CHECK(culet_prompt_tokens(same, &count) != NULL && count == chat_count &&
        memcmp(culet_prompt_tokens(same, NULL), chat_ids, count * sizeof *chat_ids) == 0);
  culet_prompt_free(same);
  const culet_message broken[] = {{"user", "\xff"}};
  FAILS(culet_text_chat(text, broken, 1, false, &same, &error), CULET_INVALID_ARGUMENT,
        "messages[0]");
  const int32_t* ids = culet_prompt_tokens(prompt, &count);
  OK(culet_text_decode(text, ids, count, &decoded, NULL, &error));
  CHECK(decoded != NULL && strcmp(decoded, rendered) == 0);
  CHECK(!culet_prompt_starts_in_thought(prompt));
  culet_prompt_free(prompt);
  culet_free(decoded);
  culet_free(rendered);
  FAILS(culet_text_prompt(text, "{\"messages\": 1}", NULL, 0, &prompt, &error),
        CULET_INVALID_ARGUMENT, "the request");

  OK(culet_text_raw_prompt(text, "Once", 4, &prompt, &error));
  CHECK(culet_prompt_tokens(prompt, &count) != NULL && count > 1);
  culet_prompt_free(prompt);

  char* json = NULL;
  const char* wrote = "<|channel>thought\nhm\n<channel|>Yes.<turn|>";
  OK(culet_parse(wrote, strlen(wrote), false, &json, &error));
  CHECK(json != NULL && strstr(json, "\"content\":\"Yes.\"") != NULL);
  culet_free(json);
}

static void TestTextAlone(const char* path) {
  culet_text* text = NULL;
  OK(culet_text_open(path, NULL, &text, &error));
  int32_t* tokens = NULL;
  size_t count = 0;
  OK(culet_text_encode(text, "<bos>", 5, &tokens, &count, &error));
  CHECK(count == 1);
  culet_free(tokens);
  culet_text_free(text);
  FAILS(culet_text_open(path, "{\"context\": 1}", &text, &error), CULET_INVALID_ARGUMENT,
        "context");
}

// ---- answers ----

static void TestGenerate(culet_model* model) {
  culet_prompt* prompt = Ask(model);
  culet_result* result = NULL;
  Seen seen = {{0}, 0, 1000000};
  OK(culet_generate(model, prompt, kGreedy, See, &seen, &result, &error));
  size_t bytes = 0;
  CHECK(strcmp(culet_result_text(result, &bytes), seen.text) == 0);
  CHECK(strstr(seen.text, "72") != NULL && bytes == strlen(seen.text));
  CHECK(strcmp(culet_result_thinking(result, NULL), "") == 0);
  CHECK(strcmp(culet_result_finish_reason(result), "stop") == 0);
  CHECK(culet_result_tool_calls(result) == 0 && culet_result_tool_name(result, 0) == NULL &&
        culet_result_tool_arguments(result, 0) == NULL);
  char* json = NULL;
  OK(culet_result_json(result, &json, &error));
  CHECK(json != NULL && strstr(json, "\"prefill_tokens_per_s\":") != NULL &&
        strstr(json, "\"logits_hash\":\"") != NULL);
  culet_free(json);
  culet_result_free(result);

  // Without anybody who listens, and without the result.
  OK(culet_generate(model, prompt, kGreedy, NULL, NULL, NULL, &error));

  Seen few = {{0}, 0, 2};
  OK(culet_generate(model, prompt, kLong, See, &few, &result, &error));
  CHECK(few.events == 2);
  CHECK(strcmp(culet_result_finish_reason(result), "cancelled") == 0);
  culet_result_free(result);

  FAILS(culet_generate(model, prompt, "{\"temperatur\": 1}", NULL, NULL, &result, &error),
        CULET_INVALID_ARGUMENT, "temperatur");
  CHECK(result == NULL);
  FAILS(culet_generate(model, prompt, "{\"top_p\": 7}", NULL, NULL, &result, &error),
        CULET_INVALID_ARGUMENT, "top_p");
  culet_prompt_free(prompt);

  OK(culet_prompt_new(NULL, 0, false, &prompt, &error));
  FAILS(culet_generate(model, prompt, NULL, NULL, NULL, &result, &error), CULET_INVALID_ARGUMENT,
        "the prompt is empty");
  culet_prompt_free(prompt);

  int32_t* many = calloc(600, sizeof *many);
  OK(culet_prompt_new(many, 600, false, &prompt, &error));
  FAILS(culet_generate(model, prompt, NULL, NULL, NULL, &result, &error), CULET_RESOURCE,
        "600 tokens");
  culet_prompt_free(prompt);
  free(many);
}

static void CountReady(void* user) { __atomic_add_fetch((int*)user, 1, __ATOMIC_SEQ_CST); }

static void TestStream(culet_model* model) {
  culet_prompt* prompt = Ask(model);
  culet_result* whole = NULL;
  OK(culet_generate(model, prompt, kGreedy, NULL, NULL, &whole, &error));

  culet_answer* answer = NULL;
  OK(culet_start(model, prompt, kGreedy, &answer, &error));
  culet_prompt_free(prompt);  // was read
  int ready = 0;
  OK(culet_answer_on_ready(answer, CountReady, &ready, &error));
  char text[4096] = "";
  for (;;) {
    const culet_event* event = NULL;
    OK(culet_answer_next(answer, -1, &event, &error));
    if (event == NULL) break;
    CHECK(!culet_answer_ended(answer) || event->text_bytes > 0);
    strncat(text, event->text, sizeof text - strlen(text) - 1);
  }
  CHECK(culet_answer_ended(answer));
  CHECK(strcmp(text, culet_result_text(whole, NULL)) == 0);
  culet_result* result = NULL;
  OK(culet_answer_wait(answer, &result, &error));
  CHECK(strcmp(text, culet_result_text(result, NULL)) == 0);
  CHECK(__atomic_load_n(&ready, __ATOMIC_SEQ_CST) > 0);
  culet_result_free(result);
  FAILS(culet_answer_wait(answer, &result, &error), CULET_INVALID_ARGUMENT, "once");
  CHECK(result == NULL);
  OK(culet_answer_on_ready(answer, NULL, NULL, &error));
  const culet_event* event = NULL;
  FAILS(culet_answer_next(answer, NAN, &event, &error), CULET_INVALID_ARGUMENT, "seconds");
  culet_answer_free(answer);
  culet_result_free(whole);
}

static void TestFailure(culet_model* model) {
  const int32_t tokens[] = {2, 1 << 20};  // outside the vocabulary
  culet_prompt* prompt = NULL;
  culet_answer* answer = NULL;
  OK(culet_prompt_new(tokens, 2, false, &prompt, &error));
  OK(culet_start(model, prompt, kGreedy, &answer, &error));
  const culet_event* event = NULL;
  FAILS(culet_answer_next(answer, -1, &event, &error), CULET_INVALID_ARGUMENT, "1048576");
  CHECK(event == NULL && culet_answer_ended(answer));
  culet_result* result = NULL;
  FAILS(culet_answer_wait(answer, &result, &error), CULET_INVALID_ARGUMENT, "1048576");
  culet_answer_free(answer);
  culet_prompt_free(prompt);
}

static void* CancelSoon(void* user) {
  const struct timespec moment = {0, 20 * 1000 * 1000};
  nanosleep(&moment, NULL);
  culet_answer_cancel(user);
  return NULL;
}

static void TestCancel(culet_model* model) {
  culet_prompt* prompt = Ask(model);
  culet_answer* answer = NULL;
  OK(culet_start(model, prompt, kLong, &answer, &error));
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, CancelSoon, answer) == 0);
  culet_result* result = NULL;
  OK(culet_answer_wait(answer, &result, &error));
  pthread_join(thread, NULL);
  // A fast machine may have filled the context by then.
  const char* reason = culet_result_finish_reason(result);
  CHECK(strcmp(reason, "cancelled") == 0 || strcmp(reason, "length") == 0);
  culet_result_free(result);
  culet_answer_free(answer);

  // One that nobody waits for is cancelled.
  OK(culet_start(model, prompt, kLong, &answer, &error));
  culet_answer_free(answer);

  // Nothing in no time is not the end.
  OK(culet_start(model, prompt, kLong, &answer, &error));
  const culet_event* event = NULL;
  OK(culet_answer_next(answer, 0, &event, &error));
  CHECK(!culet_answer_ended(answer));
  OK(culet_answer_next(answer, 1e300, &event, &error));
  CHECK(event != NULL);
  culet_answer_free(answer);
  culet_prompt_free(prompt);
}

// ---- steps ----

static int32_t Likeliest(const float* logits, size_t vocab) {
  size_t best = 0;
  for (size_t i = 1; i < vocab; ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return (int32_t)best;
}

static void TestSteps(culet_model* model) {
  culet_prompt* prompt = Ask(model);
  culet_result* whole = NULL;
  OK(culet_generate(model, prompt, kGreedy, NULL, NULL, &whole, &error));
  size_t tokens_count = 0;
  const int32_t* tokens = culet_result_tokens(whole, &tokens_count);
  size_t prompt_count = 0;
  const int32_t* prompt_tokens = culet_prompt_tokens(prompt, &prompt_count);

  culet_session* session = NULL;
  OK(culet_session_new(model, &session, &error));
  const float* logits = NULL;
  size_t vocab = 0;
  OK(culet_session_append(session, prompt_tokens, prompt_count, &logits, &vocab, &error));
  CHECK((int64_t)vocab == culet_model_vocab(model));
  float* first = malloc(vocab * sizeof *first);
  memcpy(first, logits, vocab * sizeof *first);
  for (size_t i = 0; i < tokens_count; ++i) {
    const int32_t token = Likeliest(logits, vocab);
    CHECK(token == tokens[i]);
    OK(culet_session_append(session, &token, 1, &logits, &vocab, &error));
  }
  size_t count = 0;
  const int32_t* all = NULL;
  OK(culet_session_tokens(session, &all, &count, &error));
  CHECK(count == prompt_count + tokens_count &&
        memcmp(all, prompt_tokens, prompt_count * sizeof *all) == 0);

  // Back to the prompt's last token, and over it again: the same bits.
  OK(culet_session_pin(session, &error));
  OK(culet_session_rewind(session, (int64_t)prompt_count - 1, &error));
  OK(culet_session_append(session, prompt_tokens + prompt_count - 1, 1, &logits, &vocab, &error));
  CHECK(memcmp(first, logits, vocab * sizeof *first) == 0);
  CHECK(culet_session_recomputed_tokens(session) == 0);
  free(first);

  FAILS(culet_session_rewind(session, 10000, &error), CULET_INVALID_ARGUMENT, "10000");
  const int32_t none = -1;
  FAILS(culet_session_append(session, &none, 1, &logits, &vocab, &error), CULET_INVALID_ARGUMENT,
        "-1");
  CHECK(logits == NULL && vocab == 0);
  OK(culet_session_rewind(session, 0, &error));
  FAILS(culet_session_append(session, NULL, 0, &logits, &vocab, &error), CULET_INVALID_ARGUMENT,
        "empty");

  // The session answers too, from its KV.
  culet_result* result = NULL;
  OK(culet_session_generate(session, prompt, kGreedy, NULL, NULL, &result, &error));
  CHECK(strcmp(culet_result_text(result, NULL), culet_result_text(whole, NULL)) == 0);
  culet_result_free(result);
  culet_answer* answer = NULL;
  OK(culet_session_start(session, prompt, kLong, &answer, &error));
  FAILS(culet_session_rewind(session, 0, &error), CULET_INVALID_ARGUMENT, "answering already");
  culet_answer_free(answer);
  culet_session_free(session);
  culet_result_free(whole);
  culet_prompt_free(prompt);
}

// Keeps the likeliest token behind each row, and wants so many.
typedef struct Rows {
  int32_t likeliest[64];
  int64_t count, most;
} Rows;
static bool TakeRow(int64_t position, const float* logits, size_t vocab, void* user) {
  Rows* rows = user;
  CHECK(position == rows->count);
  rows->likeliest[rows->count++] = Likeliest(logits, vocab);
  return rows->count < rows->most;
}

static void TestLogits(culet_model* model) {
  culet_prompt* prompt = Ask(model);
  size_t count = 0;
  const int32_t* tokens = culet_prompt_tokens(prompt, &count);
  CHECK(count < 64);
  Rows rows = {{0}, 0, 64};
  OK(culet_model_logits(model, tokens, count, 0, TakeRow, &rows, &error));
  CHECK(rows.count == (int64_t)count);
  culet_result* result = NULL;
  OK(culet_generate(model, prompt, kGreedy, NULL, NULL, &result, &error));
  CHECK(rows.likeliest[count - 1] == culet_result_tokens(result, NULL)[0]);
  culet_result_free(result);

  Rows few = {{0}, 0, 3};
  OK(culet_model_logits(model, tokens, count, 0, TakeRow, &few, &error));
  CHECK(few.count == 3);
  culet_prompt_free(prompt);
}

// ---- embeddings ----

static bool StopAtOnce(uint64_t done, uint64_t total, void* user) {
  CHECK(done <= total);
  ++*(int*)user;
  return false;
}

static void TestEmbed(culet_model* model) {
  const char* const texts[] = {"What is 27 + 45?", "Sort: 9, 3, 7.", "What is 27 + 45?"};
  float* values = NULL;
  size_t dimensions = 0;
  int64_t tokens[3] = {0, 0, 0};
  OK(culet_embed(model, texts, 3, "{\"normalize\": true}", NULL, NULL, &values, &dimensions, tokens,
                 &error));
  CHECK(values != NULL && dimensions > 0 && tokens[0] > 0 && tokens[0] == tokens[2]);
  double same = 0, other = 0;
  for (size_t i = 0; i < dimensions; ++i) {
    same += (double)values[i] * values[2 * dimensions + i];
    other += (double)values[i] * values[dimensions + i];
  }
  CHECK(fabs(same - 1) < 1e-5 && other < 0.999);
  culet_free(values);

  OK(culet_embed(model, texts, 3, "{\"dimensions\": 8}", NULL, NULL, &values, &dimensions, NULL,
                 &error));
  CHECK(dimensions == 8);
  culet_free(values);
  OK(culet_embed(model, NULL, 0, NULL, NULL, NULL, &values, &dimensions, NULL, &error));
  culet_free(values);
  FAILS(culet_embed(model, texts, 3, "{\"dimensions\": 100000}", NULL, NULL, &values, &dimensions,
                    NULL, &error),
        CULET_INVALID_ARGUMENT, "dimensions");
  CHECK(values == NULL && dimensions == 0);
  NEEDS(culet_embed(NULL, texts, 3, NULL, NULL, NULL, &values, &dimensions, NULL, &error), "model");
  NEEDS(culet_embed(model, NULL, 3, NULL, NULL, NULL, &values, &dimensions, NULL, &error), "texts");
  NEEDS(culet_embed(model, texts, 3, NULL, NULL, NULL, NULL, &dimensions, NULL, &error), "values");
  NEEDS(culet_embed(model, texts, 3, NULL, NULL, NULL, &values, NULL, NULL, &error), "dimensions");
  const char* const none[] = {NULL};
  NEEDS(culet_embed(model, none, 1, NULL, NULL, NULL, &values, &dimensions, NULL, &error),
        "a text");

  // A fast machine may be done before it is asked.
  int asked = 0;
  OK(culet_embed(model, texts, 3, NULL, StopAtOnce, &asked, &values, &dimensions, NULL, &error));
  culet_free(values);
}

// ---- mistakes ----

// Every pointer that must not be NULL, once.
static void TestNull(culet_model* model) {
  culet_prompt* prompt = Ask(model);
  const culet_text* text = culet_model_text(model);
  char* json = NULL;
  culet_text* opened = NULL;
  culet_model* loaded = NULL;
  culet_prompt* made = NULL;
  culet_result* result = NULL;
  culet_answer* answer = NULL;
  culet_session* session = NULL;
  int32_t* tokens = NULL;
  const int32_t* kept = NULL;
  const float* logits = NULL;
  const culet_event* event = NULL;
  size_t count = 0;
  NEEDS(culet_describe_machine(NULL, &error), "json");
  NEEDS(culet_describe(NULL, NULL, &json, &error), "path");
  NEEDS(culet_describe("x", NULL, NULL, &error), "json");
  NEEDS(culet_find_model(NULL, &json, &error), "name");
  NEEDS(culet_find_model("x", NULL, &error), "path");
  NEEDS(culet_model_load(NULL, NULL, &loaded, &error), "path");
  NEEDS(culet_model_load("x", NULL, NULL, &error), "model");
  NEEDS(culet_model_info(NULL, &json, &error), "model");
  NEEDS(culet_model_info(model, NULL, &error), "json");
  NEEDS(culet_model_defaults(NULL, &json, &error), "model");
  NEEDS(culet_model_defaults(model, NULL, &error), "json");
  NEEDS(culet_model_statistics(NULL, &json, &error), "model");
  NEEDS(culet_model_statistics(model, NULL, &error), "json");
  NEEDS(culet_text_open(NULL, NULL, &opened, &error), "path");
  NEEDS(culet_text_open("x", NULL, NULL, &error), "text");
  NEEDS(culet_text_encode(NULL, "x", 1, &tokens, &count, &error), "text");
  NEEDS(culet_text_encode(text, NULL, 1, &tokens, &count, &error), "utf8");
  NEEDS(culet_text_encode(text, "x", 1, NULL, &count, &error), "tokens");
  NEEDS(culet_text_encode(text, "x", 1, &tokens, NULL, &error), "count");
  NEEDS(culet_text_decode(NULL, NULL, 0, &json, NULL, &error), "text");
  NEEDS(culet_text_decode(text, NULL, 1, &json, NULL, &error), "tokens");
  NEEDS(culet_text_decode(text, NULL, 0, NULL, NULL, &error), "utf8");
  const culet_message message = {"user", "x"}, roleless = {NULL, "x"}, empty = {"user", NULL};
  NEEDS(culet_text_chat(NULL, &message, 1, false, &made, &error), "text");
  NEEDS(culet_text_chat(text, NULL, 1, false, &made, &error), "messages");
  NEEDS(culet_text_chat(text, &roleless, 1, false, &made, &error), "role");
  NEEDS(culet_text_chat(text, &empty, 1, false, &made, &error), "content");
  NEEDS(culet_text_chat(text, &message, 1, false, NULL, &error), "prompt");
  NEEDS(culet_text_prompt(NULL, kQuestion, NULL, 0, &made, &error), "text");
  NEEDS(culet_text_prompt(text, NULL, NULL, 0, &made, &error), "request");
  NEEDS(culet_text_prompt(text, kQuestion, NULL, 1, &made, &error), "known");
  NEEDS(culet_text_prompt(text, kQuestion, NULL, 0, NULL, &error), "prompt");
  NEEDS(culet_text_render(NULL, kQuestion, &json, NULL, &error), "text");
  NEEDS(culet_text_render(text, NULL, &json, NULL, &error), "request");
  NEEDS(culet_text_render(text, kQuestion, NULL, NULL, &error), "utf8");
  NEEDS(culet_text_raw_prompt(NULL, "x", 1, &made, &error), "text");
  NEEDS(culet_text_raw_prompt(text, NULL, 1, &made, &error), "utf8");
  NEEDS(culet_text_raw_prompt(text, "x", 1, NULL, &error), "prompt");
  NEEDS(culet_prompt_new(NULL, 1, false, &made, &error), "tokens");
  NEEDS(culet_prompt_new(NULL, 0, false, NULL, &error), "prompt");
  NEEDS(culet_parse(NULL, 1, false, &json, &error), "utf8");
  NEEDS(culet_parse("x", 1, false, NULL, &error), "json");
  NEEDS(culet_result_json(NULL, &json, &error), "result");
  NEEDS(culet_generate(NULL, prompt, NULL, NULL, NULL, &result, &error), "model");
  NEEDS(culet_generate(model, NULL, NULL, NULL, NULL, &result, &error), "prompt");
  NEEDS(culet_start(NULL, prompt, NULL, &answer, &error), "model");
  NEEDS(culet_start(model, NULL, NULL, &answer, &error), "prompt");
  NEEDS(culet_start(model, prompt, NULL, NULL, &error), "answer");
  NEEDS(culet_answer_next(NULL, 0, &event, &error), "answer");
  NEEDS(culet_answer_wait(NULL, &result, &error), "answer");
  NEEDS(culet_answer_on_ready(NULL, NULL, NULL, &error), "answer");
  NEEDS(culet_session_new(NULL, &session, &error), "model");
  NEEDS(culet_session_new(model, NULL, &error), "session");
  NEEDS(culet_session_generate(NULL, prompt, NULL, NULL, NULL, &result, &error), "session");
  NEEDS(culet_session_start(NULL, prompt, NULL, &answer, &error), "session");
  NEEDS(culet_session_append(NULL, NULL, 0, &logits, &count, &error), "session");
  NEEDS(culet_session_rewind(NULL, 0, &error), "session");
  NEEDS(culet_session_pin(NULL, &error), "session");
  NEEDS(culet_session_tokens(NULL, &kept, &count, &error), "session");
  NEEDS(culet_model_logits(NULL, NULL, 0, 0, TakeRow, NULL, &error), "model");
  NEEDS(culet_model_logits(model, NULL, 1, 0, TakeRow, NULL, &error), "tokens");
  NEEDS(culet_model_logits(model, NULL, 0, 0, NULL, NULL, &error), "on_row");
  NEEDS(culet_pull(NULL, NULL, NULL, NULL, &json, &error), "name");
  NEEDS(culet_pull("e2b", NULL, NULL, NULL, NULL, &error), "folder");

  OK(culet_session_new(model, &session, &error));
  NEEDS(culet_session_generate(session, NULL, NULL, NULL, NULL, &result, &error), "prompt");
  NEEDS(culet_session_start(session, NULL, NULL, &answer, &error), "prompt");
  NEEDS(culet_session_start(session, prompt, NULL, NULL, &error), "answer");
  NEEDS(culet_session_append(session, NULL, 1, &logits, &count, &error), "tokens");
  culet_session_free(session);
  OK(culet_start(model, prompt, kGreedy, &answer, &error));
  NEEDS(culet_answer_next(answer, 0, NULL, &error), "event");
  NEEDS(culet_answer_wait(answer, NULL, &error), "result");
  culet_answer_free(answer);

  // What cannot fail has an answer too.
  CHECK(culet_model_text(NULL) == NULL && culet_model_context(NULL) == 0 &&
        culet_model_vocab(NULL) == 0);
  CHECK(culet_prompt_tokens(NULL, &count) == NULL && count == 0);
  CHECK(!culet_prompt_starts_in_thought(NULL) && culet_answer_ended(NULL));
  CHECK(strcmp(culet_result_text(NULL, &count), "") == 0 && count == 0);
  CHECK(strcmp(culet_result_thinking(NULL, NULL), "") == 0);
  CHECK(strcmp(culet_result_finish_reason(NULL), "") == 0);
  CHECK(culet_result_tokens(NULL, &count) == NULL && culet_result_tool_calls(NULL) == 0);
  CHECK(culet_session_recomputed_tokens(NULL) == 0);
  CHECK(culet_error_status(NULL) == CULET_OK && strcmp(culet_error_message(NULL), "") == 0);
  culet_answer_cancel(NULL);
  culet_model_free(NULL);
  culet_text_free(NULL);
  culet_prompt_free(NULL);
  culet_result_free(NULL);
  culet_answer_free(NULL);
  culet_session_free(NULL);
  culet_error_free(NULL);
  culet_free(NULL);
  culet_prompt_free(prompt);
}

static void TestInformation(culet_model* model) {
  char* json = NULL;
  OK(culet_model_info(model, &json, &error));
  CHECK(json != NULL && strstr(json, "\"context\":512,") != NULL);
  culet_free(json);
  OK(culet_model_defaults(model, &json, &error));
  CHECK(json != NULL && strstr(json, "\"stop_tokens\":[") != NULL);
  culet_free(json);
  OK(culet_model_statistics(model, &json, &error));
  CHECK(json != NULL && strstr(json, "\"answers\":") != NULL);
  culet_free(json);
  CHECK(culet_model_context(model) == 512);
}

// A session and an answer outlive the caller's hold of their model.
static void TestFreeingInAnyOrder(const char* path) {
  culet_model* model = Load(path);
  culet_prompt* prompt = Ask(model);
  culet_session* session = NULL;
  culet_answer* answer = NULL;
  OK(culet_session_new(model, &session, &error));
  OK(culet_start(model, prompt, kGreedy, &answer, &error));
  culet_model_free(model);
  culet_result* result = NULL;
  OK(culet_answer_wait(answer, &result, &error));
  culet_answer_free(answer);
  CHECK(strstr(culet_result_text(result, NULL), "72") != NULL);
  culet_result_free(result);
  OK(culet_session_generate(session, prompt, kGreedy, NULL, NULL, &result, &error));
  culet_session_free(session);
  CHECK(strstr(culet_result_text(result, NULL), "72") != NULL);
  culet_result_free(result);
  culet_prompt_free(prompt);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "capi_c_test MODEL\n");
    return 2;
  }
  TestDescribe(argv[1]);
  TestNames(argv[1]);
  TestMissingModel();
  TestTextAlone(argv[1]);
  culet_model* model = Load(argv[1]);
  TestText(model);
  TestGenerate(model);
  TestStream(model);
  TestFailure(model);
  TestCancel(model);
  TestSteps(model);
  TestLogits(model);
  TestEmbed(model);
  TestNull(model);
  TestInformation(model);
  culet_model_free(model);
  TestFreeingInAnyOrder(argv[1]);
  if (failures > 0) printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
