// The model step by step: a prompt's rows, then a token a step, each chosen here and not by culet.
// Then back to the prompt, to see what would have followed the second likeliest beginning.
//
//   steps MODEL PROMPT
#include <culet/culet.h>

#include <algorithm>
#include <iostream>
#include <numeric>

// The ids of the `count` largest logits [vocab], falling.
static std::vector<culet::TokenId> Likeliest(std::span<const float> logits, std::size_t count) {
  std::vector<culet::TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
                    [&](culet::TokenId a, culet::TokenId b) { return logits[a] > logits[b]; });
  ids.resize(count);
  return ids;
}

// Goes on greedily from `first` until a token that ends answers.
static std::string GoOn(culet::Session& session, culet::TokenId first) {
  const std::vector<culet::TokenId>& stops = session.model().defaults().stop_tokens;
  std::vector<culet::TokenId> answer;
  for (culet::TokenId token = first; std::find(stops.begin(), stops.end(), token) == stops.end();) {
    answer.push_back(token);
    token = Likeliest(session.Append({&token, 1}), 1).front();
  }
  return session.model().text().Decode(answer);
}

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("usage: steps MODEL PROMPT");
  culet::LoadOptions options;
  options.rewind_tokens = 128;  // sliding layers forget what is behind their window otherwise
  const auto model = culet::Model::Load(argv[1], options);
  const culet::Prompt prompt = model->text().ChatPrompt({{"user", argv[2]}});

  culet::Session session(model);
  const std::vector<culet::TokenId> first = Likeliest(session.Append(prompt.tokens), 2);
  const std::int64_t end = static_cast<std::int64_t>(session.tokens().size());
  std::cout << "likeliest: " << GoOn(session, first[0]) << "\n";
  session.Rewind(end);
  std::cout << "second: " << GoOn(session, first[1]) << "\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
