// culet render: the prompt that a request becomes.
#include <memory>

#include "base/error.h"
#include "cli/command.h"
#include "cli/log.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/text_input.h"

namespace culet::cli {
namespace {

struct RenderOptions {
  ModelOptions model;
  std::string request;
};

int Run(const RenderOptions& options) {
  const std::filesystem::path path = ResolveModel(options.model.model, true);
  if (options.request.empty()) {
    throw Error(
        ErrorKind::kInvalidArgument,
        "culet render needs --request FILE: JSON with messages, and tools, enable_thinking, "
        "preserve_thinking, add_generation_prompt as wanted; - reads standard input");
  }
  const std::string request = ReadTextFile(options.request);
  const std::shared_ptr<TextProcessor> text =
      TextProcessor::Open(path, options.model.ToTextOptions());
  PrintWarnings(*text);
  Output::Standard().Write(
      text->Render(request, options.request == "-" ? "standard input" : options.request));
  return 0;
}

}  // namespace

Command AddRender(CLI::App& app) {
  auto options = std::make_shared<RenderOptions>();
  CLI::App* command =
      AddSubcommand(app, "render", "The prompt text that a request becomes, and nothing else",
                    "  culet render MODEL --request request.json\n"
                    "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' |\n"
                    "    culet render MODEL --request -\n");
  options->model.AddModel(*command);
  AddText(*command, "--request", &options->request, "FILE",
          "JSON: messages, tools, enable_thinking, preserve_thinking,\n"
          "add_generation_prompt; - reads standard input");
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
