// culet run: one prompt, one answer.
#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "cli/answer_printer.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "cli/text_input.h"
#include "culet/generate.h"
#include "culet/json.h"

namespace culet::cli {
namespace {

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  RequestOptions request;
  MediaArguments media;
  std::string prompt;
  bool has_prompt = false;
  bool raw = false;
  bool no_stream = false;
  bool json = false;
  std::int64_t logprobs = 0;
};

void CheckOptions(const RunOptions& options) {
  const auto refuse = [](const std::string& message) {
    throw Error(ErrorKind::kInvalidArgument, message);
  };
  if (options.model.model.empty()) {
    refuse("MODEL is missing, and so is the prompt: culet run MODEL \"…\"");
  }
  if (!options.has_prompt) {
    refuse("the prompt is missing: culet run MODEL \"…\", or - to read it from standard input");
  }
  if (options.raw &&
      (options.request.has_system || options.request.think || !options.request.tools.empty())) {
    refuse(
        "--raw uses no chat template, so --system, --think and --tools have no place in it; leave "
        "out --raw or them");
  }
  if (options.logprobs < 0 || options.logprobs > 1000) {
    refuse("--logprobs is " + std::to_string(options.logprobs) + "; it must be 0 to 1000");
  }
  if (options.logprobs > 0 && !options.json) refuse("--logprobs shows in --json only; add --json");
  if (options.prompt == "-" && options.request.tools == "-") {
    refuse("prompt and --tools cannot both come from standard input");
  }
}

std::string RequestText(const RunOptions& options, const std::string& prompt,
                        const std::string& tools) {
  OrderedJson messages = OrderedJson::array();
  if (options.request.has_system) {
    messages.push_back({{"role", "system"}, {"content", options.request.system}});
  }
  messages.push_back({{"role", "user"}, {"content", prompt}});
  JsonObject request;
  request.Add("messages", messages);
  if (!tools.empty()) request.AddText("tools", tools);
  request.Add("enable_thinking", options.request.think);
  request.Add("add_generation_prompt", true);
  return request.Text();
}

std::string ResultText(const Model& model, const GenerateResult& result, double load_ms,
                       double first_token_ms) {
  JsonObject object;
  object.Add("model", model.info().path);
  object.AddMembers(
      ToJson(result, {{"load_ms", load_ms}, {"time_to_first_token_ms", first_token_ms}}));
  return object.Text();
}

// A base model has no template: its prompt is completed as it stands.
bool UseRaw(const RunOptions& options, const TextProcessor& text, const std::string& model) {
  if (options.raw || text.has_chat_template()) return options.raw;
  if (options.request.has_system || options.request.think || !options.request.tools.empty()) {
    throw Error(
        ErrorKind::kInvalidArgument,
        model +
            " has no chat template (base models have none), so --system, --think and --tools "
            "have no place in its prompt; leave them out for plain completion");
  }
  return true;
}

int Run(const RunOptions& options) {
  // All that can be wrong on the command line is said before a download.
  CheckOptions(options);
  LoadOptions load_options = options.model.ToLoadOptions();
  GenerateOptions generate = options.sampling.ToGenerateOptions();
  generate.logprobs = static_cast<int>(options.logprobs);
  const std::string prompt_text = options.prompt == "-" ? ReadStandardInput() : options.prompt;
  CheckUtf8(prompt_text, "the prompt");
  CheckUtf8(options.request.system, "--system");
  const std::string tools = options.request.tools.empty() ? "" : ReadTools(options.request.tools);

  const std::vector<Media> media = options.media.ToMedia();
  const MediaOptions media_options = options.media.ToMediaOptions();
  options.media.MakeRoom(&load_options);

  const std::filesystem::path path =
      options.model.Quantized(ResolveOrFetch(options.model.model, options.model.fetch));
  const double load_start = MillisecondsSinceStart();
  const std::shared_ptr<Model> model = Model::Load(path, load_options);
  const TextProcessor& text = model->text();
  const double load_ms = MillisecondsSinceStart() - load_start;
  model->defaults();  // where they are broken, that is said before all else
  PrintWarnings(model->info());
  if (options.model.verbose) PrintPlan(model->info());

  const bool raw = UseRaw(options, text, path.string());
  if (!raw) PrintWarnings(text);
  const Prompt prompt = raw ? text.RawPrompt(prompt_text, media, media_options)
                            : text.RenderTokens(RequestText(options, prompt_text, tools),
                                                "the request", {}, media, media_options);
  for (const std::string& warning : prompt.warnings) Warn(warning);
  if (raw && !options.raw) {
    Note(path.string() +
         " has no chat template (base models have none): the prompt is completed as it stands, as "
         "with --raw");
  }
  Session session(model);
  const InterruptGuard interrupt;
  const bool stream = !options.json && !options.no_stream;
  AnswerPrinter printer;
  const auto on_event = [&](const GenerateEvent& event) {
    if (stream) printer.Show(event);
  };
  generate.on_prefill = PrefillProgress();
  generate.on_media = MediaProgress();
  const double generate_start = MillisecondsSinceStart();
  const GenerateResult result =
      session.Generate(prompt, generate, on_event, [] { return InterruptGuard::Pending(); });
  if (options.json) {
    Output::Standard().Write(
        ResultText(*model, result, load_ms, generate_start + result.prefill_ms) + "\n");
  } else {
    if (!stream) {
      printer.Show({GenerateEvent::Kind::kThinking, result.thinking, {}});
      printer.Show({GenerateEvent::Kind::kContent, result.text, {}});
      for (const CalledTool& call : result.tool_calls) {
        printer.Show({GenerateEvent::Kind::kToolCall, "", call});
      }
    }
    printer.Finish();
  }
  return result.finish_reason == FinishReason::kCancelled ? kExitInterrupted : 0;
}

}  // namespace

Command AddRun(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command =
      AddSubcommand(app, "run", "Answer one prompt, streamed to standard output",
                    "  culet run pebble \"What is 27 + 45?\"\n"
                    "  culet run MODEL - --think < question.txt\n"
                    "  culet run MODEL \"What is this?\" --image cat.jpg --image-tokens 560\n"
                    "  culet run MODEL \"Weather in Rome?\" --tools tools.json --json\n"
                    "  culet run MODEL \"Once upon a time\" --raw --temperature 0.8 --seed 1\n");
  options->model.AddModel(*command);
  AddText(*command, "PROMPT", &options->prompt, "", "The prompt; - reads standard input",
          &options->has_prompt);
  options->request.Add(*command, "- reads standard input");
  options->media.AddFiles(*command);
  options->media.AddPreparation(*command);
  options->sampling.Add(*command);
  AddFlag(*command, "--raw", &options->raw,
          "Complete the prompt without chat template, <bos> in front");
  AddFlag(*command, "--no-stream", &options->no_stream, "Print the answer when it is complete");
  AddFlag(*command, "--json", &options->json, "Print one JSON object when the answer is complete");
  AddNumber(*command, "--logprobs", &options->logprobs,
            "With --json: log-probabilities of each token and of\nthe N likeliest", "N");
  options->model.AddAll(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
