#include "cli/model_options.h"

#include <sstream>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "cli/command.h"
#include "cli/quantize_display.h"
#include "cli/text_input.h"

namespace culet::cli {
namespace {

void CheckAtLeast(const char* option, std::int64_t value, std::int64_t low) {
  if (value >= low) return;
  throw Error(ErrorKind::kInvalidArgument, std::string(option) + " is " + std::to_string(value) +
                                               "; it must be " + std::to_string(low) + " or more");
}

void CheckRange(const char* option, const std::optional<double>& value, double low, double high,
                const char* range) {
  if (!value || (*value >= low && *value <= high)) return;
  std::ostringstream text;
  text << option << " is " << *value << "; it must be " << range;
  throw Error(ErrorKind::kInvalidArgument, text.str());
}

KvType ReadKv(const std::string& name) {
  static constexpr std::pair<std::string_view, KvType> kTypes[] = {{"auto", KvType::kAuto},
                                                                   {"f32", KvType::kF32},
                                                                   {"bf16", KvType::kBf16},
                                                                   {"int8", KvType::kInt8}};
  for (const auto& [known, type] : kTypes) {
    if (name == known) return type;
  }
  throw Error(ErrorKind::kInvalidArgument,
              "--kv is \"" + name + "\"; it must be auto, f32, bf16 or int8");
}

}  // namespace

void ModelOptions::AddModel(CLI::App& app) {
  AddText(
      app, "MODEL", &model, "",
      "A folder, a .safetensors file beside its config.json,\na bundled model (pebble), or a model "
      "of the hub\n(e2b, owner/name, either with @revision)");
}

void ModelOptions::AddThreads(CLI::App& app) {
  AddNumber(app, "--threads", &threads,
            "Threads to compute with; 0: as many as CPUs are free to us", "N");
}

void ModelOptions::AddContext(CLI::App& app) {
  AddNumber(app, "--context", &context,
            "Tokens that prompt and answer may have together;\n"
            "0: 8192, or less where the model was made for less",
            "N");
}

void ModelOptions::AddKv(CLI::App& app) {
  AddText(app, "--kv", &kv, "TYPE",
          "What keys and values are kept as: auto, f32, bf16 or\nint8 (half the memory of bf16)");
}

void ModelOptions::AddTokenizer(CLI::App& app) {
  AddText(app, "--tokenizer", &tokenizer, "FILE", "A tokenizer.json that lies elsewhere");
}

void ModelOptions::AddOverride(CLI::App& app) {
  AddTexts(app, "--override", &overrides, "KEY=VALUE",
           "Another value for a field of config.json, such as\n"
           "text_config.sliding_window=256; may be repeated");
}

void ModelOptions::AddAllowControlTokens(CLI::App& app) {
  AddFlag(app, "--allow-control-tokens", &allow_control_tokens,
          "Control tokens in the text given count as such;\nelse they are just characters");
}

void ModelOptions::AddVerbose(CLI::App& app) {
  AddFlag(app, "--verbose", &verbose, "Print the plan to standard error");
}

void ModelOptions::AddFetch(CLI::App& app) {
  AddFlag(app, "--yes", &fetch.yes, "Fetch a model that is not there without asking");
  AddFlag(app, "--offline", &fetch.offline, "Fetch nothing: the model must be there");
}

void ModelOptions::AddQuant(CLI::App& app) {
  AddText(app, "--quant", &quant, "FORMAT",
          "Compute with int8 or int4 weights: a copy of the model\nthat is made at the first use "
          "and kept in the cache");
}

void ModelOptions::AddAll(CLI::App& app) {
  AddThreads(app);
  AddContext(app);
  AddKv(app);
  AddTokenizer(app);
  AddOverride(app);
  AddAllowControlTokens(app);
  AddQuant(app);
  AddFetch(app);
  AddVerbose(app);
}

LoadOptions ModelOptions::ToLoadOptions() const {
  CheckAtLeast("--threads", threads, 0);
  CheckAtLeast("--context", context, 0);
  if (!quant.empty() && quant != "int8" && quant != "int4") {
    throw Error(ErrorKind::kInvalidArgument,
                "--quant is \"" + quant + "\"; int8 or int4 is expected");
  }
  LoadOptions options;
  if (threads > 1024) {
    throw Error(ErrorKind::kInvalidArgument,
                "--threads is " + std::to_string(threads) + "; 1024 is the most");
  }
  options.threads = static_cast<int>(threads);
  options.context = context;
  options.kv = ReadKv(kv);
  // The command answers one after the other.
  options.sequences = 1;
  options.prefix_tokens = 0;
  options.tokenizer = tokenizer;
  options.allow_control_tokens = allow_control_tokens;
  for (const std::string& text : overrides) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error(
          ErrorKind::kInvalidArgument,
          "--override \"" + text + "\" is not KEY=VALUE, such as text_config.sliding_window=256");
    }
    options.overrides.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return options;
}

