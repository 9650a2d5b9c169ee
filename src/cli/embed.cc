// culet embed: texts as vectors.
#include "culet/embed.h"

#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/npy_file.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "cli/text_input.h"

namespace culet::cli {
namespace {

// Texts that are given to the model at once: many steps' worth, and results are not held long.
constexpr std::size_t kTextsAtOnce = 512;

struct EmbedCommandOptions {
  ModelOptions model;
  std::vector<std::string> texts;
  std::string pooling = "mean";
  bool normalize = false;
  std::int64_t dimensions = 0;
  bool bos = false;
  bool no_bos = false;
  bool jsonl = false;
  bool json = false;
  std::string out;

  bool from_standard_input() const { return jsonl || (texts.size() == 1 && texts[0] == "-"); }
};

EmbedOptions CheckOptions(const EmbedCommandOptions& options) {
  const auto refuse = [](const std::string& message) {
    throw Error(ErrorKind::kInvalidArgument, message);
  };
  if (options.texts.empty() && !options.jsonl) {
    refuse(
        "culet embed needs a text: culet embed MODEL TEXT…, - for the lines of standard input, or "
        "--jsonl for a JSON string in each");
  }
  if (options.jsonl && !options.texts.empty()) {
    refuse("--jsonl reads the texts from standard input; leave out TEXT or --jsonl");
  }
  for (std::size_t i = 0; i < options.texts.size(); ++i) {
    if (options.texts[i] == "-" && options.texts.size() > 1) {
      refuse("- stands for the lines of standard input and goes without other texts");
    }
    CheckUtf8(options.texts[i], "text " + std::to_string(i + 1));
  }
  if (options.json && !options.out.empty()) {
    refuse("--json and --out are two forms; choose one");
  }
  if (options.bos && options.no_bos) refuse("--bos and --no-bos exclude each other");
  EmbedOptions embed;
  if (options.pooling == "last") {
    embed.pooling = Pooling::kLast;
  } else if (options.pooling != "mean") {
    refuse("--pooling is \"" + options.pooling.substr(0, 40) + "\"; mean or last is expected");
  }
  embed.normalize = options.normalize;
  embed.dimensions = options.dimensions;
  if (options.bos || options.no_bos) embed.bos = options.bos;
  return embed;
}

// The texts, from the command line or line by line from standard input.
class TextSource {
 public:
  explicit TextSource(const EmbedCommandOptions& options) : options_(options) {}

  // The next text; false at the end. `before_waiting` as LineInput calls it.
  template <typename BeforeWaiting>
  bool Next(std::string* text, const BeforeWaiting& before_waiting) {
    if (!options_.from_standard_input()) {
      if (next_ == options_.texts.size()) return false;
      *text = options_.texts[next_++];
      return true;
    }
    std::string_view line;
    if (!lines_.Next(&line, before_waiting)) return false;
    const std::string place = "standard input, line " + std::to_string(lines_.number());
    if (!options_.jsonl) {
      CheckUtf8(line, place);
      *text = line;
      return true;
    }
    const Json value = ParseJson(line, place);
    if (!value.is_string()) {
      throw Error(ErrorKind::kInvalidArgument,
                  place + " is " + JsonTypeName(value) + "; one JSON string a line is expected");
    }
    *text = value.get<std::string>();
    return true;
  }

 private:
  const EmbedCommandOptions& options_;
  std::size_t next_ = 0;
  LineInput lines_;
};

// Embeds texts batch by batch.
class Embedder {
 public:
  Embedder(std::shared_ptr<Model> model, const EmbedOptions& options)
      : model_(std::move(model)), options_(options), progress_("embedding", 1000) {}

  // Throws Interrupted after Ctrl-C.
  Embeddings Compute(std::span<const std::string> texts) {
    const double start = MillisecondsSinceStart();
    const auto on_progress = [&](std::int64_t done, std::int64_t total) {
      progress_.Show(static_cast<double>(done), static_cast<double>(total),
                     fmt::format("of {} tokens, text {} to {}", total, options_.first_text,
                                 options_.first_text + std::ssize(texts) - 1));
    };
    std::optional<Embeddings> embeddings =
        Embed(model_, texts, options_, StandardErrorIsTerminal() ? on_progress : Progressing(),
              [] { return InterruptGuard::Pending(); });
    if (!embeddings) throw Interrupted();
    options_.first_text += std::ssize(texts);
    progress_.Clear();
    milliseconds_ += MillisecondsSinceStart() - start;
    for (const std::int64_t count : embeddings->tokens) tokens_ += count;
    return std::move(*embeddings);
  }
  // What gathers texts in front of it: all of them at once would be a second copy of the results.
  template <typename Keep>
  void ComputeAll(std::span<const std::string> texts, const Keep& keep) {
    while (!texts.empty()) {
      const std::size_t count = std::min(kTextsAtOnce, texts.size());
      keep(Compute(texts.first(count)));
      texts = texts.subspan(count);
    }
  }

  double milliseconds() const { return milliseconds_; }
  std::int64_t tokens() const { return tokens_; }

 private:
  using Progressing = std::function<void(std::int64_t, std::int64_t)>;

