// culet parse: what a model wrote, as thinking, content and tool calls.
#include <memory>

#include "cli/answer_json.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/text_input.h"

namespace culet::cli {
namespace {

struct ParseOptions {
  ModelOptions model;
  bool starts_in_thought = false;
};

int Run(const ParseOptions& options) {
  ResolveModel(options.model.model, true);
  const std::string text = ReadStandardInput();
  CheckUtf8(text, "standard input");
  const ParsedAnswer answer = ParseAnswer(text, options.starts_in_thought);
  JsonObject object;
  object.Add("thinking", answer.thinking);
  object.Add("content", answer.content);
  object.AddText("tool_calls", CallsText(answer.tool_calls));
  Output::Standard().Write(object.Text() + "\n");
  return 0;
}

}  // namespace

Command AddParse(CLI::App& app) {
  auto options = std::make_shared<ParseOptions>();
  CLI::App* command = AddSubcommand(
      app, "parse", "What a model wrote (standard input, control tokens as text) as JSON",
      "  printf '<|channel>thought\\nhm\\n<channel|>Yes.<turn|>' | culet parse MODEL\n");
  options->model.AddModel(*command);
  AddFlag(*command, "--starts-in-thought", &options->starts_in_thought,
          "The prompt ended inside a thought, so the text begins in it");
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