std::filesystem::path ModelOptions::Quantized(const std::filesystem::path& path) const {
  return QuantizedPath(path, quant, static_cast<int>(threads));
}

TextProcessor::Options ModelOptions::ToTextOptions() const {
  TextProcessor::Options options;
  options.tokenizer = tokenizer;
  options.allow_control_tokens = allow_control_tokens;
  return options;
}

void SamplingOptions::Add(CLI::App& app) {
  AddNumber(app, "--max-tokens", &max_tokens,
            "Most tokens of the answer; 0: until the context is full", "N");
  AddNumber(app, "--temperature", &temperature,
            "Sharpness of the choice; 0: always the likeliest token", "T");
  AddNumber(app, "--top-k", &top_k, "Choose among the K likeliest tokens; 0: all", "K");
  AddNumber(app, "--top-p", &top_p, "Choose among the likeliest that sum up to P; 1: all", "P");
  AddNumber(app, "--min-p", &min_p,
            "Leave out what is less likely than P times the likeliest; 0: off", "P");
  AddNumber(app, "--repetition-penalty", &repetition_penalty,
            "Divide the logits of tokens that were seen; 1: off", "R");
  AddNumber(app, "--seed", &seed, "Seed of the choice; the same seed gives the same answer", "N");
  AddTexts(app, "--stop", &stop, "TEXT", "End the answer before this text; may be repeated");
}

GenerateOptions SamplingOptions::ToGenerateOptions() const {
  if (max_tokens) CheckAtLeast("--max-tokens", *max_tokens, 0);
  CheckRange("--temperature", temperature, 0, 100, "0 to 100");
  if (top_k) CheckAtLeast("--top-k", *top_k, 0);
  CheckRange("--top-p", top_p, 1e-12, 1, "above 0 and at most 1");
  CheckRange("--min-p", min_p, 0, 0.999999, "0 or more and below 1");
  CheckRange("--repetition-penalty", repetition_penalty, 1e-6, 100, "above 0 and at most 100");
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.temperature = temperature;
  options.top_k = top_k;
  options.top_p = top_p;
  options.min_p = min_p;
  options.repetition_penalty = repetition_penalty;
  options.seed = seed;
  for (const std::string& text : stop) {
    CheckUtf8(text, "--stop");
    if (text.empty()) {
      throw Error(ErrorKind::kInvalidArgument,
                  "--stop is empty; it would stop every answer at once");
    }
  }
  options.stop = stop;
  return options;
}

void RequestOptions::Add(CLI::App& app, const std::string& tools_hint) {
  AddText(app, "--system", &system, "TEXT", "The system prompt", &has_system);
  AddFlag(app, "--think", &think, "Let the model think before it answers");
  AddText(app, "--tools", &tools, "FILE",
          "Tools that the model may call: a JSON array, in OpenAI's\nform or of bare functions; " +
              tools_hint);
}

std::string ToolsText(const OrderedJson& tools, const std::string& place) {
  if (!tools.is_array()) {
    throw Error(ErrorKind::kInvalidArgument,
                place + ": tools are " + JsonTypeName(tools) +
                    "; a JSON array of tools is expected: [{\"type\": \"function\", \"function\": "
                    "{\"name\": …, \"description\": …, \"parameters\": …}}]");
  }
  OrderedJson wrapped = OrderedJson::array();
  for (std::size_t index = 0; index < tools.size(); ++index) {
    const OrderedJson& tool = tools[index];
    const bool has_function = tool.is_object() && tool.contains("function");
    const OrderedJson& function = has_function ? tool["function"] : tool;
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string()) {
      throw Error(
          ErrorKind::kInvalidArgument,
          place + ": tool " + std::to_string(index) +
              " has no function name; {\"name\": …, \"description\": …, \"parameters\": …} is "
              "expected, alone or as \"function\"");
    }
    wrapped.push_back(has_function ? tool : OrderedJson{{"type", "function"}, {"function", tool}});
  }
  return wrapped.dump();
}

std::string ReadTools(const std::string& path) {
  const std::string place = path == "-" ? "standard input" : path;
  return ToolsText(ParseOrderedJson(ReadTextFile(path), place), place);
}

}  // namespace culet::cli
