// Asks the installed model, through the installed interface.
#include <culet/culet.h>

#include <cstdio>

int main() try {
  const auto model = culet::Model::Load(PEBBLE);
  culet::GenerateOptions options;
  options.temperature = 0;
  const culet::Prompt prompt = model->text().RenderTokens(
      R"({"messages":[{"role":"user","content":"What is 27 + 45?"}],"add_generation_prompt":true})",
      "the question");
  std::puts(culet::Generate(model, prompt, options).text.c_str());
  try {
    culet::Model::Load(PEBBLE "/nowhere");
  } catch (const culet::Error& error) {  // its type is one and the same on both sides
    return error.kind() == culet::ErrorKind::kNotFound ? 0 : 2;
  }
  return 3;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
