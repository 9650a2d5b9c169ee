// Many prompts at once: the model computes them together, and each pass over the weights makes a
// token for every one of them. An answer does not depend on its company.
//
//   many MODEL PROMPT…
#include <culet/culet.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("usage: many MODEL PROMPT...");
  const auto model = culet::Model::Load(argv[1]);
  std::vector<culet::Answer> answers;
  for (int i = 2; i < argc; ++i) {
    answers.push_back(culet::Start(model, model->text().ChatPrompt({{"user", argv[i]}}), {}));
  }
  // All are in the making by now. Wait for them in order; to take what comes first, see OnReady.
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const culet::GenerateResult result = answers[i].Wait();
    std::cout << argv[i + 2] << "  " << result.text << "\n";
    tokens += result.completion_tokens;
  }
  std::cerr << tokens << " tokens in " << model->statistics().steps << " steps\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
