#include "cli/chat_session.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "cli/answer_printer.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/media_options.h"
#include "cli/output.h"
#include "cli/sizes.h"

namespace culet::cli {
namespace {

constexpr const char* kPrompt = ">>> ";
constexpr const char* kMorePrompt = "... ";
constexpr std::string_view kQuotes = "\"\"\"";

constexpr const char* kHelp =
    "/system [TEXT]   show or set the system prompt (/system \"\" removes it)\n"
    "/think [on|off]  show or set whether the model thinks before it answers\n"
    "/image FILE      show a picture with the next message (/audio, /video likewise); a path that\n"
    "                 is dropped into the terminal is one too\n"
    "/remove [N]      take the last, or the N-th, of those back\n"
    "/undo            forget the last turn\n"
    "/reset           forget the conversation; the system prompt stays\n"
    "/stats           what the last turn took\n"
    "/save FILE       write the conversation as JSON\n"
    "/load FILE       go on with a saved conversation\n"
    "/exit            leave (Ctrl-D too)\n"
    "A \\ at the end of a line, or \"\"\" around several, makes one message of them. Ctrl-C stops "
    "an\n"
    "answer. A message that begins with / is written with two: //.";

std::string Trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin));
}

}  // namespace

ChatSession::ChatSession(std::shared_ptr<Model> model, const GenerateOptions& options,
                         const MediaOptions& media_options, const Conversation& conversation)
    : model_(std::move(model)),
      options_(options),
      session_(model_),
      media_options_(media_options),
      conversation_(conversation) {}

void ChatSession::Say(const std::string& text) const {
  Output::Standard().Write(text + "\n");
  Output::Standard().Flush();
}

LineReader::Outcome ChatSession::ReadTripleQuoted(std::string first, std::string* message) {
  *message = std::move(first);
  std::size_t end = message->find(kQuotes);
  while (end == std::string::npos) {
    std::string line;
    const LineReader::Outcome outcome = reader_.Read(kMorePrompt, &line);
    if (outcome == LineReader::Outcome::kInterrupted) return outcome;
    if (outcome == LineReader::Outcome::kEnd) return LineReader::Outcome::kLine;
    if (!message->empty()) *message += '\n';
    *message += line;
    end = message->find(kQuotes);
  }
  message->resize(end);
  return LineReader::Outcome::kLine;
}

LineReader::Outcome ChatSession::ReadMessage(std::string* message) {
  std::string line;
  LineReader::Outcome outcome = reader_.Read(kPrompt, &line);
  if (outcome != LineReader::Outcome::kLine) return outcome;
  if (line.starts_with(kQuotes)) return ReadTripleQuoted(line.substr(kQuotes.size()), message);
  message->clear();
  while (!line.empty() && line.back() == '\\') {
    line.back() = '\n';
    *message += line;
    outcome = reader_.Read(kMorePrompt, &line);
    if (outcome == LineReader::Outcome::kInterrupted) return outcome;
    if (outcome == LineReader::Outcome::kEnd) line.clear();
  }
  *message += line;
  return LineReader::Outcome::kLine;
}

void ChatSession::Run() {
  const InterruptGuard interrupt;
  if (reader_.interactive()) Say(model_->info().variant + ". /help lists the commands.");
  for (;;) {
    std::string message;
    const LineReader::Outcome outcome = ReadMessage(&message);
    if (outcome == LineReader::Outcome::kEnd) return;
    if (outcome == LineReader::Outcome::kInterrupted) {
      Say("(/exit or Ctrl-D leaves)");
      continue;
    }
    if (Trimmed(message).empty()) continue;
    try {
      if (message.starts_with("//")) {
        Turn(message.substr(1), media_);
        continue;
      }
      // Only a person drops files; what comes through a pipe is as it is.
      std::vector<DroppedFile> dropped;
      if (reader_.interactive()) dropped = FindDroppedFiles(message);
      const bool is_path = !dropped.empty() && dropped.front().begin == 0;
      if (message[0] == '/' && !is_path) {
        if (!Command(Trimmed(message))) return;
        continue;
      }
      std::vector<Media> media = media_;
      if (TakeDropped(std::move(dropped), &message, &media)) Turn(message, media);
    } catch (const Error& error) {
      // Only this turn is lost.
      Output::Standard().Flush();
      fmt::print(stderr, "culet: {}\n", WithOptionNames(error.what()));
    }
  }
}

