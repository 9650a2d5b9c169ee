// Options that several subcommands share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/command.h"
#include "cli/model_path.h"
#include "culet/generate.h"
#include "culet/model.h"
#include "culet/text.h"

namespace culet::cli {

// MODEL and how to load it.
struct ModelOptions {
  std::string model;
  std::int64_t threads = 0;
  std::int64_t context = 0;
  std::string kv = "auto";
  std::string tokenizer;
  std::vector<std::string> overrides;
  bool allow_control_tokens = false;
  bool verbose = false;
  std::string quant;  // "", "int8", "int4"
  FetchChoice fetch;

  void AddModel(CLI::App& app);
  void AddThreads(CLI::App& app);
  void AddContext(CLI::App& app);
  void AddKv(CLI::App& app);
  void AddTokenizer(CLI::App& app);
  void AddOverride(CLI::App& app);
  void AddAllowControlTokens(CLI::App& app);
  void AddVerbose(CLI::App& app);
  void AddFetch(CLI::App& app);
  void AddQuant(CLI::App& app);
  // All of the above but MODEL, for what answers.
  void AddAll(CLI::App& app);

  // Throws Error(kInvalidArgument) naming the option.
  LoadOptions ToLoadOptions() const;
  TextProcessor::Options ToTextOptions() const;
  // What `path`, where MODEL lies, is to be opened as: see QuantizedPath.
  std::filesystem::path Quantized(const std::filesystem::path& path) const;
};

// How to choose tokens; what is not given comes from the model.
struct SamplingOptions {
  std::optional<std::int64_t> max_tokens;
  std::optional<double> temperature;
  std::optional<std::int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> stop;

  void Add(CLI::App& app);
  GenerateOptions ToGenerateOptions() const;
};

// What an answer is asked with beside the user's message.
struct RequestOptions {
  std::string system;
  bool has_system = false;
  std::string tools;  // a file
  bool think = false;

  // `tools_hint` ends the help of --tools.
  void Add(CLI::App& app, const std::string& tools_hint);
};

// `tools` as JSON text of an array in OpenAI's form; functions that stand bare in it are wrapped.
// Throws Error naming `place` and the tool.
std::string ToolsText(const OrderedJson& tools, const std::string& place);
// The same of a file.
std::string ReadTools(const std::string& path);

}  // namespace culet::cli
