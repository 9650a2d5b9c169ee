#include "text/tokenizer_file.h"

#include <initializer_list>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "text/json_reader.h"

namespace culet {
namespace {

constexpr std::string_view kUnderline = "\xe2\x96\x81";  // "▁"
// A longer control token is a mistake, and each of its bytes costs a node of the trie. The
// published ones have 203 bytes together.
constexpr std::size_t kMaxAddedTokenBytes = 4096;
constexpr std::size_t kMaxAddedBytes = std::size_t{1} << 20;
constexpr std::size_t kMostTokensAround = 64;

std::string Quoted(std::string_view text) { return JsonExcerpt(Json(std::string(text))); }

// {"String": "…"}. By its member, as a list in braces loses memory where an allocation fails.
Json StringPattern(std::string_view text) {
  Json pattern = Json::object();
  pattern["String"] = text;
  return pattern;
}

std::string ByteTokenText(unsigned byte) {
  constexpr char kHex[] = "0123456789ABCDEF";
  return std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">";
}

std::string MergePath(std::size_t rank) { return "model.merges[" + std::to_string(rank) + "]"; }

class Parser {
 public:
  Parser(std::string_view text, const std::string& place)
      : text_(text), place_(place), reader_(text, place) {}

  TokenizerFile Run();

 private:
  [[noreturn]] void Corrupt(const std::string& what) const {
    throw Error(ErrorKind::kCorrupt, place_ + ": " + what);
  }
  [[noreturn]] void Unsupported(const std::string& field, const std::string& found,
                                const std::string& known) const {
    throw Error(ErrorKind::kUnsupported,
                place_ + ": " + field + " is " + found + "; culet knows " + known +
                    ". It reads the tokenizer.json of Gemma 4 and of models made like it");
  }
  // `object`.`key` must be one of `allowed`, or missing where null is allowed.
  void Require(const Json& object, const std::string& path, const char* key,
               std::initializer_list<Json> allowed) const;
  void RequireObject(const Json& value, const std::string& path) const;
  // The string `object`.`key`.
  std::string String(const Json& object, const std::string& path, const char* key) const;
  Json Raw(const std::string& path);

  void ReadModel();
  void ReadVocab();
  void ReadMerges();
  // Looks up merges whose pieces end at `ends` in `arena`, two for each, and empties both.
  void ResolveMerges(std::string* arena, std::vector<std::size_t>* ends);
  void CheckModel(const Json& settings) const;
  void CheckNormalizer(const Json& value);
  void CheckPreTokenizer(const Json& value);
  void ReadPostProcessor(const Json& value);
  void AddSpecialToken(const Json& post_processor, const std::string& name,
                       std::vector<TokenId>* ids) const;
  void CheckDecoder(const Json& value);
  void FindByteTokens();
  // No merge may have a token that is marked in `forbidden` [vocab] as a side or as its result.
  void ForbidInMerges(const std::vector<bool>& forbidden, const std::string& what,
                      const std::string& known) const;
  void ReadAddedTokens(const Json& value);