bool ChatSession::Command(const std::string& line) {
  const std::size_t space = std::min(line.find_first_of(" \t\n"), line.size());
  const std::string name = line.substr(0, space);
  const std::string argument = Trimmed(std::string_view(line).substr(space));
  if (name == "/exit" || name == "/quit" || name == "/bye") return false;
  if (name == "/help" || name == "/?") {
    Say(kHelp);
  } else if (name == "/system") {
    if (!argument.empty()) conversation_.system = argument == "\"\"" ? "" : argument;
    Say(conversation_.system.empty() ? "no system prompt"
                                     : "system prompt: " + conversation_.system);
  } else if (name == "/think") {
    if (!argument.empty() && argument != "on" && argument != "off") {
      throw Error(ErrorKind::kInvalidArgument, "/think is on or off, not \"" + argument + "\"");
    }
    if (!argument.empty()) conversation_.think = argument == "on";
    Say(conversation_.think ? "thinking is on" : "thinking is off");
  } else if (name == "/image" || name == "/audio" || name == "/video") {
    if (argument.empty()) {
      throw Error(ErrorKind::kInvalidArgument, name + " needs a file, such as " + name +
                                                   " holiday." +
                                                   (name == "/image"   ? "jpg"
                                                    : name == "/audio" ? "wav"
                                                                       : "mp4"));
    }
    AddMedia(name == "/image"   ? MediaKind::kImage
             : name == "/audio" ? MediaKind::kAudio
                                : MediaKind::kVideo,
             argument);
  } else if (name == "/remove") {
    RemoveMedia(argument);
  } else if (name == "/undo") {
    if (!conversation_.Undo()) {
      Say("there is no turn to forget");
      return true;
    }
    if (!statistics_.empty()) statistics_.pop_back();
    Say(fmt::format("the last turn is forgotten; {} left", conversation_.turns()));
  } else if (name == "/reset") {
    conversation_.Clear();
    statistics_.clear();
    Say("the conversation is forgotten");
  } else if (name == "/stats") {
    ShowStatistics();
  } else if (name == "/save" || name == "/load") {
    if (argument.empty()) {
      throw Error(ErrorKind::kInvalidArgument,
                  name + " needs a file, such as " + name + " talk.json");
    }
    if (name == "/save") {
      conversation_.Save(argument);
      Say("saved to " + argument);
    } else {
      conversation_.Load(argument, model_->text());
      statistics_.clear();
      Say(fmt::format("loaded {} turns from {}", conversation_.turns(), argument));
    }
  } else {
    const std::string nearest =
        NearestName(name, {"/help", "/system", "/think", "/image", "/audio", "/video", "/remove",
                           "/undo", "/reset", "/stats", "/save", "/load", "/exit"});
    throw Error(ErrorKind::kInvalidArgument,
                "there is no command " + name +
                    (nearest.empty() ? "; /help lists them" : "; did you mean " + nearest + "?"));
  }
  return true;
}

