// culet tokenize: text to ids and back, exactly as tokenizer.json says.
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/text_input.h"

namespace culet::cli {
namespace {

struct TokenizeOptions {
  ModelOptions model;
  std::string text;
  bool has_text = false;
  bool jsonl = false;
  bool decode_jsonl = false;
};

std::string IdsText(const std::vector<TokenId>& ids) {
  std::string text = "[";
  for (const TokenId id : ids) {
    if (text.size() > 1) text += ',';
    text += std::to_string(id);
  }
  return text + "]";
}

std::string EncodeLine(const TextProcessor& text, std::string_view line, const std::string& place) {
  const Json value = ParseJson(line, place);
  if (!value.is_string()) {
    throw Error(ErrorKind::kInvalidArgument,
                place + " is " + JsonTypeName(value) + "; one JSON string a line is expected");
  }
  return IdsText(text.Encode(value.get_ref<const std::string&>()));
}

std::string DecodeLine(const TextProcessor& text, std::string_view line, const std::string& place) {
  const Json value = ParseJson(line, place);
  if (!value.is_array()) {
    throw Error(ErrorKind::kInvalidArgument, place + " is " + JsonTypeName(value) +
                                                 "; one JSON array of ids a line is expected");
  }
  const std::int64_t vocab = text.vocab_size();
  std::vector<TokenId> ids;
  for (const Json& item : value) {
    if (!item.is_number_integer() || item < 0 || item >= vocab) {
      throw Error(ErrorKind::kInvalidArgument,
                  place + ": element " + std::to_string(ids.size()) + " is " + JsonExcerpt(item) +
                      "; ids are whole numbers from 0 to " + std::to_string(vocab - 1));
    }
    ids.push_back(item.get<TokenId>());
  }
  return Json(text.Decode(ids)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

int Run(const TokenizeOptions& options) {
  const int modes =
      (options.has_text ? 1 : 0) + (options.jsonl ? 1 : 0) + (options.decode_jsonl ? 1 : 0);
  const std::filesystem::path path = ResolveModel(options.model.model, true);
  if (modes != 1) {
    throw Error(
        ErrorKind::kInvalidArgument,
        "culet tokenize takes one of TEXT (- for standard input), --jsonl and --decode-jsonl");
  }
  const std::shared_ptr<TextProcessor> text =
      TextProcessor::Open(path, options.model.ToTextOptions());
  Output& output = Output::Standard();
  if (options.has_text) {
    const std::string input = options.text == "-" ? ReadStandardInput() : options.text;
    output.Write(IdsText(text->Encode(input)) + "\n");
    return 0;
  }
  LineInput lines;
  std::string_view line;
  // A program at the other end may wait for its answer before it writes the next line.
  while (lines.Next(&line, [&] { output.Flush(); })) {
    const std::string place = "standard input, line " + std::to_string(lines.number());
    output.Write(options.jsonl ? EncodeLine(*text, line, place) : DecodeLine(*text, line, place));
    output.Write("\n");
  }
  return 0;
}

}  // namespace

Command AddTokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = AddSubcommand(
      app, "tokenize", "Text to token ids and back, as the model's tokenizer.json says",
      "  culet tokenize MODEL \"Hello <|turn>\"\n"
      "  printf '\"one\"\\n\"two\"\\n' | culet tokenize MODEL --jsonl\n"
      "  echo '[2,105]' | culet tokenize MODEL --decode-jsonl\n");
  options->model.AddModel(*command);
  AddText(*command, "TEXT", &options->text, "", "The text; - reads standard input",
          &options->has_text);
  AddFlag(*command, "--jsonl", &options->jsonl,
          "Read one JSON string a line, write one JSON array of ids a line");
  AddFlag(*command, "--decode-jsonl", &options->decode_jsonl,
          "Read one JSON array of ids a line, write one JSON string a line");
  options->model.AddTokenizer(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
