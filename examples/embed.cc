// How alike texts are: each as a vector, and the cosine of the angle between the first and the
// others.
//
//   embed MODEL TEXT TEXT…
#include <culet/culet.h>

#include <iostream>
#include <numeric>

int main(int argc, char** argv) try {
  if (argc < 4) throw std::invalid_argument("usage: embed MODEL TEXT TEXT...");
  const auto model = culet::Model::Load(argv[1]);
  const std::vector<std::string> texts(argv + 2, argv + argc);
  culet::EmbedOptions options;
  options.normalize = true;
  const culet::Embeddings embeddings = culet::Embed(model, texts, options).value();
  const std::span<const float> first = embeddings.row(0);
  for (std::int64_t text = 1; text < embeddings.texts(); ++text) {
    const std::span<const float> other = embeddings.row(text);
    std::cout << std::inner_product(first.begin(), first.end(), other.begin(), 0.0) << "  "
              << texts[static_cast<std::size_t>(text)] << "\n";
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
