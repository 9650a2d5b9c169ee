// One answer, printed as it comes, in C.
//
//   answer_c MODEL PROMPT
#include <culet.h>
#include <stdio.h>

static bool Print(const culet_event* event, void* user) {
  (void)user;
  fputs(event->text, stdout);
  fflush(stdout);
  return true;  // go on
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: answer_c MODEL PROMPT\n");
    return 2;
  }
  culet_error* error = NULL;
  culet_model* model = NULL;
  culet_prompt* prompt = NULL;
  const culet_message messages[] = {{"user", argv[2]}};
  culet_model_load(argv[1], "{\"context\": 1024}", &model, &error);
  if (!error) culet_text_chat(culet_model_text(model), messages, 1, false, &prompt, &error);
  if (!error) culet_generate(model, prompt, "{\"temperature\": 0}", Print, NULL, NULL, &error);
  puts("");
  if (error) fprintf(stderr, "%s\n", culet_error_message(error));
  const int exit_code = error ? 1 : 0;
  culet_error_free(error);
  culet_prompt_free(prompt);
  culet_model_free(model);
  return exit_code;
}
