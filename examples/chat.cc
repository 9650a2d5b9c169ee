// A conversation, a line a turn. The session keeps what the model has seen, so that a turn computes
// only what is new in it.
//
//   chat MODEL < lines
#include <culet/culet.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 2) throw std::invalid_argument("usage: chat MODEL");
  culet::LoadOptions options;
  options.rewind_tokens = 256;  // going back over what the template drops costs nothing then
  const auto model = culet::Model::Load(argv[1], options);
  culet::Session session(model);
  std::vector<culet::Message> messages;
  for (std::string line; std::getline(std::cin, line);) {
    messages.push_back({"user", line});
    // A text has many tokenizations: what the model wrote keeps the tokens that it wrote it in.
    const culet::Prompt prompt = model->text().ChatPrompt(messages, false, session.tokens());
    const culet::GenerateResult result = session.Generate(prompt, {});
    std::cout << result.text << "   [" << result.computed_tokens << " of " << result.prompt_tokens
              << " tokens computed]\n";
    messages.push_back({"assistant", result.text});
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
