// culet parse: what a model wrote, as thinking, content and tool calls.
#include <memory>

#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/text_input.h"
#include "culet/json.h"

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
  Output::Standard().Write(ToJson(answer) + "\n");
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