  const std::string_view text_;
  const std::string place_;
  JsonReader reader_;
  TokenizerFile file_;
};

void Parser::Require(const Json& object, const std::string& path, const char* key,
                     std::initializer_list<Json> allowed) const {
  const auto member = object.find(key);
  const Json value = member == object.end() ? Json() : *member;
  std::string known;
  for (const Json& one : allowed) {
    if (value == one) return;
    if (!known.empty()) known += " and ";
    known += one.dump();
  }
  Unsupported(path + "." + key, member == object.end() ? "missing" : JsonExcerpt(value), known);
}

void Parser::RequireObject(const Json& value, const std::string& path) const {
  if (!value.is_object()) {
    Corrupt(path + " is " + JsonTypeName(value) + "; expected an object");
  }
}

std::string Parser::String(const Json& object, const std::string& path, const char* key) const {
  const auto member = object.find(key);
  if (member == object.end()) Corrupt(path + " has no \"" + key + "\"; expected a string there");
  if (!member->is_string()) {
    Corrupt(path + "." + key + " is " + JsonTypeName(*member) + "; expected a string");
  }
  return member->get<std::string>();
}

Json Parser::Raw(const std::string& path) {
  return ParseJson(reader_.ReadRaw(), place_ + ": " + path);
}

TokenizerFile Parser::Run() {
  Json normalizer;
  Json pre_tokenizer;
  Json post_processor;
  Json decoder;
  Json added_tokens = Json::array();
  bool model = false;
  std::set<std::string, std::less<>> seen;
  std::string_view key;
  reader_.Expect('{', "where the file's object begins");
  for (bool first = true; reader_.NextMember(first, &key); first = false) {
    const std::string name(key);
    if (!seen.insert(name).second) {
      reader_.Fail("the member " + Quoted(name) + " stands twice; keep one of them");
    }
    if (name == "model") {
      ReadModel();
      model = true;
    } else if (name == "normalizer") {
      normalizer = Raw(name);
    } else if (name == "pre_tokenizer") {
      pre_tokenizer = Raw(name);
    } else if (name == "post_processor") {
      post_processor = Raw(name);
    } else if (name == "decoder") {
      decoder = Raw(name);
    } else if (name == "added_tokens") {
      added_tokens = Raw(name);
    } else {
      // version, truncation, padding and what others add: nothing that changes ids here.
      Raw(name);
    }
  }
  reader_.ExpectEnd();
  if (!model) Corrupt("has no \"model\"; is this a tokenizer.json?");
  CheckNormalizer(normalizer);
  CheckPreTokenizer(pre_tokenizer);
  CheckDecoder(decoder);
  FindByteTokens();
  ReadAddedTokens(added_tokens);
  ReadPostProcessor(post_processor);
  return std::move(file_);
}

void Parser::ReadModel() {
  Json settings = Json::object();
  bool vocab = false;
  std::optional<std::size_t> merges_at;  // merges that stand before the vocabulary they speak of
  bool merges = false;
  std::string_view key;
  reader_.Expect('{', "where \"model\" begins");
  for (bool first = true; reader_.NextMember(first, &key); first = false) {
    const std::string name(key);
    const bool again =
        (name == "vocab" && vocab) || (name == "merges" && merges) || settings.contains(name);
    if (again) reader_.Fail("the member model." + name + " stands twice; keep one of them");
    if (name == "vocab") {
      // Before a million strings are read for nothing: another kind of model has another vocab.
      const auto type = settings.find("type");
      if (type != settings.end() && !IsString(*type, "BPE")) CheckModel(settings);
      ReadVocab();
      vocab = true;
    } else if (name == "merges") {
      merges = true;
      if (vocab) {
        ReadMerges();
      } else {
        reader_.Peek();
        merges_at = reader_.offset();
        reader_.ReadRaw();
      }
    } else {
      settings[name] = Raw("model." + name);
    }
  }
  CheckModel(settings);
  if (!vocab) Corrupt("model has no \"vocab\"");
  if (!merges) Corrupt("model has no \"merges\"");
  if (merges_at) {
    const std::size_t end = reader_.offset();
    reader_.set_offset(*merges_at);
    ReadMerges();
    reader_.set_offset(end);
  }
}

void Parser::CheckModel(const Json& settings) const {
  const std::string path = "model";
  Require(settings, path, "type", {"BPE"});
  Require(settings, path, "dropout", {nullptr});
  Require(settings, path, "continuing_subword_prefix", {nullptr, ""});
  Require(settings, path, "end_of_word_suffix", {nullptr, ""});
  Require(settings, path, "byte_fallback", {true});
  Require(settings, path, "ignore_merges", {nullptr, false});
  // unk_token and fuse_unk never matter: all 256 byte tokens are there (FindByteTokens).
}

void Parser::ReadVocab() {
  std::string_view text;
  reader_.Expect('{', "where model.vocab begins");
  for (bool first = true; reader_.NextMember(first, &text); first = false) {
    if (file_.vocabulary.size() == static_cast<std::int64_t>(Bpe::kMaxVocab)) {
      reader_.Fail("model.vocab has more than " + std::to_string(Bpe::kMaxVocab) + " entries");
    }
    file_.vocabulary.Add(text, reader_.ReadIndex());
  }
  if (const auto problem = file_.vocabulary.Finish()) {
    const std::string id = std::to_string(problem->id);
    switch (problem->kind) {
      case Vocabulary::Problem::Kind::kIdMissing:
        Corrupt("model.vocab has no entry with id " + id + "; expected every id from 0 to " +
                std::to_string(file_.vocabulary.size() - 1) + " once");
      case Vocabulary::Problem::Kind::kIdTwice:
        Corrupt("model.vocab gives id " + id + " to two entries; expected every id once");
      case Vocabulary::Problem::Kind::kTextTwice:
        Corrupt("model.vocab holds " + Quoted(file_.vocabulary.Text(problem->id)) +
                " twice; keep one of them");
    }
  }
}

void Parser::ReadMerges() {
  // The strings of some merges, looked up together: three for each, left, right and joined.
  constexpr std::size_t kBlock = 256;
  std::string arena;
  std::vector<std::size_t> ends;
  std::string_view text;
  reader_.Expect('[', "where model.merges begins");
  for (bool first = true; reader_.NextElement(first); first = false) {
    if (reader_.Peek() == '"') {
      // The older form: "left right".
      text = reader_.ReadString();
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        reader_.Fail("a merge is " + Quoted(text) + "; expected two pieces with one space between");
      }
      arena.append(text.substr(0, space));
      ends.push_back(arena.size());
      arena.append(text.substr(space + 1));
      ends.push_back(arena.size());
    } else {
      reader_.Expect('[', "where a merge of two strings begins");
      arena.append(reader_.ReadString());
      ends.push_back(arena.size());
      reader_.Expect(',', "between the two strings of a merge");
      arena.append(reader_.ReadString());
      ends.push_back(arena.size());
      reader_.Expect(']', "after the two strings of a merge");
    }
    if (ends.size() == 2 * kBlock) ResolveMerges(&arena, &ends);
  }
  ResolveMerges(&arena, &ends);
}

void Parser::ResolveMerges(std::string* arena, std::vector<std::size_t>* ends) {
  const std::size_t count = ends->size() / 2;
  std::vector<std::string_view> texts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t middle = (*ends)[2 * i];
    const std::size_t end = (*ends)[2 * i + 1];
    const std::string_view joined = std::string_view(*arena).substr(begin, end - begin);
    texts.insert(texts.end(),
                 {joined.substr(0, middle - begin), joined.substr(middle - begin), joined});
    begin = end;
  }
  std::vector<TokenId> ids(texts.size());
  file_.vocabulary.FindAll(texts, ids);
  for (std::size_t i = 0; i < count; ++i) {
    const auto path = [&] { return MergePath(file_.merges.size()); };
    for (std::size_t part = 3 * i; part < 3 * i + 3; ++part) {
      if (texts[part].empty())
        Corrupt(path() + " joins an empty piece; expected two pieces of text");
      if (ids[part] < 0) {
        Corrupt(path() + " needs " + Quoted(texts[part]) + ", which model.vocab does not hold");
      }
    }
    file_.merges.push_back({ids[3 * i], ids[3 * i + 1], ids[3 * i + 2]});
  }
  if (file_.merges.size() > Bpe::kMaxMerges) {
    Corrupt("model.merges has more than " + std::to_string(Bpe::kMaxMerges) + " entries");
  }
  arena->clear();
  ends->clear();
}