GenerateResult ChatSession::Answer(Statistics* statistics) {
  const Prompt prompt =
      model_->text().RenderTokens(conversation_.RequestText(), "the conversation",
                                  conversation_.known_tokens(), {}, media_options_);
  const std::int64_t recomputed = session_.recomputed_tokens();
  AnswerPrinter printer;
  GenerateOptions options = options_;
  options.on_prefill = PrefillProgress();
  options.on_media = MediaProgress();
  const GenerateResult answer = session_.Generate(
      prompt, options, [&](const GenerateEvent& event) { printer.Show(event); },
      [] { return InterruptGuard::Pending(); });
  printer.Finish();
  conversation_.SetKnownTokens(prompt, answer);
  if (statistics->generated_tokens == 0) statistics->kept_tokens = answer.cached_tokens;
  statistics->prompt_tokens = answer.prompt_tokens;
  statistics->computed_tokens += answer.computed_tokens;
  statistics->recomputed_tokens += session_.recomputed_tokens() - recomputed;
  statistics->generated_tokens += answer.completion_tokens;
  statistics->decoded_tokens += std::max<std::int64_t>(answer.completion_tokens - 1, 0);
  statistics->context_tokens = static_cast<std::int64_t>(session_.tokens().size());
  statistics->prefill_ms += answer.prefill_ms;
  statistics->decode_ms += answer.decode_ms;
  return answer;
}

// False where the user would not answer.
bool ChatSession::AskForResponses(const GenerateResult& answer) {
  for (std::size_t call = 0; call < answer.tool_calls.size(); ++call) {
    const std::string& name = answer.tool_calls[call].name;
    std::string response;
    if (reader_.Read("response of " + name + "> ", &response) != LineReader::Outcome::kLine)
      return false;
    conversation_.AddToolResponse(call, name, response);
  }
  return true;
}

std::int64_t ChatSession::CheckMedium(const Media& medium) const {
  const Prompt prompt = model_->text().RawPrompt("", std::span(&medium, 1), media_options_);
  for (const std::string& warning : prompt.warnings) Warn(warning);
  return static_cast<std::int64_t>(prompt.tokens.size()) - 1;
}

// For the next message. What is wrong with it is said now.
void ChatSession::AddMedia(MediaKind kind, const std::string& path) {
  const Media medium = OpenMedia(kind, path, std::string(MediaKindName(kind)));
  const std::int64_t tokens = CheckMedium(medium);
  media_.push_back(medium);
  Say(fmt::format("{} {} goes with the next message: {} tokens (/remove takes it back)",
                  MediaKindName(kind), path, tokens));
}

void ChatSession::RemoveMedia(const std::string& which) {
  if (media_.empty()) {
    Say("no picture, sound or video waits for the next message");
    return;
  }
  auto number = static_cast<std::int64_t>(media_.size());
  if (!which.empty()) ParseNumber(which, "/remove", &number);
  if (number < 1 || number > static_cast<std::int64_t>(media_.size())) {
    throw Error(
        ErrorKind::kInvalidArgument,
        "/remove " + which + ": " + std::to_string(media_.size()) + " wait for the next message");
  }
  const auto medium = media_.begin() + (number - 1);
  const std::string name = medium->name();
  media_.erase(medium);
  Say(fmt::format("{} stays out; {} left for the next message", name, media_.size()));
}

