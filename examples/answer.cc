// One answer, printed as it comes.
//
//   answer MODEL PROMPT
#include <culet/culet.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("usage: answer MODEL PROMPT");
  const auto model = culet::Model::Load(argv[1]);
  const culet::Prompt prompt = model->text().ChatPrompt({{"user", argv[2]}});
  culet::Answer answer = culet::Start(model, prompt, {});
  for (const culet::GenerateEvent& event : answer) std::cout << event.text << std::flush;
  std::cout << "\n";
  return 0;
} catch (const std::exception& error) {  // culet::Error, with the place and a way out
  std::cerr << error.what() << "\n";
  return 1;
}
