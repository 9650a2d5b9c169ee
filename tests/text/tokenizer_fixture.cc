#include "tokenizer_fixture.h"

#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "base/error.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

std::optional<Tokenizer> LoadPublished() {
  const char* fixtures = std::getenv("CULET_FIXTURES");
  if (fixtures == nullptr || *fixtures == '\0') return std::nullopt;
  for (const fs::path& folder :
       {fs::path(fixtures) / "published" / "gemma-4", fs::path(fixtures)}) {
    const fs::path packed = folder / "tokenizer.json.xz";
    if (!fs::exists(packed)) continue;
    const fs::path unpacked =
        fs::temp_directory_path() / ("culet-tokenizer-" + std::to_string(::getpid()) + ".json");
    const std::string command = "xz -dc '" + packed.string() + "' > '" + unpacked.string() + "'";
    const int status = std::system(command.c_str());
    std::optional<Tokenizer> tokenizer;
    if (status == 0) tokenizer = Tokenizer::Load(FileSystem::Real(), unpacked);
    fs::remove(unpacked);
    if (!tokenizer) throw Error(ErrorKind::kIo, "cannot unpack " + packed.string() + " with xz");
    return tokenizer;
  }
  throw Error(ErrorKind::kNotFound,
              std::string("CULET_FIXTURES is ") + fixtures + ", which holds no tokenizer.json.xz");
}

}  // namespace

const Tokenizer* PublishedTokenizer() {
  static const std::optional<Tokenizer> tokenizer = LoadPublished();
  return tokenizer ? &*tokenizer : nullptr;
}

std::uint64_t TestSeed() {
  const char* seed = std::getenv("CULET_TEST_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : 20261125;
}

}  // namespace culet