void Parser::CheckNormalizer(const Json& value) {
  if (value.is_null()) return;
  const std::string path = "normalizer";
  RequireObject(value, path);
  Require(value, path, "type", {"Replace"});
  Require(value, path, "pattern", {StringPattern(" ")});
  Require(value, path, "content", {std::string(kUnderline)});
  file_.bpe.space_is_underline = true;
}

void Parser::CheckPreTokenizer(const Json& value) {
  if (value.is_null()) return;
  const std::string path = "pre_tokenizer";
  RequireObject(value, path);
  Require(value, path, "type", {"Split"});
  Require(value, path, "pattern", {StringPattern(" ")});
  Require(value, path, "behavior", {"MergedWithPrevious"});
  Require(value, path, "invert", {nullptr, false});
  // After the normalizer no space is left to split at.
  file_.bpe.cut_after_space = !file_.bpe.space_is_underline;
}

// {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<bos>", …}},
//  {"Sequence": {"id": "A", …}}], "special_tokens": {"<bos>": {"ids": [2], …}}}
void Parser::ReadPostProcessor(const Json& value) {
  if (value.is_null()) return;
  const std::string path = "post_processor";
  RequireObject(value, path);
  Require(value, path, "type", {"TemplateProcessing"});
  const auto single = value.find("single");
  if (single == value.end() || !single->is_array()) {
    Corrupt(path + ".single is " + (single == value.end() ? "missing" : JsonTypeName(*single)) +
            "; expected an array of what a text becomes");
  }
  bool behind_text = false;
  for (std::size_t i = 0; i < single->size(); ++i) {
    const Json& piece = (*single)[i];
    const std::string at = path + ".single[" + std::to_string(i) + "]";
    RequireObject(piece, at);
    if (const auto token = piece.find("SpecialToken"); token != piece.end()) {
      RequireObject(*token, at + ".SpecialToken");
      const std::string name = String(*token, at + ".SpecialToken", "id");
      AddSpecialToken(value, name, behind_text ? &file_.back : &file_.front);
      continue;
    }
    const auto sequence = piece.find("Sequence");
    if (sequence == piece.end() || !sequence->is_object() || behind_text ||
        !sequence->contains("id") || !IsString((*sequence)["id"], "A")) {
      Unsupported(at, JsonExcerpt(piece), "special tokens and, once, the sequence \"A\"");
    }
    behind_text = true;
  }
  if (!behind_text) Corrupt(path + ".single has no Sequence: a text would be dropped");
}