bool ChatSession::TakeDropped(std::vector<DroppedFile> files, std::string* message,
                              std::vector<Media>* media) {
  // What the path stands in.
  std::string rest;
  std::size_t done = 0;
  for (const DroppedFile& file : files) {
    rest += message->substr(done, file.begin - done);
    done = file.end;
  }
  rest += message->substr(done);
  if (Trimmed(rest).empty() && !files.empty()) {
    for (const DroppedFile& file : files) {
      if (!file.kind) {
        throw Error(ErrorKind::kInvalidArgument,
                    file.path +
                        " is no picture, sound or video. A message that begins with a slash is "
                        "written with two");
      }
      AddMedia(*file.kind, file.path);
    }
    return false;
  }
  const std::vector<std::string>& inputs = model_->info().inputs;
  std::erase_if(files, [&](const DroppedFile& file) {
    if (!file.kind) return true;  // a message may speak of files
    if (std::ranges::count(inputs, MediaKindName(*file.kind)) > 0) return false;
    Note(fmt::format("{} stays text: the model does not take this kind", file.path));
    return true;
  });
  if (files.empty()) return true;
  // Each gets a marker where its path stood. Those that wait have theirs, or get one in front.
  std::string text;
  std::vector<Media> ordered;
  std::vector<Media> waiting = *media;
  const auto marker = [](MediaKind kind) { return fmt::format("<{}>", MediaKindName(kind)); };
  const auto take_marked = [&](std::string_view piece) {
    text += piece;
    for (const MediaKind kind : {MediaKind::kImage, MediaKind::kAudio, MediaKind::kVideo}) {
      const std::string own = marker(kind);
      for (std::size_t at = piece.find(own); at != std::string_view::npos;
           at = piece.find(own, at + 1)) {
        const auto next = std::ranges::find(waiting, kind, &Media::kind);
        if (next == waiting.end()) break;
        ordered.push_back(*next);
        waiting.erase(next);
      }
    }
  };
  done = 0;
  for (const DroppedFile& file : files) {
    take_marked(std::string_view(*message).substr(done, file.begin - done));
    done = file.end;
    const Media medium = OpenMedia(*file.kind, file.path, std::string(MediaKindName(*file.kind)));
    Say(fmt::format("{} {}: {} tokens", MediaKindName(*file.kind), file.path, CheckMedium(medium)));
    text += marker(*file.kind);
    ordered.push_back(medium);
  }
  take_marked(std::string_view(*message).substr(done));
  std::string front;
  for (const Media& medium : waiting) {
    if (std::ranges::count(ordered, medium.kind(), &Media::kind) > 0)
      front += marker(medium.kind());
  }
  *message = front + text;
  *media = std::move(waiting);
  media->insert(media->end(), ordered.begin(), ordered.end());
  return true;
}

void ChatSession::Turn(const std::string& message, const std::vector<Media>& media) {
  CheckUtf8(message, "the message");
  const std::size_t turns_before = conversation_.turns();
  conversation_.AddUser(message, media);
  Statistics statistics;
  try {
    for (;;) {
      const GenerateResult answer = Answer(&statistics);
      const bool cancelled = answer.finish_reason == FinishReason::kCancelled;
      if (cancelled) {
        InterruptGuard::Take();
        Say(Output::Standard().is_terminal() ? Dimmed("(stopped)") : "(stopped)");
      }
      if (cancelled && answer.tokens.empty()) {
        conversation_.Undo();  // nothing was said
        break;
      }
      conversation_.AddAnswer(answer);
      if (answer.finish_reason == FinishReason::kLength) {
        Say(Output::Standard().is_terminal()
                ? Dimmed("(cut off: --max-tokens or the context is reached)")
                : "(cut off: --max-tokens or the context is reached)");
      }
      if (answer.finish_reason != FinishReason::kToolCalls) break;
      if (!AskForResponses(answer)) {
        conversation_.Undo();  // a call without a response leads nowhere
        Say("(the turn is forgotten: its call has no response)");
        break;
      }
    }
  } catch (const Error&) {
    conversation_.Undo();
    throw;
  }
  if (conversation_.turns() == turns_before) return;
  statistics_.push_back(statistics);
  media_.clear();  // a turn that failed keeps them for the next try
}

void ChatSession::ShowStatistics() const {
  if (statistics_.empty()) {
    Say("no turn yet");
    return;
  }
  const Statistics& s = statistics_.back();
  Say(fmt::format("prompt      {} tokens: {} kept, {} computed, {} of them again", s.prompt_tokens,
                  s.kept_tokens, s.computed_tokens, s.recomputed_tokens));
  Say(fmt::format("generated   {} tokens", s.generated_tokens));
  Say(fmt::format("speed       prefill {:.1f} tokens/s ({}), decode {:.1f} tokens/s ({})",
                  Rate(s.computed_tokens, s.prefill_ms), FormatMilliseconds(s.prefill_ms),
                  Rate(s.decoded_tokens, s.decode_ms), FormatMilliseconds(s.decode_ms)));
  Say(fmt::format("context     {} of {} tokens, KV {}", s.context_tokens, model_->info().context,
                  FormatBytes(model_->info().kv_bytes)));
}

}  // namespace culet::cli
