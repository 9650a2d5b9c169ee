#include "cli/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>

#include "base/error.h"

namespace culet::cli {
namespace {

using Clock = std::chrono::steady_clock;
const Clock::time_point kStart = Clock::now();

std::size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1] ? 1u : 0u)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

template <typename Value>
void ParseWhole(const std::string& text, const std::string& option, const char* expected,
                Value* value) {
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, *value);
  if (parsed.ec == std::errc() && parsed.ptr == end) return;
  throw Error(ErrorKind::kInvalidArgument,
              option + " is \"" + text.substr(0, 40) + "\"; " + expected + " is expected");
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

}  // namespace

CLI::App* AddSubcommand(CLI::App& app, const std::string& name, const std::string& description,
                        const std::string& examples) {
  CLI::App* command = app.add_subcommand(name, description);
  command->set_help_flag("-h,--help", "Print this help and exit");
  command->allow_extras();
  command->footer("Examples:\n" + examples +
                  "\nEvery option, output format and exit code: "
                  "docs/commands.md");
  return command;
}

void AddText(CLI::App& app, const std::string& name, std::string* value, const std::string& type,
             const std::string& description, bool* given) {
  CLI::Option* option = app.add_option(name, *value, description);
  if (!type.empty()) option->type_name(type);
  if (!value->empty()) option->capture_default_str();
  if (given != nullptr) option->each([given](const std::string&) { *given = true; });
}

void AddTexts(CLI::App& app, const std::string& name, std::vector<std::string>* value,
              const std::string& type, const std::string& description) {
  app.add_option(name, *value, description)->type_name(type)->take_all()->allow_extra_args(false);
}

void AddMixed(CLI::App& app, const std::vector<MixedOption>& options,
              std::vector<std::pair<std::string, std::string>>* values) {
  std::vector<const CLI::Option*> mixed;
  for (const MixedOption& option : options) {
    mixed.push_back(app.add_option(option.name, option.description)
                        ->type_name(option.type)
                        ->take_all()
                        ->expected(1)
                        ->allow_extra_args(false));
  }
  app.parse_complete_callback([&app, mixed, values] {
    // The order has an option once for every time that it was given, with one value each.
    std::map<const CLI::Option*, std::size_t> taken;
    for (const CLI::Option* option : app.parse_order()) {
      if (std::find(mixed.begin(), mixed.end(), option) == mixed.end()) continue;
      const std::size_t index = taken[option]++;
      if (index >= option->results().size()) continue;
      values->emplace_back(option->get_name(), option->results()[index]);
    }
  });
}

void AddWords(CLI::App& app, const std::string& name, std::vector<std::string>* value,
              const std::string& description) {
  app.add_option(name, *value, description)->type_name("")->take_all();
}

void AddFlag(CLI::App& app, const std::string& name, bool* value, const std::string& description) {
  app.add_flag(name, *value, description);
}

void AddParsed(CLI::App& app, const std::string& name,
               const std::function<void(const std::string&)>& parse, const std::string& type,
               const std::string& description, const std::string& default_text) {
  CLI::Option* option = app.add_option_function<std::string>(name, parse, description);
  option->type_name(type);
  if (!default_text.empty()) option->default_str(default_text);
}

void ParseNumber(const std::string& text, const std::string& option, std::int64_t* value) {
  ParseWhole(text, option, "a whole number", value);
}

void ParseNumber(const std::string& text, const std::string& option, std::uint64_t* value) {
  ParseWhole(text, option, "a whole number from 0 to 2^64 - 1", value);
}

void ParseNumber(const std::string& text, const std::string& option, double* value) {
  ParseWhole(text, option, "a number", value);
  if (std::isfinite(*value)) return;
  throw Error(ErrorKind::kInvalidArgument,
              option + " is \"" + text + "\"; a finite number is expected");
}

std::string NearestName(const std::string& word, const std::vector<std::string>& names) {
  std::string nearest;
  // A third of the letters may be wrong, two at least.
  std::size_t best = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& name : names) {
    const std::size_t distance = EditDistance(word, name);
    if (distance < best) {
      best = distance;
      nearest = name;
    }
  }
  return nearest;
}

void RefuseLeftovers(const CLI::App& app) {
  std::vector<std::string> left = app.remaining();
  std::erase(left, "--");  // the mark itself; what it protects was taken
  if (left.empty()) return;
  const auto option = std::find_if(left.begin(), left.end(), [](const std::string& word) {
    return word.size() > 1 && word[0] == '-';
  });
  if (option == left.end()) {
    throw Error(ErrorKind::kInvalidArgument,
                "\"" + left[0] + "\" is one argument too many for culet " + app.get_name() +
                    "; a text of several words needs quotes");
  }
  const std::string name = option->substr(0, option->find('='));
  std::string message = "culet " + app.get_name() + " has no option " + name;
  const std::string nearest = NearestName(name, OptionNames(app));
  if (!nearest.empty()) {
    message += "; did you mean " + nearest + "?";
  } else {
    message += ". A text that begins with a dash goes behind --";
  }
  throw Error(ErrorKind::kInvalidArgument, message);
}

std::vector<std::int64_t> ParseNumbers(const std::string& text, const std::string& option,
                                       std::int64_t low) {
  std::vector<std::int64_t> numbers;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::string_view item = std::string_view(text).substr(begin, end - begin);
    while (!item.empty() && std::isspace(static_cast<unsigned char>(item.front()))) {
      item.remove_prefix(1);
    }
    while (!item.empty() && std::isspace(static_cast<unsigned char>(item.back()))) {
      item.remove_suffix(1);
    }
    std::int64_t number = 0;
    const auto parsed = std::from_chars(item.data(), item.data() + item.size(), number);
    if (item.empty() || parsed.ec != std::errc() || parsed.ptr != item.data() + item.size() ||
        number < low) {
      throw Error(ErrorKind::kInvalidArgument,
                  option + ": item " + std::to_string(numbers.size() + 1) + " is \"" +
                      std::string(item.substr(0, 40)) + "\"; whole numbers from " +
                      std::to_string(low) + " on are expected, with commas between");
    }
    numbers.push_back(number);
    begin = end + 1;
  }
  return numbers;
}

std::string WithOptionNames(const std::string& message) {
  constexpr std::string_view kMark = "Options::";
  const auto is_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == ':';
  };
  std::string text;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t mark = message.find(kMark, begin);
    if (mark == std::string::npos) return text + message.substr(begin);
    std::size_t name = mark;  // of "TextProcessor::Options::tokenizer"
    while (name > begin && is_name(message[name - 1])) --name;
    text += message.substr(begin, name - begin) + "--";
    begin = mark + kMark.size();
    while (begin < message.size() && is_name(message[begin]) && message[begin] != ':') {
      text += message[begin] == '_' ? '-' : message[begin];
      ++begin;
    }
  }
}

double MillisecondsSinceStart() {
  return std::chrono::duration<double, std::milli>(Clock::now() - kStart).count();
}

}  // namespace culet::cli
