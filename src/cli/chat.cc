// culet chat: a conversation.
#include <memory>

#include "base/error.h"
#include "cli/chat_session.h"
#include "cli/command.h"
#include "cli/log.h"
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
  std::string system;
  std::string tools;
  std::string load;
  bool think = false;
};

int Run(const ChatOptions& options) {
  const std::filesystem::path path = ResolveOrFetch(options.model.model, options.model.fetch);
  LoadOptions load = options.model.ToLoadOptions();
  load.rewind_tokens = kRewindTokens;
  const GenerateOptions generate = options.sampling.ToGenerateOptions();
  CheckUtf8(options.system, "--system");
  Conversation conversation;
  if (!options.load.empty()) conversation.Load(options.load);
  if (!options.system.empty()) conversation.system = options.system;
  if (options.think) conversation.think = true;
  if (options.tools == "-") {
    throw Error(ErrorKind::kInvalidArgument,
                "standard input is the conversation; --tools needs a file");
  }
  if (!options.tools.empty()) conversation.tools = ReadTools(options.tools);

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
  ChatSession(model, generate, conversation).Run();
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
  AddText(*command, "--system", &options->system, "TEXT", "The system prompt");
  AddText(*command, "--load", &options->load, "FILE", "Go on with a conversation that /save wrote");
  options->sampling.Add(*command);
  AddFlag(*command, "--think", &options->think, "Let the model think before it answers");
  AddText(*command, "--tools", &options->tools, "FILE",
          "Tools that the model may call: a JSON array, in OpenAI's\n"
          "form or of bare functions; you are asked for their responses");
  options->model.AddThreads(*command);
  options->model.AddContext(*command);
  options->model.AddTokenizer(*command);
  options->model.AddOverride(*command);
  options->model.AddAllowControlTokens(*command);
  options->model.AddFetch(*command);
  options->model.AddVerbose(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
