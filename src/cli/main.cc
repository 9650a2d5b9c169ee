// The command `culet`: parses, runs one subcommand, turns errors into messages and exit codes.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "culet/tools.h"

namespace culet::cli {

int ExitCodeOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return kExitUsage;
    case ErrorKind::kNotFound: return kExitNotFound;
    case ErrorKind::kCorrupt: return kExitCorrupt;
    case ErrorKind::kUnsupported: return kExitUnsupported;
    case ErrorKind::kResource: return kExitResource;
    case ErrorKind::kIo: return kExitIo;
    case ErrorKind::kInternal: return kExitInternal;
  }
  return kExitInternal;
}

namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  culet run pebble \"What is 27 + 45?\"\n"
    "  culet chat MODEL --think\n"
    "  culet info MODEL --context 32768\n"
    "\n"
    "culet SUBCOMMAND --help tells the options of one. Everything else: docs/commands.md";

int Fail(const std::string& message, int exit_code) {
  fmt::print(stderr, "culet: {}\n", message);
  return exit_code;
}

int ParseAndRun(int argc, char** argv) {
  CLI::App app("culet runs Gemma 4 on the CPU", "culet");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag("--version", std::string("culet ") + Version(),
                       "Print the version and exit");
  app.footer(kExamples);
  app.allow_extras();
  app.require_subcommand(0, 1);
  const std::vector<Command> commands = {
      AddRun(app),    AddChat(app),     AddInfo(app),     AddTokenize(app), AddRender(app),
      AddParse(app),  AddLogits(app),   AddFeatures(app), AddEmbed(app),    AddBench(app),
      AddSynth(app),  AddQuantize(app), AddPull(app),     AddList(app),     AddRm(app),
      AddVerify(app), AddDoctor(app)};
  // What other programs of this kind take too: culet help, culet help run, culet version.
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  if (!words.empty() && words[0] == "help") {
    words.erase(words.begin());
    words.push_back("--help");
  } else if (words.size() == 1 && words[0] == "version") {
    words[0] = "--version";
  }
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    const std::vector<CLI::App*> chosen = app.get_subcommands();
    Output::Standard().Write(chosen.empty() ? app.help() : chosen[0]->help("culet"));
    return 0;
  } catch (const CLI::CallForVersion& version) {
    Output::Standard().Write(std::string(version.what()) + "\n");
    return 0;
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorKind::kInvalidArgument, error.what());
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    RefuseLeftovers(*command.app);
    return command.run();
  }
  const std::vector<std::string> left = app.remaining();
  if (left.empty()) {
    fmt::print(stderr, "{}", app.help());
    return kExitUsage;
  }
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.app->get_name());
  const std::string nearest = NearestName(left[0], names);
  const std::string kind = left[0][0] == '-' ? "option" : "subcommand";
  throw Error(ErrorKind::kInvalidArgument,
              "there is no " + kind + " \"" + left[0] + "\"; " +
                  (nearest.empty() ? "" : "did you mean " + nearest + "? ") +
                  "culet --help lists what there is");
}

// What was done before an error goes out before its message.
void FlushQuietly() {
  try {
    Output::Standard().Flush();
  } catch (...) {  // the message to come says more
  }
}

// Where one of the standard streams was closed, the next file to be opened would get its number,
// and be read or written for it. What stands in here fails at both.
void HoldStandardStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF) {
      ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

int Main(int argc, char** argv) {
  HoldStandardStreams();
  ::signal(SIGPIPE, SIG_IGN);  // a closed pipe is seen where it is written to
  try {
    const int exit_code = ParseAndRun(argc, argv);
    Output::Standard().Flush();
    return exit_code;
  } catch (const ClosedPipe&) {
    return kExitClosedPipe;
  } catch (const Interrupted&) {
    return kExitInterrupted;
  } catch (const Error& error) {
    FlushQuietly();
    return Fail(WithOptionNames(error.what()), ExitCodeOf(error.kind()));
  } catch (const std::bad_alloc&) {
    return Fail(
        "memory ran out: what was given to read, or the model, is larger than what is free here",
        kExitResource);
  } catch (const std::exception& error) {
    return Fail(std::string("internal error, please report it: ") + error.what(), kExitInternal);
  }
}

}  // namespace
}  // namespace culet::cli

int main(int argc, char** argv) { return culet::cli::Main(argc, argv); }
