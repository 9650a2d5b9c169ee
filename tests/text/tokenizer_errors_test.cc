// If this fails, a tokenizer.json that lies or is of another kind is read as if all were well, or
// its refusal does not say what is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"
#include "tokenizer_fixture.h"

namespace culet {
namespace {

using ::testing::HasSubstr;

constexpr ErrorKind kCorrupt = ErrorKind::kCorrupt;
constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;

// Reading `text` must fail with `kind` and every one of `parts` in the message.
void ExpectRefused(const std::string& text, ErrorKind kind, const std::vector<std::string>& parts,
                   const std::string& name) {
  try {
    Tokenizer::Parse(text, "folder/tokenizer.json");
    ADD_FAILURE() << name << ": accepted";
  } catch (const Error& error) {
    EXPECT_EQ(ErrorKindName(error.kind()), ErrorKindName(kind)) << name << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr("folder/tokenizer.json: ")) << name;
    for (const std::string& part : parts) EXPECT_THAT(error.what(), HasSubstr(part)) << name;
  }
}

struct FieldCase {
  std::string name;
  std::function<void(Json&)> change;  // of the file "overlaps"
  ErrorKind kind;
  std::vector<std::string> parts;
};

TEST(TokenizerErrors, EveryFieldThatIsNotUnderstoodIsRefusedByItsName) {
  const Json good = ParseJson(SmallTokenizerText("overlaps"), "good");
  const TokenId vocab = static_cast<TokenId>(good["model"]["vocab"].size());
  const std::vector<FieldCase> cases = {
      {"no model", [](Json& j) { j.erase("model"); }, kCorrupt, {"has no \"model\""}},
      {"no vocab", [](Json& j) { j["model"].erase("vocab"); }, kCorrupt, {"\"vocab\""}},
      {"no merges", [](Json& j) { j["model"].erase("merges"); }, kCorrupt, {"\"merges\""}},
      {"no type",
       [](Json& j) { j["model"].erase("type"); },
       kUnsupported,
       {"model.type is missing", "\"BPE\""}},
      {"unigram",
       [](Json& j) { j["model"]["type"] = "Unigram"; },
       kUnsupported,
       {"model.type is \"Unigram\"", "\"BPE\""}},
      {"dropout",
       [](Json& j) { j["model"]["dropout"] = 0.1; },
       kUnsupported,
       {"model.dropout is 0.1", "null"}},
      {"prefix",
       [](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; },
       kUnsupported,
       {"model.continuing_subword_prefix is \"##\""}},
      {"suffix",
       [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; },
       kUnsupported,
       {"model.end_of_word_suffix is \"</w>\""}},
      {"byte_fallback off",
       [](Json& j) { j["model"]["byte_fallback"] = false; },
       kUnsupported,
       {"model.byte_fallback is false", "true"}},
      {"ignore_merges",
       [](Json& j) { j["model"]["ignore_merges"] = true; },
       kUnsupported,
       {"model.ignore_merges is true"}},
      {"normalizer kind",
       [](Json& j) { j["normalizer"]["type"] = "NFKC"; },
       kUnsupported,
       {"normalizer.type is \"NFKC\"", "\"Replace\""}},
      {"normalizer pattern",
       [](Json& j) {
         j["normalizer"]["pattern"] = {{"Regex", " +"}};
       },
       kUnsupported,
       {"normalizer.pattern", "Regex"}},
      {"normalizer content",
       [](Json& j) { j["normalizer"]["content"] = "_"; },
       kUnsupported,
       {"normalizer.content is \"_\""}},
      {"normalizer a string",
       [](Json& j) { j["normalizer"] = "NFC"; },
       kCorrupt,
       {"normalizer is a string", "an object"}},
      {"pre_tokenizer kind",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "ByteLevel"}};
       },
       kUnsupported,
       {"pre_tokenizer.type is \"ByteLevel\"", "\"Split\""}},
      {"pre_tokenizer behaviour",
       [](Json& j) { j["pre_tokenizer"]["behavior"] = "Isolated"; },
       kUnsupported,
       {"pre_tokenizer.behavior is \"Isolated\"", "MergedWithPrevious"}},
      {"post_processor",
       [](Json& j) {
         j["post_processor"] = {{"type", "BertProcessing"}};
       },
       kUnsupported,
       {"post_processor.type is \"BertProcessing\""}},
      {"post_processor without single",
       [](Json& j) { j["post_processor"].erase("single"); },
       kCorrupt,
       {"post_processor.single is missing", "array"}},
      {"post_processor that drops the text",
       [](Json& j) { j["post_processor"]["single"] = Json::array(); },
       kCorrupt,
       {"post_processor.single has no Sequence"}},
      {"post_processor with the text twice",
       [](Json& j) {
         Json& single = j["post_processor"]["single"];
         single.push_back(single.back());
       },
       kUnsupported,
       {"post_processor.single[", "the sequence \"A\""}},
      {"post_processor with a token of no ids",
       [](Json& j) {
         j["post_processor"]["single"].push_back({{"SpecialToken", {{"id", "<b>"}}}});
       },
       kCorrupt,
       {"post_processor.special_tokens has no ids of \"<b>\""}},
      {"post_processor with an id outside",
       [](Json& j) {
         j["post_processor"]["single"].push_back({{"SpecialToken", {{"id", "<b>"}}}});
         j["post_processor"]["special_tokens"]["<b>"] = {{"ids", {99999999}}};
       },
       kCorrupt,
       {"post_processor.special_tokens: an id of \"<b>\" is 99999999"}},
      {"post_processor with tokens without end",
       [](Json& j) {
         j["post_processor"]["single"].push_back({{"SpecialToken", {{"id", "<b>"}}}});
         j["post_processor"]["special_tokens"]["<b>"] = {{"ids", std::vector<int>(65, 0)}};
       },
       kCorrupt,
       {"more than 64 tokens"}},
      {"no decoder", [](Json& j) { j.erase("decoder"); }, kUnsupported, {"decoder is null"}},
      {"decoder kind",
       [](Json& j) {
         j["decoder"] = {{"type", "Metaspace"}};
       },
       kUnsupported,
       {"decoder.type is \"Metaspace\""}},
      {"decoder list",
       [](Json& j) { j["decoder"]["decoders"] = 3; },
       kCorrupt,
       {"decoder.decoders"}},
      {"one decoder more",
       [](Json& j) {
         j["decoder"]["decoders"].push_back({{"type", "Strip"}});
       },
       kUnsupported,
       {"decoder.decoders[3]", "Strip"}},
      {"no byte fallback in the decoder",
       [](Json& j) { j["decoder"]["decoders"].erase(1); },
       kUnsupported,
       {"ByteFallback"}},
      {"added_tokens an object",
       [](Json& j) { j["added_tokens"] = Json::object(); },
       kCorrupt,
       {"added_tokens is an object", "an array"}},
      {"added token a string",
       [](Json& j) { j["added_tokens"][1] = "<bos>"; },
       kCorrupt,
       {"added_tokens[1] is a string"}},
      {"content missing",
       [](Json& j) { j["added_tokens"][1].erase("content"); },
       kCorrupt,
       {"added_tokens[1] has no \"content\""}},
      {"content empty",
       [](Json& j) { j["added_tokens"][1]["content"] = ""; },
       kCorrupt,
       {"added_tokens[1].content has 0 bytes"}},
      {"content huge",
       [](Json& j) { j["added_tokens"][1]["content"] = std::string(5000, 'x'); },
       kCorrupt,
       {"added_tokens[1].content has 5000 bytes", "4096"}},
      {"content one character",
       [](Json& j) { j["added_tokens"][1]["content"] = "界"; },
       kUnsupported,
       {"added_tokens[1].content", "界"}},
      {"not special",
       [](Json& j) { j["added_tokens"][2]["special"] = false; },
       kUnsupported,
       {"added_tokens[2].special is false", "true"}},
      {"normalized",
       [](Json& j) { j["added_tokens"][2]["normalized"] = true; },
       kUnsupported,
       {"added_tokens[2].normalized is true"}},
      {"lstrip",
       [](Json& j) { j["added_tokens"][2]["lstrip"] = true; },
       kUnsupported,
       {"added_tokens[2].lstrip is true"}},
      {"rstrip",
       [](Json& j) { j["added_tokens"][2]["rstrip"] = true; },
       kUnsupported,
       {"added_tokens[2].rstrip is true"}},
      {"single_word",
       [](Json& j) { j["added_tokens"][2]["single_word"] = true; },
       kUnsupported,
       {"added_tokens[2].single_word is true"}},
      {"added id missing",
       [](Json& j) { j["added_tokens"][2].erase("id"); },
       kCorrupt,
       {"added_tokens[2].id is missing"}},
      {"added id negative",
       [](Json& j) { j["added_tokens"][2]["id"] = -1; },
       kCorrupt,
       {"added_tokens[2].id is -1"}},
      {"added id of another",
       [](Json& j) { j["added_tokens"][2]["id"] = 7; },
       kCorrupt,
       {"added_tokens[2]", "id 7", "model.vocab says 2"}},
      {"added id with a gap",
       [vocab](Json& j) {
         j["added_tokens"][2]["content"] = "<new>";
         j["added_tokens"][2]["id"] = vocab + 1;
       },
       kCorrupt,
       {"added_tokens[2]", "<new>", "next free id is " + std::to_string(vocab)}},
      {"added twice",
       [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); },
       kCorrupt,
       {"<unk>", "once more"}},
      {"added byte token",
       [](Json& j) {
         j["added_tokens"][2]["content"] = "<0x41>";
         j["added_tokens"][2]["id"] = j["model"]["vocab"]["<0x41>"];
       },
       kUnsupported,
       {"added_tokens", "<0x41>"}},
      {"added token that a merge makes",
       [](Json& j) {
         j["added_tokens"][2]["content"] = "abc";
         j["added_tokens"][2]["id"] = j["model"]["vocab"]["abc"];
       },
       kUnsupported,
       {"model.merges[", "\"abc\""}},
      {"byte token missing",
       [](Json& j) {
         j["model"]["vocab"]["another"] = j["model"]["vocab"]["<0x7F>"];
         j["model"]["vocab"].erase("<0x7F>");
       },
       kCorrupt,
       {"no \"<0x7F>\"", "byte_fallback"}},
      {"a merge with a byte token",
       [vocab](Json& j) {
         j["model"]["vocab"]["<0x41>a"] = vocab;
         j["model"]["merges"].push_back({"<0x41>", "a"});
       },
       kUnsupported,
       {"model.merges[", "<0x41>"}},
      {"id missing",
       [vocab](Json& j) { j["model"]["vocab"]["new"] = vocab + 5; },
       kCorrupt,
       {"no entry with id " + std::to_string(vocab)}},
      {"id twice",
       [](Json& j) { j["model"]["vocab"]["new"] = 9; },
       kCorrupt,
       {"gives id 9 to two entries"}},
      {"id negative",
       [](Json& j) { j["model"]["vocab"]["a"] = -4; },
       kCorrupt,
       {"expected an integer from 0 on"}},
      {"id a fraction",
       [](Json& j) { j["model"]["vocab"]["a"] = 1.5; },
       kCorrupt,
       {"expected an integer from 0 on"}},
      {"id huge",
       [](Json& j) { j["model"]["vocab"]["a"] = 1ull << 40; },
       kCorrupt,
       {"larger than 2147483647"}},
      {"vocab an array",
       [](Json& j) { j["model"]["vocab"] = Json::array(); },
       kCorrupt,
       {"model.vocab", "'{'"}},
      {"merges an object",
       [](Json& j) { j["model"]["merges"] = Json::object(); },
       kCorrupt,
       {"model.merges", "'['"}},
      {"merge of one piece",
       [](Json& j) { j["model"]["merges"][3] = {"a"}; },
       kCorrupt,
       {"between the two strings of a merge"}},
      {"merge of three",
       [](Json& j) {
         j["model"]["merges"][3] = {"a", "b", "c"};
       },
       kCorrupt,
       {"after the two strings of a merge"}},
      {"merge of numbers",
       [](Json& j) {
         j["model"]["merges"][3] = {1, 2};
       },
       kCorrupt,
       {"where a string begins"}},
      {"merge with two spaces",
       [](Json& j) { j["model"]["merges"][3] = "a b c"; },
       kCorrupt,
       {"\"a b c\"", "one space"}},
      {"merge with an unknown side",
       [](Json& j) {
         j["model"]["merges"][3] = {"a", "nowhere"};
       },
       kCorrupt,
       {"model.merges[3]", "\"nowhere\"", "does not hold"}},
      {"merge with an unknown result",
       [](Json& j) {
         j["model"]["merges"][3] = {"é", "a"};
       },
       kCorrupt,
       {"model.merges[3]", "\"éa\"", "does not hold"}},
      {"merge of an empty piece",
       [vocab](Json& j) {
         j["model"]["vocab"][""] = vocab;
         j["model"]["merges"][3] = {"", "a"};
       },
       kCorrupt,
       {"model.merges[3]", "empty piece"}},
      {"merge twice",
       [](Json& j) { j["model"]["merges"].push_back(j["model"]["merges"][3]); },
       kCorrupt,
       {"model.merges[", "twice"}},
  };
  for (const FieldCase& c : cases) {
    Json changed = good;
    c.change(changed);
    ExpectRefused(changed.dump(), c.kind, c.parts, c.name);
  }
  EXPECT_NO_THROW(Tokenizer::Parse(good.dump(), "good"));
}