// Appends the ids that post_processor gives a special token.
void Parser::AddSpecialToken(const Json& post_processor, const std::string& name,
                             std::vector<TokenId>* ids) const {
  const std::string path = "post_processor.special_tokens";
  const auto all = post_processor.find("special_tokens");
  const bool known = all != post_processor.end() && all->is_object() && all->contains(name) &&
                     (*all)[name].is_object() && (*all)[name].contains("ids") &&
                     (*all)[name]["ids"].is_array();
  if (!known)
    Corrupt(path + " has no ids of " + Quoted(name) + ", which post_processor.single has");
  for (const Json& id : (*all)[name]["ids"]) {
    if (!id.is_number_unsigned() ||
        id.get<std::uint64_t>() >= static_cast<std::uint64_t>(file_.vocabulary.size())) {
      Corrupt(path + ": an id of " + Quoted(name) + " is " + JsonExcerpt(id) +
              "; ids are whole numbers from 0 to " + std::to_string(file_.vocabulary.size() - 1));
    }
    ids->push_back(id.get<TokenId>());
    // Pieces times ids: a small file could ask for any amount of memory.
    if (ids->size() > kMostTokensAround) {
      Corrupt("post_processor puts more than " + std::to_string(kMostTokensAround) +
              " tokens before or behind a text");
    }
  }
}

void Parser::CheckDecoder(const Json& value) {
  const std::string path = "decoder";
  const std::string known =
      "a Sequence of Replace \"▁\" by \" \" (or none), ByteFallback, and Fuse (or none)";
  if (value.is_null()) Unsupported(path, "null", known);
  RequireObject(value, path);
  Require(value, path, "type", {"Sequence"});
  const auto member = value.find("decoders");
  if (member == value.end() || !member->is_array()) {
    Corrupt("decoder.decoders is not an array; expected " + known);
  }
  const Json& decoders = *member;
  const auto type_is = [&](std::size_t i, const char* type) {
    return i < decoders.size() && decoders[i].is_object() && decoders[i].contains("type") &&
           IsString(decoders[i]["type"], type);
  };
  std::size_t next = 0;
  if (type_is(next, "Replace")) {
    const std::string at = "decoder.decoders[0]";
    Require(decoders[next], at, "pattern", {StringPattern(kUnderline)});
    Require(decoders[next], at, "content", {" "});
    file_.underline_is_space = true;
    ++next;
  }
  if (!type_is(next, "ByteFallback")) Unsupported(path, JsonExcerpt(value), known);
  ++next;
  if (type_is(next, "Fuse")) ++next;
  if (next != decoders.size()) {
    Unsupported("decoder.decoders[" + std::to_string(next) + "]", JsonExcerpt(decoders[next]),
                known);
  }
}