  std::shared_ptr<Model> model_;
  EmbedOptions options_;
  Progress progress_;
  double milliseconds_ = 0;
  std::int64_t tokens_ = 0;
};

// [0.25,-1.5]: the shortest decimals that are read back as the same float32.
std::string RowText(std::span<const float> row) {
  std::string text = "[";
  for (const float value : row) {
    fmt::format_to(std::back_inserter(text), "{}{}", text.size() > 1 ? "," : "", value);
  }
  return text + "]";
}

// A JSON array a line, as soon as it is known.
void WriteLines(TextSource* source, Embedder* embedder) {
  Output& output = Output::Standard();
  std::vector<std::string> texts;
  const auto compute = [&] {
    embedder->ComputeAll(texts, [&](const Embeddings& embeddings) {
      for (std::int64_t i = 0; i < embeddings.texts(); ++i) {
        output.Write(RowText(embeddings.row(i)) + "\n");
      }
    });
    texts.clear();
  };
  std::string text;
  // A program at the other end may wait for its vectors before it writes the next line.
  const auto before_waiting = [&] {
    compute();
    output.Flush();
  };
  while (source->Next(&text, before_waiting)) {
    texts.push_back(std::move(text));
    if (texts.size() == kTextsAtOnce) compute();
  }
  compute();
}

std::vector<std::string> AllTexts(TextSource* source) {
  std::vector<std::string> texts;
  std::string text;
  while (source->Next(&text, [] {})) texts.push_back(std::move(text));
  return texts;
}

void WriteNpy(const std::string& path, std::int64_t dimensions, std::span<const std::string> texts,
              Embedder* embedder) {
  NpyFile file(path, std::ssize(texts), dimensions);
  embedder->ComputeAll(texts, [&](const Embeddings& part) { file.Write(part.values); });
  file.Commit();
}

void WriteJson(const EmbedCommandOptions& options, const ModelInfo& info, double load_ms,
               std::int64_t dimensions, std::span<const std::string> texts, Embedder* embedder) {
  std::string rows = "[";
  std::vector<std::int64_t> tokens;
  embedder->ComputeAll(texts, [&](const Embeddings& part) {
    tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
    for (std::int64_t i = 0; i < part.texts(); ++i) {
      if (rows.size() > 1) rows += ",";
      rows += RowText(part.row(i));
    }
  });
  JsonObject object;
  object.Add("model", info.path);
  object.Add("pooling", options.pooling);
  object.Add("normalized", options.normalize);
  object.Add("dimensions", dimensions);
  object.Add("tokens", tokens);
  object.AddText("embeddings", rows + "]");
  object.Add("timings", {{"load_ms", load_ms},
                         {"embed_ms", embedder->milliseconds()},
                         {"tokens_per_s", Rate(embedder->tokens(), embedder->milliseconds())}});
  Output::Standard().Write(object.Text() + "\n");
}

int Run(const EmbedCommandOptions& options) {
  const std::filesystem::path named = ResolveModel(options.model.model);
  const EmbedOptions embed = CheckOptions(options);
  LoadOptions load = options.model.ToLoadOptions();
  load.sequences = 0;  // as many as cost little: texts are computed together
  const std::filesystem::path path = options.model.Quantized(named);
  const double load_start = MillisecondsSinceStart();
  const std::shared_ptr<Model> model = Model::Load(path, load);
  const double load_ms = MillisecondsSinceStart() - load_start;
  PrintWarnings(model->info());
  if (options.model.verbose) PrintPlan(model->info());
  // Of no text: what is wrong with the options is said before texts are waited for.
  const std::int64_t dimensions = Embed(model, std::span<const std::string>(), embed)->dimensions;
  const InterruptGuard interrupt;
  TextSource source(options);
  Embedder embedder(model, embed);
  if (!options.json && options.out.empty()) {
    WriteLines(&source, &embedder);
    return 0;
  }
  const std::vector<std::string> texts = AllTexts(&source);
  if (options.json) {
    WriteJson(options, model->info(), load_ms, dimensions, texts, &embedder);
  } else {
    WriteNpy(options.out, dimensions, texts, &embedder);
  }
  return 0;
}

}  // namespace

Command AddEmbed(CLI::App& app) {
  auto options = std::make_shared<EmbedCommandOptions>();
  CLI::App* command = AddSubcommand(
      app, "embed", "Texts as vectors: the model's last hidden states, pooled",
      "  culet embed MODEL \"A cat sat.\" \"Ein Hund lief.\" --normalize\n"
      "  culet embed MODEL - --normalize --out vectors.npy < lines.txt\n"
      "  culet embed MODEL --jsonl --pooling last --dimensions 256 < strings.jsonl\n");
  options->model.AddModel(*command);
  AddWords(*command, "TEXT", &options->texts,
           "The texts; - reads standard input, each line a text");
  AddFlag(*command, "--jsonl", &options->jsonl, "Read one JSON string a line from standard input");
  AddText(*command, "--pooling", &options->pooling, "HOW",
          "mean: of all rows of a text; last: the row of its\nlast token");
  AddFlag(*command, "--normalize", &options->normalize, "Scale each vector to length 1");
  AddNumber(*command, "--dimensions", &options->dimensions,
            "Keep the first N numbers of each vector; 0: all", "N");
  AddFlag(*command, "--bos", &options->bos,
          "<bos> in front of every text, whatever the tokenizer says");
  AddFlag(*command, "--no-bos", &options->no_bos, "No <bos>, whatever the tokenizer says");
  AddFlag(*command, "--json", &options->json, "Print one JSON object when all is done");
  AddText(*command, "--out", &options->out, "FILE",
          "Write a .npy file instead: float32 [texts, dimensions]");
  options->model.AddThreads(*command);
  options->model.AddQuant(*command);
  options->model.AddContext(*command);
  options->model.AddTokenizer(*command);
  options->model.AddOverride(*command);
  options->model.AddAllowControlTokens(*command);
  options->model.AddVerbose(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
