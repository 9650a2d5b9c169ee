// culet chat: a conversation.
#include <memory>

#include "base/error.h"
#include "cli/chat_session.h"
#include "cli/command.h"
#include "cli/log.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/text_input.h"

namespace culet::cli {
namespace {

// Positions behind the window that stay, so that /undo and dropped thoughts compute nothing again.
constexpr std::int64_t kRewindTokens = 1024;

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  RequestOptions request;
  MediaArguments media;
  std::string load;
};

int Run(const ChatOptions& options) {
  LoadOptions load = options.model.ToLoadOptions();
  load.rewind_tokens = kRewindTokens;
  options.media.MakeRoom(&load);
  const GenerateOptions generate = options.sampling.ToGenerateOptions();
  CheckUtf8(options.request.system, "--system");
  if (options.request.tools == "-") {
    throw Error(ErrorKind::kInvalidArgument,
                "standard input is the conversation; --tools needs a file");
  }
  const std::string tools = options.request.tools.empty() ? "" : ReadTools(options.request.tools);

  const std::filesystem::path path =
      options.model.Quantized(ResolveOrFetch(options.model.model, options.model.fetch));
  const std::shared_ptr<Model> model = Model::Load(path, load);
  PrintWarnings(model->info());
  if (options.model.verbose) PrintPlan(model->info());
  if (!model->text().has_chat_template()) {
    throw Error(ErrorKind::kUnsupported,
                path.string() +
                    " has no chat template (base models have none), so there is no way to "
                    "chat with it; culet run completes text with it");
  }
  PrintWarnings(model->text());
  model->defaults();  // where they are broken, that is said once and not at each turn
  Conversation conversation;
  if (!options.load.empty()) conversation.Load(options.load, model->text());
  if (options.request.has_system) conversation.system = options.request.system;
  if (options.request.think) conversation.think = true;
  if (!tools.empty()) conversation.tools = tools;
  ChatSession(model, generate, options.media.ToMediaOptions(), conversation).Run();
  return 0;
}

}  // namespace

Command AddChat(CLI::App& app) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command =
      AddSubcommand(app, "chat", "Hold a conversation; /help inside lists the commands",
                    "  culet chat pebble\n"
                    "  culet chat MODEL --system \"Answer briefly.\" --think\n"
                    "  printf 'Hi\\n/stats\\n' | culet chat MODEL\n");
  options->model.AddModel(*command);
  options->request.Add(*command, "you are asked for their responses");
  AddText(*command, "--load", &options->load, "FILE", "Go on with a conversation that /save wrote");
  options->media.AddPreparation(*command);
  options->sampling.Add(*command);
  options->model.AddAll(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