TEST(TokenizerErrors, TextThatIsNotJsonIsRefusedWithLineAndColumn) {
  struct Case {
    std::string text;
    std::string part;
  };
  const std::string deep(100000, '[');
  const Case cases[] = {
      {"", "line 1, column 1"},
      {"   ", "the end of the file"},
      {"null", "'{'"},
      {"[1]", "'{'"},
      {"{", "line 1, column 2"},
      {"{\"version\"}", "':'"},
      {"{\"version\": \"1.0\",}", "string begins"},
      {"{\"version\": \"1.0\"} x", "text follows"},
      {"{\"version\": \"1.0\"", "','"},
      {"{\"version\": \"1.0", "ends inside a string"},
      {"{\n\"version\": \"a\nb\"}", "line 2"},
      {"{\"version\": \"\\x\"}", "unknown escape"},
      {"{\"version\": \"\\u12g4\"}", "hexadecimal"},
      {"{\"version\": \"\\ud800\"}", "surrogate"},
      {"{\"version\": \"\\ud800\\u0041\"}", "surrogate"},
      {"{\"version\": \"\xff\"}", "UTF-8"},
      {"{\"version\": 1.0, \"version\": 1.0}", "twice"},
      {"{\"version\": tru}", "version"},
      {"{\"version\": [1}}", "bracket"},
      {"{\"version\": ]", "bracket"},
      {"{\"version\": ,", "expected a value"},
      {"{\"version\": " + deep, "nested deeper than"},
      {"{\"model\": {\"type\": \"BPE\", \"type\": \"BPE\"}}", "twice"},
      {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []}}",
       "twice"},
      {"{\"model\": {\"vocab\": {}, \"vocab\": {}}}", "twice"},
      {"{\"model\": {\"vocab\": {\"a\": 01}}}", "integer"},
      {"{\"model\": {\"vocab\": {\"a\": 1e3}}}", "integer"},
      {"{\"model\": {\"vocab\": {\"a\\ud83d\": 1}}}", "surrogate"},
      {"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [,]}}", "a merge of two strings"},
      {"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\",\"a\"],]}}", "after a comma"},
  };
  for (const Case& c : cases) ExpectRefused(c.text, kCorrupt, {c.part}, c.text.substr(0, 60));
}

