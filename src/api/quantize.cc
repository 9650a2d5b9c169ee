// Quantised models: written, measured, and refused where they are too far from their source.
#include "culet/quantize.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>

#include "api/boundary.h"
#include "api/calibrate.h"
#include "api/quality.h"
#include "api/report_text.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/folder_in_making.h"
#include "checkpoint/quantize_checkpoint.h"
#include "checkpoint/quantize_recipe.h"
#include "culet/model.h"
#include "culet/tools.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

// Of the source: up to here classes are measured one by one where nobody says, and on more tokens.
constexpr std::uint64_t kSmallModelBytes = 2'000'000'000;
constexpr std::int64_t kSmallModelTokens = 16384;
constexpr std::int64_t kLargeModelTokens = 1024;
constexpr std::int64_t kCalibrationTokens = 8192;
constexpr std::int64_t kWindowTokens = 512;
// Logits of a window of the source are held.
constexpr std::int64_t kWindowBytes = 256 << 20;

std::string Number(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string FormatName(const PlannedTensor& tensor) {
  if (tensor.dense()) return "as it was";
  const WeightLayout& layout = tensor.layout;
  const std::string bits = IsInt4(layout.format) ? "int4" : "int8";
  return bits + ", groups of " + std::to_string(layout.group);
}

// Of each class in the order of the table, what most of its bytes became.
std::vector<QuantizedClass> ClassesOf(const std::vector<PlannedTensor>& tensors) {
  std::vector<QuantizedClass> classes;
  std::vector<std::map<std::string, std::uint64_t>> formats;
  for (const PlannedTensor& tensor : tensors) {
    auto found = std::find_if(classes.begin(), classes.end(),
                              [&](const auto& known) { return known.part == tensor.part; });
    if (found == classes.end()) {
      classes.push_back({tensor.part, "", 0, 0, 0, {}});
      formats.emplace_back();
      found = classes.end() - 1;
    }
    found->parameters += static_cast<std::uint64_t>(tensor.source->elements());
    found->source_bytes += tensor.source->bytes.size();
    found->bytes += tensor.bytes();
    formats[static_cast<std::size_t>(found - classes.begin())][FormatName(tensor)] +=
        tensor.source->bytes.size();
  }
  for (std::size_t i = 0; i < classes.size(); ++i) {
    classes[i].format =
        std::max_element(formats[i].begin(), formats[i].end(), [](const auto& a, const auto& b) {
          return a.second < b.second;
        })->first;
  }
  return classes;
}

// Tensors that stay dense although their class does not: one line for those that differ in their
// layer's number alone.
std::vector<std::string> NotesOf(const std::vector<PlannedTensor>& tensors) {
  std::map<std::string, std::vector<std::string>> names;  // by what is said of them
  for (const PlannedTensor& tensor : tensors) {
    if (tensor.reason.empty()) continue;
    const std::string& name = tensor.source->name;
    std::string kind;
    for (const char c : name) {
      const bool digit = c >= '0' && c <= '9';
      if (!digit) {
        kind += c;
      } else if (!kind.ends_with('*')) {
        kind += '*';
      }
    }
    names[kind + " stays as it is: " + tensor.reason].push_back(name);
  }
  std::vector<std::string> notes;
  for (const auto& [text, of] : names) {
    notes.push_back(of.size() == 1 ? of.front() + text.substr(text.find(' '))
                                   : text + " (" + std::to_string(of.size()) + " tensors)");
  }
  return notes;
}

// What the copy lacks of its source, and what is to be known of that.
std::vector<std::string> LeftOut(const Checkpoint& checkpoint) {
  std::vector<std::string> notes = checkpoint.warnings();
  struct Sum {
    std::int64_t tensors = 0;
    std::uint64_t bytes = 0;
  };
  std::map<std::string, Sum> unused;  // by reason
  for (const Checkpoint::Listing& listing : checkpoint.listings()) {
    if (listing.use != TensorUse::kUnused) continue;
    Sum& sum = unused[listing.reason];
    ++sum.tensors;
    sum.bytes += listing.bytes;
  }
  for (const auto& [reason, sum] : unused) {
    notes.push_back("left out: " + std::to_string(sum.tensors) + " tensors of " +
                    std::to_string(sum.bytes) + " bytes (" + reason + ")");
  }
  return notes;
}

// One run: the checkpoint, what becomes of it, and what is known of the result.
class Quantizing {
 public:
  Quantizing(const fs::path& path, const fs::path& folder, const QuantizeOptions& options)
      : path_(path),
        options_(options),
        recipe_(MakeRecipe(options.to, options.group, options.keep)),
        checkpoint_(Checkpoint::Open(FileSystem::Real(), path)),
        pool_(options.threads > 0 ? options.threads : DefaultThreads()),
        tensors_(PlanQuantization(checkpoint_, recipe_)),
        making_(folder) {
    CheckOptions();
    result_.folder = folder;
    result_.classes = ClassesOf(tensors_);
    result_.notes = NotesOf(tensors_);
    for (const std::string& note : LeftOut(checkpoint_)) result_.notes.push_back(note);
    for (const PlannedTensor& tensor : tensors_) {
      result_.source_bytes += tensor.source->bytes.size();
      result_.bytes += tensor.bytes();
    }
  }

  QuantizeResult Run() {
    if (!options_.calibration.empty()) Calibrate();
    Write(recipe_, tensors_, making_.path(), "quantising");
    if (options_.report != QuantizeReport::kNone) Measure();
    if (result_.quality) CheckBounds();
    WriteReport();
    // What cannot be opened is not given a name.
    Checkpoint::Open(FileSystem::Real(), making_.path());
    making_.Commit();
    return std::move(result_);
  }

 private:
  // What would be given and not used.
  void CheckOptions() const {
    const auto refuse = [](const std::string& what) {
      throw Error(ErrorKind::kInvalidArgument, "QuantizeOptions::" + what);
    };
    if (!options_.calibration.empty() && !recipe_.has_int4()) {
      refuse("calibration weighs columns of int4 weights, and nothing is to be int4; leave it out");
    }
    if (options_.report != QuantizeReport::kNone) return;
    if (!options_.report_text.empty()) {
      refuse("report_text is what a report is measured on, and none is asked for; leave it out");
    }
    if (options_.force) {
      refuse("force passes the bounds of a report, and none is asked for; leave it out");
    }
  }

  void Show(const char* what, double done, double total) const {
    if (options_.on_progress) options_.on_progress(what, done, total);
  }

  void Write(const QuantizeRecipe& recipe, const std::vector<PlannedTensor>& tensors,
             const fs::path& to, const char* what) {
    QuantizeWriteOptions write;
    write.column_weights = column_weights_;
    write.progress = [&](std::uint64_t done, std::uint64_t total) {
      Show(what, static_cast<double>(done), static_cast<double>(total));
    };
    WriteQuantized(checkpoint_, recipe, tensors, pool_, to, write);
  }

  // Rows of logits are asked for, one sequence at a time.
  std::shared_ptr<Model> Load(const fs::path& path, std::int64_t window) const {
    LoadOptions load;
    load.threads = options_.threads;
    load.context = window;
    load.chunk = window;
    load.sequences = 1;
    load.prefix_tokens = 0;
    return Model::Load(path, load);
  }

  std::int64_t Window() const {
    const std::int64_t fits = kWindowBytes / (4 * checkpoint_.config().vocab);
    return std::min(checkpoint_.config().max_positions,
                    std::clamp<std::int64_t>(fits, 32, kWindowTokens));
  }

  void Calibrate() {
    const std::shared_ptr<Model> source = Load(path_, Window());
    const std::vector<std::vector<TokenId>> windows =
        TextWindows(source->text(), options_.calibration, Window(), kCalibrationTokens);
    std::int64_t total = 0;
    for (const auto& tokens : windows) total += static_cast<std::int64_t>(tokens.size());
    if (total == 0) {
      throw Error(
          ErrorKind::kInvalidArgument,
          "QuantizeOptions::calibration has no two tokens; a text of some thousand is needed");
    }
    column_weights_ = culet::Calibrate(*source, windows, [&](std::int64_t done) {
      if (done % 16 == 0) {
        Show("calibrating", static_cast<double>(done), static_cast<double>(total));
      }
    });
  }

  void Measure() {
    const bool small = result_.source_bytes <= kSmallModelBytes;
    const std::int64_t window = Window();
    const std::shared_ptr<Model> source = Load(path_, window);
    if (!source->text().has_tokenizer()) {
      if (options_.report != QuantizeReport::kAuto) {
        throw Error(ErrorKind::kNotFound,
                    path_.string() + ": has no tokenizer.json, which a report needs; ask for none");
      }
      result_.notes.push_back("no report: the model has no tokenizer.json");
      return;
    }
    const std::vector<std::vector<TokenId>> windows = TextWindows(
        source->text(), options_.report_text.empty() ? ReportText() : options_.report_text, window,
        small ? kSmallModelTokens : kLargeModelTokens);
    if (windows.empty()) {
      throw Error(
          ErrorKind::kInvalidArgument,
          "QuantizeOptions::report_text has no two tokens; a text of some hundred is needed");
    }
    QualityMeter meter(*source, windows);
    result_.report_tokens = meter.tokens();
    const bool classes = options_.report == QuantizeReport::kClasses ||
                         (options_.report == QuantizeReport::kAuto && small);
    std::vector<QuantizedClass*> measured;
    for (QuantizedClass& quantized : result_.classes) {
      if (classes && quantized.bytes < quantized.source_bytes) measured.push_back(&quantized);
    }
    const double total =
        static_cast<double>(meter.tokens()) * static_cast<double>(measured.size() + 1);
    double before = 0;
    const auto measure = [&](const fs::path& folder) {
      const std::shared_ptr<Model> model = Load(folder, window);
      const QuantizeQuality quality = meter.Measure(*model, [&](std::int64_t done) {
        if (done % 16 == 0) Show("measuring", before + static_cast<double>(done), total);
      });
      before += static_cast<double>(meter.tokens());
      return quality;
    };
    result_.quality = measure(making_.path());
    for (QuantizedClass* quantized : measured) {
      const fs::path folder = making_.path() / "class";
      FileSystem::Real().CreateFolders(folder);
      const QuantizeRecipe alone = Alone(quantized->part);
      Write(alone, PlanQuantization(checkpoint_, alone), folder, "measuring");
      quantized->quality = measure(folder);
      fs::remove_all(folder);
    }
  }

  // The recipe with all classes but one kept.
  QuantizeRecipe Alone(const std::string& part) const {
    QuantizeRecipe recipe = recipe_;
    for (auto& [name, bits] : recipe.bits) {
      if (name != part) bits = QuantBits::kKeep;
    }
    return recipe;
  }

  void CheckBounds() const {
    const QuantizeQuality& quality = *result_.quality;
    if (options_.force ||
        (quality.mean_kl <= kMostQuantizeKl && quality.top1_agreement >= kLeastQuantizeAgreement)) {
      return;
    }
    const QuantizedClass* worst = nullptr;
    for (const QuantizedClass& quantized : result_.classes) {
      if (!quantized.quality) continue;
      if (worst == nullptr || quantized.quality->mean_kl > worst->quality->mean_kl) {
        worst = &quantized;
      }
    }
    throw Error(
        ErrorKind::kUnsupported,
        result_.folder.string() + ": not written, as the " + recipe_.name +
            " model would be too far from its source: mean KL " + Number(quality.mean_kl, "%.3g") +
            " nats a token (at most " + Number(kMostQuantizeKl, "%.3g") + "), same first choice " +
            Number(100 * quality.top1_agreement, "%.1f") + "% (at least " +
            Number(100 * kLeastQuantizeAgreement, "%.0f") + "%)" +
            (worst == nullptr ? ""
                              : ", most of it from the class " + worst->part + " (" +
                                    Number(worst->quality->mean_kl, "%.3g") + ")") +
            ". QuantizeOptions::keep keeps a class in more bits, a smaller "
            "QuantizeOptions::group is finer, QuantizeOptions::force writes it all the same");
  }

  void WriteReport() const;

  fs::path path_;
  const QuantizeOptions& options_;
  QuantizeRecipe recipe_;
  Checkpoint checkpoint_;
  ThreadPool pool_;
  std::vector<PlannedTensor> tensors_;
  FolderInMaking making_;
  ColumnWeights column_weights_;
  QuantizeResult result_;
};

OrderedJson QualityJson(const QuantizeQuality& quality) {
  OrderedJson json;
  json["mean_kl"] = quality.mean_kl;
  json["p99_kl"] = quality.p99_kl;
  json["top1_agreement"] = quality.top1_agreement;
  json["perplexity"] = quality.perplexity;
  json["source_perplexity"] = quality.source_perplexity;
  return json;
}

std::string QualityCells(const std::optional<QuantizeQuality>& quality) {
  if (!quality) return "| | | | ";
  return "| " + Number(quality->mean_kl, "%.4f") + " | " + Number(quality->p99_kl, "%.3f") + " | " +
         Number(100 * quality->top1_agreement, "%.1f") + "% | " +
         Number(quality->perplexity, "%.3f") + " ";
}

std::string Megabytes(std::uint64_t bytes) {
  return Number(static_cast<double>(bytes) / 1e6, bytes < 10'000'000 ? "%.2f" : "%.0f");
}

void Quantizing::WriteReport() const {
  FileSystem& files = FileSystem::Real();
  const char* passage = options_.report_text.empty() ? "culet's own passage" : "a given text";
  OrderedJson json;
  json["culet"] = Version();
  json["quantization_config"] =
      DescribeRecipe(checkpoint_.main_dtype(), recipe_, !options_.calibration.empty());
  json["source_bytes"] = result_.source_bytes;
  json["bytes"] = result_.bytes;
  if (result_.quality) {
    json["report"]["text"] = passage;
    json["report"]["tokens"] = result_.report_tokens;
    json["report"]["quality"] = QualityJson(*result_.quality);
  }
  OrderedJson& classes = json["classes"] = OrderedJson::array();
  std::string table =
      "| class | format | MB before | MB | mean KL | 99% KL | same first choice | perplexity |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
  const auto add_row = [&](const std::string& name, const std::string& format, std::uint64_t before,
                           std::uint64_t bytes, const std::optional<QuantizeQuality>& quality) {
    table += "| " + name + " | " + format + " | " + Megabytes(before) + " | " + Megabytes(bytes) +
             " " + QualityCells(quality) + "|\n";
  };
  for (const QuantizedClass& quantized : result_.classes) {
    OrderedJson row;
    row["class"] = quantized.part;
    row["format"] = quantized.format;
    row["parameters"] = quantized.parameters;
    row["source_bytes"] = quantized.source_bytes;
    row["bytes"] = quantized.bytes;
    if (quantized.quality) row["quality"] = QualityJson(*quantized.quality);
    classes.push_back(std::move(row));
    add_row(quantized.part, quantized.format, quantized.source_bytes, quantized.bytes,
            quantized.quality);
  }
  add_row("all", recipe_.name, result_.source_bytes, result_.bytes, result_.quality);
  OrderedJson& notes = json["notes"] = OrderedJson::array();
  for (const std::string& note : result_.notes) notes.push_back(note);
  files.WriteFileAtomically(making_.path() / "quantization.json", json.dump(2) + "\n");

  std::string readme;
  if (files.Exists(making_.path() / "README.md")) {
    readme = files.ReadFile(making_.path() / "README.md", 64 << 20) + "\n";
  }
  readme += "# Integer weights\n\nThis copy was made by culet " + std::string(Version()) +
            " with the recipe " + recipe_.name + ". What stands above is about its source.\n\n";
  if (result_.quality) {
    readme +=
        "KL(source ‖ this) in nats a token, how often both have the same likeliest token, and "
        "perplexity (the source's: " +
        Number(result_.quality->source_perplexity, "%.3f") + "), over " +
        std::to_string(result_.report_tokens) + " tokens of " + passage +
        "; of a class, with that class alone quantised.\n\n";
  }
  readme += table;
  files.WriteFileAtomically(making_.path() / "README.md", readme);
}

}  // namespace

QuantizeResult QuantizeModel(const fs::path& path, const fs::path& folder,
                             const QuantizeOptions& options) try {
  return Quantizing(path, folder, options).Run();
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
