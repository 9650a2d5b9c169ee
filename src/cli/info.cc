// culet info: what a model is and what running it takes.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "cli/command.h"
#include "cli/log.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "culet/json.h"

namespace culet::cli {
namespace {

struct InfoOptions {
  ModelOptions model;
  std::optional<std::int64_t> image_tokens;
  bool json = false;
};

void Line(const std::string& name, const std::string& value) {
  Output::Standard().Write(fmt::format("{:<20} {}\n", name, value));
}

std::string HeadsText(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim) {
  return fmt::format("{} heads of {}, {} for K and V", heads, head_dim, kv_heads);
}

void PrintShape(const ModelInfo& info) {
  Line("model", info.path);
  Line("variant", fmt::format("{} ({})", info.variant, info.model_type));
  Line("weights", info.dtype);
  Line("layers", fmt::format("{}: {} sliding (window {}), {} full{}", info.layers,
                             info.sliding_layers, info.window, info.full_layers,
                             info.shared_kv_layers > 0
                                 ? fmt::format("; the last {} share KV", info.shared_kv_layers)
                                 : ""));
  Line("hidden", std::to_string(info.hidden));
  Line("vocabulary",
       fmt::format("{}{}", info.vocab,
                   info.tied_head ? ", head tied to the embedding" : ", head of its own"));
  if (info.sliding_layers > 0) {
    Line("sliding attention", HeadsText(info.heads, info.sliding_kv_heads, info.sliding_head_dim));
  }
  if (info.full_layers > 0) {
    Line("full attention", HeadsText(info.heads, info.full_kv_heads, info.full_head_dim) +
                               (info.k_eq_v ? ", V taken from K" : ""));
  }
  Line("MLP width", info.widest_intermediate > info.intermediate
                        ? fmt::format("{}, widest {}", info.intermediate, info.widest_intermediate)
                        : std::to_string(info.intermediate));
  if (info.experts > 0) {
    Line("experts", fmt::format("{} of width {}, {} a token", info.experts,
                                info.expert_intermediate, info.experts_per_token));
  }
  if (info.ple_width > 0) Line("per-layer embedding", fmt::format("width {}", info.ple_width));
  Line("positions", fmt::format("up to {}", info.max_positions));
  Line("chat template", info.has_chat_template ? "yes" : "none (base models have none)");
  Line("inputs", fmt::format("{}", fmt::join(info.inputs, ", ")));
}

void PrintSizes(const ModelInfo& info) {
  Output::Standard().Write("\n");
  Line("part", fmt::format("{:>12} {:>12}", "parameters", "bytes"));
  for (const PartSize& part : info.parts) {
    Line("  " + part.part,
         fmt::format("{:>12} {:>12}", FormatCount(part.parameters), FormatBytes(part.bytes)));
  }
  Line("  all",
       fmt::format("{:>12} {:>12}", FormatCount(info.parameters), FormatBytes(info.weight_bytes)));
  if (info.unused_bytes > 0) {
    Line("  unused", fmt::format("{:>12} {:>12}", "", FormatBytes(info.unused_bytes)));
  }
}

void PrintPlanned(const ModelInfo& info) {
  Output::Standard().Write("\n");
  Line("context", fmt::format("{} tokens, {} a step", info.context, info.chunk));
  Line("KV", fmt::format("{} in {}", FormatBytes(info.kv_bytes), info.kv_dtype));
  Line("activations", FormatBytes(info.activation_bytes));
  Line("resident memory", FormatBytes(info.resident_bytes));
  if (info.media_bytes > 0) Line("media", FormatBytes(info.media_bytes) + " more with the first");
  Line("a decoded token",
       fmt::format("reads {} of weights, {} multiply-adds", FormatBytes(info.bytes_per_token),
                   FormatCount(info.macs_per_decoded_token)));
  Line("a prompt token", fmt::format("{} multiply-adds", FormatCount(info.macs_per_prompt_token)));
  Line("CPU", fmt::format("{}, level {}, {} thread{}", info.cpu_model, info.cpu_level, info.threads,
                          info.threads == 1 ? "" : "s"));
}

int Run(const InfoOptions& options) {
  const std::filesystem::path path = ResolveModel(options.model.model);
  LoadOptions load = options.model.ToLoadOptions();
  load.image_tokens = options.image_tokens;
  const ModelInfo info = Describe(path, load);
  PrintWarnings(info);
  if (options.model.verbose) PrintPlan(info);
  if (options.json) {
    Output::Standard().Write(ToJson(info) + "\n");
    return 0;
  }
  PrintShape(info);
  PrintSizes(info);
  PrintPlanned(info);
  return 0;
}

}  // namespace

Command AddInfo(CLI::App& app) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* command = AddSubcommand(app, "info", "What a model is and what running it will take",
                                    "  culet info pebble\n"
                                    "  culet info MODEL --context 131072 --json\n");
  options->model.AddModel(*command);
  AddNumber(*command, "--image-tokens", &options->image_tokens,
            "Plan for pictures of up to so many tokens: 70, 140,\n280, 560 or 1120; without it for "
            "the largest",
            "N");
  AddFlag(*command, "--json", &options->json, "Print one JSON object");
  options->model.AddThreads(*command);
  options->model.AddKv(*command);
  options->model.AddContext(*command);
  options->model.AddOverride(*command);
  options->model.AddVerbose(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
