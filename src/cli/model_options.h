// Options that several subcommands share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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
  std::string tokenizer;
  std::vector<std::string> overrides;
  bool allow_control_tokens = false;
  bool verbose = false;
  FetchChoice fetch;

  void AddModel(CLI::App& app);
  void AddThreads(CLI::App& app);
  void AddContext(CLI::App& app);
  void AddTokenizer(CLI::App& app);
  void AddOverride(CLI::App& app);
  void AddAllowControlTokens(CLI::App& app);
  void AddVerbose(CLI::App& app);
  void AddFetch(CLI::App& app);

  // Throws Error(kInvalidArgument) naming the option.
  LoadOptions ToLoadOptions() const;
  TextProcessor::Options ToTextOptions() const;
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

// The tools of a file as JSON text of an array in OpenAI's form; functions that stand bare in it
// are wrapped. Throws Error naming the file and the tool.
std::string ReadTools(const std::string& path);

}  // namespace culet::cli
