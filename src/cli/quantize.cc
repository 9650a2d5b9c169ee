// culet quantize: a model with integer weights, and how far it is from its source.
#include "culet/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "cli/command.h"
#include "cli/log.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/quantize_display.h"
#include "cli/sizes.h"
#include "cli/text_input.h"

namespace culet::cli {
namespace {

struct QuantizeCommandOptions {
  ModelOptions model;
  std::string folder;
  std::string to = "int8";
  std::int64_t group = 0;
  std::vector<std::string> keep;
  std::string calibration;
  std::string report = "auto";
  std::string report_text;
  bool force = false;
};

QuantizeReport ReportOf(const std::string& name) {
  if (name == "auto") return QuantizeReport::kAuto;
  if (name == "none") return QuantizeReport::kNone;
  if (name == "whole") return QuantizeReport::kWhole;
  if (name == "classes") return QuantizeReport::kClasses;
  throw Error(ErrorKind::kInvalidArgument,
              "--report is \"" + name + "\"; auto, none, whole or classes is expected");
}

// The text of the file that `option` names, none where it was not given.
std::string ReadPassage(const std::string& file, const std::string& option) {
  if (file.empty()) return "";
  std::string text = ReadTextFile(file);
  CheckUtf8(text, option);
  if (text.empty()) throw Error(ErrorKind::kInvalidArgument, option + ": the file is empty");
  return text;
}

QuantizeOptions ToQuantizeOptions(const QuantizeCommandOptions& options) {
  QuantizeOptions quantize;
  quantize.to = options.to;
  quantize.group = options.group;
  for (const std::string& text : options.keep) {
    const std::size_t equals = std::min(text.find('='), text.size());
    quantize.keep.emplace_back(text.substr(0, equals),
                               equals == text.size() ? "bf16" : text.substr(equals + 1));
  }
  quantize.calibration = ReadPassage(options.calibration, "--calibration");
  quantize.report = ReportOf(options.report);
  quantize.report_text = ReadPassage(options.report_text, "--report-text");
  quantize.force = options.force;
  quantize.threads = options.model.ToLoadOptions().threads;
  return quantize;
}

std::string QualityText(const QuantizeQuality& quality) {
  return fmt::format("{:8.4f} {:8.3f} {:7.1f}% {:9.3f}", quality.mean_kl, quality.p99_kl,
                     100 * quality.top1_agreement, quality.perplexity);
}

void PrintResult(const QuantizeResult& result, const std::string& to) {
  Output& out = Output::Standard();
  const bool classes =
      std::any_of(result.classes.begin(), result.classes.end(),
                  [](const QuantizedClass& quantized) { return quantized.quality.has_value(); });
  out.Write(fmt::format("{:<22}{:<22}{:>10}{:>11}{}\n", "class", "format", "before", "bytes",
                        result.quality ? "  mean KL   99% KL  same 1st  perplexity" : ""));
  const auto row = [&](const std::string& name, const std::string& format, std::uint64_t before,
                       std::uint64_t bytes, const std::optional<QuantizeQuality>& quality) {
    out.Write(fmt::format("{:<22}{:<22}{:>10}{:>11}{}\n", name, format, FormatBytes(before),
                          FormatBytes(bytes), quality ? " " + QualityText(*quality) : ""));
  };
  for (const QuantizedClass& quantized : result.classes) {
    row(quantized.part, quantized.format, quantized.source_bytes, quantized.bytes,
        quantized.quality);
  }
  row("all", to, result.source_bytes, result.bytes, result.quality);
  if (result.quality) {
    out.Write(fmt::format(
        "\nKL(source, copy) in nats a token, how often both have the same likeliest token, and "
        "perplexity\n(the source's: {:.3f}), over {} tokens{}\n",
        result.quality->source_perplexity, result.report_tokens,
        classes ? "; of a class, with it alone quantised" : ""));
  }
  for (const std::string& note : result.notes) Note(note);
}

int Run(const QuantizeCommandOptions& options) {
  const std::filesystem::path path = ResolveModel(options.model.model);
  if (options.folder.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                "culet quantize needs MODEL and OUT, such as culet quantize e2b e2b-int8");
  }
  QuantizeOptions quantize = ToQuantizeOptions(options);
  QuantizeDisplay display;
  quantize.on_progress = display.Callback();
  PrintResult(QuantizeModel(path, options.folder, quantize), options.to);
  return 0;
}

}  // namespace

Command AddQuantize(CLI::App& app) {
  auto options = std::make_shared<QuantizeCommandOptions>();
  CLI::App* command = AddSubcommand(
      app, "quantize", "Write a model with integer weights, and measure what it costs",
      "  culet quantize e2b e2b-int8\n"
      "  culet quantize e2b e2b-int4 --to int4 --group 64 --report-text prose.txt\n"
      "  culet quantize pebble pebble-int4 --to int4 --keep attention=int8 --keep mlp\n");
  options->model.AddModel(*command);
  AddText(*command, "OUT", &options->folder, "",
          "The folder to make; it must be empty if it is there");
  AddText(*command, "--to", &options->to, "FORMAT", "int8 or int4");
  AddNumber(*command, "--group", &options->group,
            "Most columns that share a scale in int4:\n32, 64 or 128; 0: 32", "N");
  AddTexts(*command, "--keep", &options->keep, "CLASS[=BITS]",
           "Keep a class of tensors in bf16 (as it is),\nor make it int8 or int4: embedding,\n"
           "per-layer-embedding, per-layer-projection,\nattention, mlp, experts, head; may be "
           "repeated");
  AddText(*command, "--calibration", &options->calibration, "FILE",
          "A text like those that the model is for:\nin int4, columns count as it uses them");
  AddText(*command, "--report", &options->report, "KIND",
          "How far the copy is from MODEL: none, whole,\nclasses (each class by itself), or auto:\n"
          "classes where MODEL has at most 2 GB");
  AddText(*command, "--report-text", &options->report_text, "FILE",
          "The text to measure on; else a passage\nof culet's own");
  AddFlag(*command, "--force", &options->force, "Write it however far it is from MODEL");
  options->model.AddThreads(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