void Parser::FindByteTokens() {
  std::vector<bool> is_byte(static_cast<std::size_t>(file_.vocabulary.size()));
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string text = ByteTokenText(byte);
    const std::optional<TokenId> id = file_.vocabulary.Find(text);
    if (!id) {
      Corrupt("model.vocab has no " + Quoted(text) +
              "; model.byte_fallback needs all of \"<0x00>\" to \"<0xFF>\"");
    }
    file_.byte_tokens[byte] = *id;
    is_byte[static_cast<std::size_t>(*id)] = true;
  }
  // Else a byte could become part of a longer token, and cuts between characters would not be
  // exact.
  ForbidInMerges(is_byte, "the byte token", "only byte tokens that stand alone");
}

void Parser::ForbidInMerges(const std::vector<bool>& forbidden, const std::string& what,
                            const std::string& known) const {
  for (std::size_t rank = 0; rank < file_.merges.size(); ++rank) {
    const MergeRule& rule = file_.merges[rank];
    for (const TokenId id : {rule.left, rule.right, rule.result}) {
      if (!forbidden[static_cast<std::size_t>(id)]) continue;
      Unsupported(MergePath(rank), "a merge with " + what + " " + Quoted(file_.vocabulary.Text(id)),
                  known);
    }
  }
}

void Parser::ReadAddedTokens(const Json& value) {
  if (value.is_null()) return;
  if (!value.is_array()) {
    Corrupt("added_tokens is " + JsonTypeName(value) + "; expected an array");
  }
  std::set<TokenId> ids;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string path = "added_tokens[" + std::to_string(i) + "]";
    RequireObject(value[i], path);
    const std::string content = String(value[i], path, "content");
    if (content.empty() || content.size() > kMaxAddedTokenBytes) {
      Corrupt(path + ".content has " + std::to_string(content.size()) + " bytes; expected 1 to " +
              std::to_string(kMaxAddedTokenBytes));
    }
    bytes += content.size();
    if (bytes > kMaxAddedBytes) {
      Corrupt("added_tokens have more than " + std::to_string(kMaxAddedBytes) +
              " bytes of content together");
    }
    if (DecodeUtf8(content.data()).bytes == content.size()) {
      Unsupported(path + ".content", "the single character " + Quoted(content),
                  "only added tokens that ordinary text cannot become");
    }
    Require(value[i], path, "special", {true});
    for (const char* flag : {"normalized", "lstrip", "rstrip", "single_word"}) {
      Require(value[i], path, flag, {false, nullptr});
    }
    const auto id = value[i].find("id");
    if (id == value[i].end() || !id->is_number_unsigned() ||
        id->get<std::uint64_t>() >= Bpe::kMaxVocab) {
      Corrupt(path + ".id is " + (id == value[i].end() ? "missing" : JsonExcerpt(*id)) +
              "; expected the token's id");
    }
    const TokenId wanted = static_cast<TokenId>(id->get<std::uint64_t>());
    const std::optional<TokenId> known = file_.vocabulary.Find(content);
    if (!known) {
      if (wanted != file_.vocabulary.size()) {
        Corrupt(path + " gives " + Quoted(content) + " id " + std::to_string(wanted) +
                "; model.vocab does not hold it, and the next free id is " +
                std::to_string(file_.vocabulary.size()));
      }
      file_.vocabulary.Append(content);
    } else if (*known != wanted) {
      Corrupt(path + " gives " + Quoted(content) + " id " + std::to_string(wanted) +
              "; model.vocab says " + std::to_string(*known));
    }
    if (!ids.insert(wanted).second) {
      Corrupt(path + " is " + Quoted(content) + " once more; keep one of them");
    }
    file_.added_tokens.emplace_back(content, wanted);
  }
  // What keeps a user's text from acting as a control token: BPE cannot make one.
  std::vector<bool> is_added(static_cast<std::size_t>(file_.vocabulary.size()));
  for (const auto& [content, id] : file_.added_tokens)
    is_added[static_cast<std::size_t>(id)] = true;
  for (const TokenId id : file_.byte_tokens) {
    if (!is_added[static_cast<std::size_t>(id)]) continue;
    Unsupported("added_tokens", "one with the byte token " + Quoted(file_.vocabulary.Text(id)),
                "only added tokens that ordinary text cannot become");
  }
  ForbidInMerges(is_added, "the added token", "only added tokens that ordinary text cannot become");
}

}  // namespace

TokenizerFile ParseTokenizerFile(std::string_view text, const std::string& place) {
  return Parser(text, place).Run();
}

}  // namespace culet
