// Asks the model that it is given, through the C interface.
#include <culet.h>
#include <stdio.h>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const culet_message messages[] = {{"user", "What is 27 + 45?"}};
  culet_error* error = NULL;
  culet_model* model = NULL;
  culet_prompt* prompt = NULL;
  culet_result* result = NULL;
  culet_model_load(argv[1], NULL, &model, &error);
  if (!error) culet_text_chat(culet_model_text(model), messages, 1, false, &prompt, &error);
  if (!error) culet_generate(model, prompt, NULL, NULL, NULL, &result, &error);
  puts(error ? culet_error_message(error) : culet_result_text(result, NULL));
  const int exit_code = error ? 1 : 0;
  culet_result_free(result);
  culet_prompt_free(prompt);
  culet_model_free(model);
  culet_error_free(error);
  return exit_code;
}
