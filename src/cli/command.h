// The subcommands: each file adds one to the list, main.cc parses and runs.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// CLI11 is a large header: only main.cc and command.cc read it.
namespace CLI {
class App;
}

namespace culet::cli {

struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;  // returns the exit code; throws culet::Error
};

// Adds a subcommand whose help ends with `examples`. Arguments that nothing takes are collected and
// refused by main.cc with a suggestion, so that the message is ours.
CLI::App* AddSubcommand(CLI::App& app, const std::string& name, const std::string& description,
                        const std::string& examples);

Command AddRun(CLI::App& app);
Command AddChat(CLI::App& app);
Command AddInfo(CLI::App& app);
Command AddTokenize(CLI::App& app);
Command AddRender(CLI::App& app);
Command AddParse(CLI::App& app);
Command AddLogits(CLI::App& app);
Command AddFeatures(CLI::App& app);
Command AddEmbed(CLI::App& app);
Command AddBench(CLI::App& app);
Command AddSynth(CLI::App& app);
Command AddQuantize(CLI::App& app);
Command AddPull(CLI::App& app);
Command AddList(CLI::App& app);
Command AddRm(CLI::App& app);
Command AddVerify(CLI::App& app);
Command AddDoctor(CLI::App& app);

// Throws Error(kInvalidArgument) that names the first argument that `app` did not take.
void RefuseLeftovers(const CLI::App& app);

// The nearest of `names` if it is near enough to be meant, else "".
std::string NearestName(const std::string& word, const std::vector<std::string>& names);

// "1,2,3" of whole numbers from `low` on, for the option of that name.
std::vector<std::int64_t> ParseNumbers(const std::string& text, const std::string& option,
                                       std::int64_t low);

// Whole text as a number. Throws Error(kInvalidArgument) naming option, value and what is expected
// where it is none, or beyond what the type holds.
void ParseNumber(const std::string& text, const std::string& option, std::int64_t* value);
void ParseNumber(const std::string& text, const std::string& option, std::uint64_t* value);
void ParseNumber(const std::string& text, const std::string& option, double* value);

// Options and positional arguments (names without dashes) of a subcommand. `type` stands for the
// value in the help, and what `value` holds already is shown as the default. `given` is set where
// it was given.
void AddText(CLI::App& app, const std::string& name, std::string* value, const std::string& type,
             const std::string& description, bool* given = nullptr);
// May be repeated; each takes one value.
void AddTexts(CLI::App& app, const std::string& name, std::vector<std::string>* value,
              const std::string& type, const std::string& description);
// Options that may be repeated and mixed: each occurrence becomes a pair of name and value, in the
// order of the command line.
struct MixedOption {
  std::string name, type, description;
};
void AddMixed(CLI::App& app, const std::vector<MixedOption>& options,
              std::vector<std::pair<std::string, std::string>>* values);
// All words that are left, behind the other positional arguments.
void AddWords(CLI::App& app, const std::string& name, std::vector<std::string>* value,
              const std::string& description);
void AddFlag(CLI::App& app, const std::string& name, bool* value, const std::string& description);
void AddParsed(CLI::App& app, const std::string& name,
               const std::function<void(const std::string&)>& parse, const std::string& type,
               const std::string& description, const std::string& default_text);

// CLI11's own conversion lets -1 pass for unsigned numbers, and numbers beyond 64 bits.
template <typename Value>
void AddNumber(CLI::App& app, const std::string& name, Value* value, const std::string& description,
               const std::string& type, const std::string& default_text = "") {
  AddParsed(
      app, name, [name, value](const std::string& text) { ParseNumber(text, name, value); }, type,
      description, default_text);
}
template <typename Value>
void AddNumber(CLI::App& app, const std::string& name, std::optional<Value>* value,
               const std::string& description, const std::string& type) {
  AddParsed(
      app, name,
      [name, value](const std::string& text) { ParseNumber(text, name, &value->emplace()); }, type,
      description, "");
}

// `message` with this command's names for the fields of the C++ interface: LoadOptions::max_tokens,
// as errors of the interface say, becomes --max-tokens.
std::string WithOptionNames(const std::string& message);

// Milliseconds since the program was started.
double MillisecondsSinceStart();

}  // namespace culet::cli
