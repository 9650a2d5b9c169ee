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
  // Errors are of one and the same type on both sides. The hub's part needs the libraries that the
  // archive stands on, and goes out to no network here.
  culet::PullSettings settings;
  settings.offline = true;
  try {
    culet::Pull("e2b", settings);
  } catch (const culet::Error& error) {
    return error.kind() == culet::ErrorKind::kNotFound ? 0 : 2;
  }
  return 3;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
