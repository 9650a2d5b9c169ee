// Fails where embed gives other vectors in one of its forms than in another, or names a text
// wrongly.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/npy.h"
#include "cli/program.h"

namespace culet {
namespace {

using nlohmann::json;

std::vector<json> Lines(const std::string& out) {
  std::vector<json> lines;
  std::istringstream in(out);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(json::parse(line, nullptr, false));
  }
  return lines;
}

std::string Output(const TemporaryFolder& folder, const std::string& line,
                   const std::string& input = "") {
  const Finished finished = RunShell(folder.path(), line, input);
  EXPECT_EQ(finished.exit_code, 0) << line << "\n" << finished.error;
  EXPECT_EQ(finished.error, "") << line;
  return finished.out;
}

TEST(Embed, GivesTheSameVectorsAsLinesObjectAndFile) {
  const TemporaryFolder folder;
  const std::string words = "culet embed pebble 'A cat sat.' 'What is 27 + 45?' --normalize ";
  const std::vector<json> lines = Lines(Output(folder, words));
  ASSERT_EQ(lines.size(), 2u);
  const json object = json::parse(Output(folder, words + "--json"), nullptr, false);
  for (const char* key :
       {"model", "pooling", "normalized", "dimensions", "tokens", "embeddings", "timings"}) {
    EXPECT_TRUE(object.contains(key)) << key << " in " << object;
  }
  EXPECT_EQ(object["pooling"], "mean");
  EXPECT_EQ(object["normalized"], true);
  EXPECT_EQ(object["dimensions"], 128);
  EXPECT_EQ(object["tokens"].size(), 2u);
  EXPECT_EQ(object["embeddings"], json(lines));
  Output(folder, words + "--out vectors.npy");
  const std::vector<float> values = ReadNpy(folder.Read("vectors.npy"), "2, 128");
  ASSERT_EQ(values.size(), 256u);
  double squares = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(lines[i / 128][i % 128].get<float>(), values[i]) << "decimals are read back exactly";
    squares += static_cast<double>(values[i]) * values[i];
  }
  EXPECT_NEAR(squares, 2, 1e-5);
}

TEST(Embed, OfALineIsThatOfTheWordAlone) {
  const TemporaryFolder folder;
  std::string input, strings;
  for (int i = 0; i < 600; ++i) {  // more than are given to the model at once
    input += "Number " + std::to_string(i % 7) + "\n";
    strings += "\"Number " + std::to_string(i % 7) + "\"\n";
  }
  const std::string options = " --pooling last --dimensions 16 ";
  const std::string out = Output(folder, "culet embed pebble -" + options, input);
  const std::vector<json> lines = Lines(out);
  ASSERT_EQ(lines.size(), 600u);
  EXPECT_EQ(Output(folder, "culet embed pebble --jsonl" + options, strings), out);
  for (int i = 0; i < 7; ++i) {
    const std::string alone =
        Output(folder, "culet embed pebble 'Number " + std::to_string(i) + "'" + options);
    const json vector = json::parse(alone, nullptr, false);
    ASSERT_EQ(vector.size(), 16u);
    for (std::size_t line = static_cast<std::size_t>(i); line < 600; line += 7) {
      EXPECT_EQ(lines[line], vector) << line;
    }
  }
  EXPECT_EQ(Lines(Output(folder, "culet embed pebble --jsonl", "\"two\\nlines\"\n")).size(), 1u);
}

TEST(Embed, BosIsThatOfTheTokenizerOrOfTheOption) {
  const TemporaryFolder folder;
  const auto tokens = [&](const std::string& options) {
    return json::parse(Output(folder, "culet embed " + options + " --json"), nullptr,
                       false)["tokens"][0]
        .get<int>();
  };
  const int bare = tokens("pebble Hi");
  EXPECT_EQ(tokens("pebble Hi --bos"), bare + 1);
  // A base model's tokenizer.json.
  RunShell(folder.path(),
           "mkdir m && cp $SOURCE/models/pebble/* m && python3 - <<END\n"
           "import json\n"
           "t = json.load(open('m/tokenizer.json'))\n"
           "p = t['post_processor']\n"
           "p['single'].insert(0, {'SpecialToken': {'id': '<bos>', 'type_id': 0}})\n"
           "p['special_tokens']['<bos>'] = {'id': '<bos>', 'ids': [2], 'tokens': ['<bos>']}\n"
           "json.dump(t, open('m/tokenizer.json', 'w'))\n"
           "END\n");
  EXPECT_EQ(tokens("m Hi"), bare + 1);
  EXPECT_EQ(tokens("m Hi --no-bos"), bare);
  EXPECT_EQ(Output(folder, "culet embed m Hi"), Output(folder, "culet embed pebble Hi --bos"));
}

}  // namespace
}  // namespace culet
