// The memory that a model will take, asked before it is loaded; then an answer with its thought,
// which is stopped after so many pieces, as a user's Ctrl-C would.
//
//   stream MODEL PROMPT PIECES
#include <culet/culet.h>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 4) throw std::invalid_argument("usage: stream MODEL PROMPT PIECES");
  culet::LoadOptions options;
  options.context = 1024;
  const culet::ModelInfo plan = culet::Describe(argv[1], options);
  std::cout << plan.variant << " needs " << (plan.resident_bytes >> 20) << " MiB, of them "
            << (plan.kv_bytes >> 20) << " for " << plan.context << " tokens of context\n";

  const auto model = culet::Model::Load(argv[1], options);
  const culet::Prompt prompt = model->text().ChatPrompt({{"user", argv[2]}}, /*think=*/true);
  int pieces = std::atoi(argv[3]);
  const culet::GenerateResult result = culet::Generate(
      model, prompt, {},
      [&](const culet::GenerateEvent& event) {
        const bool thinking = event.kind == culet::GenerateEvent::Kind::kThinking;
        std::cout << (thinking ? "thinks: " : "says: ") << event.text << "\n";
        --pieces;
      },
      [&] { return pieces <= 0; });  // from now on the answer ends before the model's next step
  std::cout << "ended by " << culet::FinishReasonName(result.finish_reason) << " after "
            << result.completion_tokens << " tokens\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
