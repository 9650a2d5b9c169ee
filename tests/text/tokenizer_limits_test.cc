// If this fails, a tokenizer.json can make its reader take more memory than its size explains.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"
#include "tokenizer_fixture.h"

namespace culet {
namespace {

// The small tokenizer with `count` more added tokens of `bytes` bytes each.
std::string WithAddedTokens(std::size_t count, std::size_t bytes) {
  Json json = ParseJson(SmallTokenizerText("bare"), "tokenizer.json");
  std::size_t id = json["model"]["vocab"].size();
  for (const Json& token : json["added_tokens"]) {
    id = std::max(id, token["id"].get<std::size_t>() + 1);
  }
  for (std::size_t i = 0; i < count; ++i) {
    Json token = json["added_tokens"][0];
    token["content"] = std::to_string(100000 + i) + std::string(bytes - 6, 'x');
    token["id"] = id++;
    json["added_tokens"].push_back(token);
  }
  return json.dump();
}

TEST(TokenizerLimits, AddedTokensHaveAMegabyteTogetherAtMost) {
  EXPECT_NO_THROW(Tokenizer::Parse(WithAddedTokens(200, 4096), "tokenizer.json"));
  try {
    Tokenizer::Parse(WithAddedTokens(257, 4096), "tokenizer.json");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_NE(std::string(error.what()).find("bytes of content together"), std::string::npos);
  }
}

}  // namespace
}  // namespace culet