TEST(TokenizerErrors, AMissingFileIsNamed) {
  try {
    Tokenizer::Load(FileSystem::Real(), "no/such/tokenizer.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("no/such/tokenizer.json"));
  }
}

TEST(TokenizerErrors, AFailureOfTheFileSystemIsPassedOn) {
  class Failing : public FileSystem {
   public:
    MappedFile Map(const std::filesystem::path& path) override {
      throw Error(ErrorKind::kIo, path.string() + ": cannot map");
    }
  };
  Failing files;
  EXPECT_THROW(Tokenizer::Load(files, SmallTokenizerPath("bare")), Error);
}

// Whatever stands in the file, the answer is a tokenizer or an Error, and a tokenizer can be used.
TEST(TokenizerErrors, FilesWithRandomDamageAreReadOrRefusedAndNeverWorse) {
  std::mt19937_64 random(TestSeed());
  const std::vector<std::string> pieces = {"\"",      "{",          "}",     "[",
                                           "]",       ",",          ":",     "\\",
                                           "a",       "0",          "\n",    "\xff",
                                           "\\u0041", "<0x41>",     "-",     "1e",
                                           "null",    "true",       "\"a\"", "[\"a\",\"b\"]",
                                           " ",       "",           "\0x",   "▁",
                                           "\\ud83d", "99999999999"};
  int read = 0;
  for (const std::string name : {"overlaps", "bare"}) {
    const std::string good = SmallTokenizerText(name);
    for (int i = 0; i < 4000; ++i) {
      std::string text = good;
      const int changes = 1 + static_cast<int>(random() % 3);
      for (int change = 0; change < changes; ++change) {
        const std::size_t at = random() % text.size();
        const std::size_t length = random() % 4 == 0 ? random() % 200 : random() % 3;
        text.replace(at, length, pieces[random() % pieces.size()]);
        if (random() % 40 == 0) text.resize(random() % (text.size() + 1));
        if (text.empty()) break;
      }
      try {
        const Tokenizer tokenizer = Tokenizer::Parse(text, "damaged");
        ++read;
        const std::vector<TokenId> ids = tokenizer.Encode("ab cd <a> 世界\xff <bos>\n");
        for (const TokenId id : ids) ASSERT_LT(id, tokenizer.vocab_size());
        (void)tokenizer.Decode(ids);
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(read, 100);  // else the damage is too plain to test what stands behind the parser
}

}  // namespace
}  // namespace culet
