// culet bench: how fast a model runs here, beside what this machine could do at most.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "cli/bench_images.h"
#include "cli/bench_measure.h"
#include "cli/bench_profile.h"
#include "cli/bench_users.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "culet/tools.h"

namespace culet::cli {
namespace {

struct BenchOptions {
  ModelOptions model;
  std::string prefill = "512";
  std::string decode = "64";
  std::string context = "512";
  std::string users = "0";
  std::string image;
  std::string images = "1";
  std::string image_tokens = "0";
  std::int64_t repeat = 5;
  std::uint64_t seed = 1;
  bool json = false;
  bool csv = false;
  bool profile = false;
  std::string chart;
};

OrderedJson UsersJson(const std::vector<UsersResult>& results) {
  OrderedJson users = OrderedJson::array();
  for (const UsersResult& run : results) {
    OrderedJson item = {{"users", run.users}, {"context", run.context}, {"tokens", run.tokens}};
    AddSpread(&item, "tokens_per_s", run.tokens_per_s);
    item["tokens_per_s_per_user"] = run.tokens_per_s.median / static_cast<double>(run.users);
    AddSpread(&item, "ratio_to_one", run.ratio_to_one);
    item["prompt_tokens_per_s"] = run.prompt_tokens_per_s;
    item["first_token_ms"] = run.first_token_ms;
    item["whole_tokens_per_s"] = run.whole_tokens_per_s;
    item["whole_ratio_to_one"] = run.whole_ratio_to_one;
    users.push_back(item);
  }
  return users;
}

void WriteJson(const ModelInfo& info, const BenchResult& result,
               const std::vector<UsersResult>& users, const std::vector<ImagesResult>& images) {
  OrderedJson machine = {
      {"cpu", info.cpu_model}, {"level", info.cpu_level}, {"threads", info.threads}};
  AddSpread(&machine, "read_gb_s", result.read_gb_s);
  AddSpread(&machine, "peak_gflops", result.peak_gflops);
  OrderedJson prefill = OrderedJson::array();
  for (const PrefillResult& run : result.prefill) {
    OrderedJson item = {{"tokens", run.tokens}};
    AddSpread(&item, "tokens_per_s", run.tokens_per_s);
    item["ms"] = run.median_ms;
    item["multiply_adds"] = run.macs;
    item["peak_gflops"] = run.peak_gflops;
    AddSpread(&item, "ratio_to_peak", run.ratio_to_peak);
    prefill.push_back(item);
  }
  OrderedJson decode = OrderedJson::array();
  for (const DecodeResult& run : result.decode) {
    OrderedJson item = {{"context", run.context}, {"tokens", run.tokens}};
    AddSpread(&item, "tokens_per_s", run.tokens_per_s);
    item["bytes_per_token"] = run.bytes_per_token;
    item["read_gb_s"] = run.read_gb_s;
    AddSpread(&item, "ratio_to_bandwidth", run.ratio_to_bandwidth);
    decode.push_back(item);
  }
  JsonObject object;
  object.Add("version", Version());
  object.Add("model", {{"path", info.path}, {"variant", info.variant}, {"dtype", info.dtype}});
  object.Add("machine", machine);
  object.Add("prefill", prefill);
  object.Add("decode", decode);
  object.Add("users", UsersJson(users));
  object.Add("images", ImagesJson(images));
  object.Add("profiles", ProfileJson(result.profiles));
  object.Add("load_ms", result.load_ms);
  object.Add("first_prompt_ms", result.first_prompt_ms);
  object.Add("start_to_first_token_ms", result.start_to_first_token_ms);
  object.Add("planned_resident_bytes",
             info.resident_bytes + (images.empty() ? 0 : info.media_bytes));
  object.Add("peak_rss_bytes", result.peak_rss_bytes);
  Output::Standard().Write(object.Text() + "\n");
}

void WriteCsv(const BenchResult& result, const std::vector<UsersResult>& users,
              const std::vector<ImagesResult>& images) {
  std::string text = "kind,context,tokens,tokens_per_s,min,max,ratio,ratio_min,ratio_max,users\n";
  const auto row = [&](const char* kind, std::int64_t context, std::int64_t tokens,
                       const Spread& rate, const Spread& ratio, std::int64_t count = 1) {
    text += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", kind, context, tokens, rate.median,
                        rate.min, rate.max, ratio.median, ratio.min, ratio.max, count);
  };
  for (const PrefillResult& run : result.prefill) {
    row("prefill", 0, run.tokens, run.tokens_per_s, run.ratio_to_peak);
  }
  for (const DecodeResult& run : result.decode) {
    row("decode", run.context, run.tokens, run.tokens_per_s, run.ratio_to_bandwidth);
  }
  for (const UsersResult& run : users) {
    row("users", run.context, run.tokens, run.tokens_per_s, run.ratio_to_one, run.users);
  }
  for (const ImagesResult& run : images) {
    const auto per_s = [&](double ms) { return Rate(run.tokens, ms); };
    row("images", 0, run.tokens, {per_s(run.ms.median), per_s(run.ms.max), per_s(run.ms.min)},
        run.ratio_to_peak, run.images);
  }
  Output::Standard().Write(text);
}

std::string UsersText(const std::vector<UsersResult>& users) {
  std::string text =
      fmt::format("\n{:<8} {:>8} {:>7} {:>10} {:>10} {:>10} {:>10}   {}\n", "users", "context",
                  "tokens", "tokens/s", "min", "max", "per user", "of one user's");
  for (const UsersResult& run : users) {
    text += fmt::format(
        "{:<8} {:>8} {:>7} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f}   {:.2f}x; {:.2f}x with the "
        "prompts, first token after {}\n",
        run.users, run.context, run.tokens, run.tokens_per_s.median, run.tokens_per_s.min,
        run.tokens_per_s.max, run.tokens_per_s.median / static_cast<double>(run.users),
        run.ratio_to_one.median, run.whole_ratio_to_one, FormatMilliseconds(run.first_token_ms));
  }
  return text;
}

std::string Heading(const ModelInfo& info) {
  return fmt::format("{} ({}), {}, level {}, {} threads, culet {}", info.variant, info.dtype,
                     info.cpu_model, info.cpu_level, info.threads, Version());
}

void WriteText(const ModelInfo& info, const BenchResult& result,
               const std::vector<UsersResult>& users, const std::vector<ImagesResult>& images) {
  std::string text = Heading(info) + "\n";
  text += fmt::format(
      "machine: reads {:.1f} GB/s ({:.1f} to {:.1f}), {:.0f} Gflop/s ({:.0f} to {:.0f})\n\n",
      result.read_gb_s.median, result.read_gb_s.min, result.read_gb_s.max,
      result.peak_gflops.median, result.peak_gflops.min, result.peak_gflops.max);
  if (!result.prefill.empty() || !result.decode.empty()) {
    text += fmt::format("{:<8} {:>8} {:>7} {:>10} {:>10} {:>10}   {}\n", "", "context", "tokens",
                        "tokens/s", "min", "max", "of the limit");
  }
  for (const PrefillResult& run : result.prefill) {
    text += fmt::format(
        "{:<8} {:>8} {:>7} {:>10.2f} {:>10.2f} {:>10.2f}   {:.1f}% of the multiply-adds\n",
        "prefill", 0, run.tokens, run.tokens_per_s.median, run.tokens_per_s.min,
        run.tokens_per_s.max, 100 * run.ratio_to_peak.median);
  }
  for (const DecodeResult& run : result.decode) {
    text += fmt::format(
        "{:<8} {:>8} {:>7} {:>10.2f} {:>10.2f} {:>10.2f}   {:.1f}% of the read rate, {:.3f} GB a "
        "token\n",
        "decode", run.context, run.tokens, run.tokens_per_s.median, run.tokens_per_s.min,
        run.tokens_per_s.max, 100 * run.ratio_to_bandwidth.median, run.bytes_per_token / 1e9);
  }
  if (!users.empty()) text += UsersText(users);
  if (!images.empty()) text += ImagesText(images);
  text += ProfileText(result.profiles);
  text += '\n';
  if (!result.prefill.empty()) {
    text +=
        fmt::format("start to first token {}, of it loading {} and the first prompt {}\n",
                    FormatMilliseconds(result.start_to_first_token_ms),
                    FormatMilliseconds(result.load_ms), FormatMilliseconds(result.first_prompt_ms));
  }
  text += fmt::format("resident at most {}, planned {}\n", FormatBytes(result.peak_rss_bytes),
                      FormatBytes(info.resident_bytes + (images.empty() ? 0 : info.media_bytes)));
  Output::Standard().Write(text);
}

// A list of which 0 means none.
std::vector<std::int64_t> NumbersOrNone(const std::string& text, const std::string& option) {
  if (text == "0") return {};
  return ParseNumbers(text, option, 1);
}

// Half of what a context may have, so that the sum of two fits.
void CheckLength(const std::vector<std::int64_t>& lengths, const std::string& option) {
  constexpr std::int64_t kMost = std::int64_t{1} << 23;
  for (const std::int64_t length : lengths) {
    if (length <= kMost) continue;
    throw Error(ErrorKind::kInvalidArgument, option + " has " + std::to_string(length) + "; " +
                                                 std::to_string(kMost) +
                                                 " tokens are the most that bench measures");
  }
}

UsersPlan PlanUsers(const BenchOptions& options, const BenchPlan& plan) {
  constexpr std::int64_t kMostUsers = 1024;
  UsersPlan users;
  users.users = NumbersOrNone(options.users, "--users");
  if (users.users.empty()) return users;
  for (const std::int64_t count : users.users) {
    if (count <= kMostUsers) continue;
    throw Error(ErrorKind::kInvalidArgument, "--users has " + std::to_string(count) + "; " +
                                                 std::to_string(kMostUsers) + " are the most");
  }
  if (plan.decode.empty() || *std::ranges::min_element(plan.decode) < 2) {
    throw Error(ErrorKind::kInvalidArgument,
                "--users measures answers: --decode must have 2 tokens or more");
  }
  for (const std::int64_t context : plan.contexts) {
    users.contexts.push_back(std::max<std::int64_t>(1, context));  // no answer without a prompt
  }
  users.decode = plan.decode;
  users.repeats = plan.repeats;
  users.seed = plan.seed;
  return users;
}

ImagesPlan PlanImages(const BenchOptions& options, const BenchPlan& plan) {
  constexpr std::int64_t kMostImages = 256;
  ImagesPlan images;
  images.file = options.image;
  images.repeats = plan.repeats;
  if (options.image.empty()) {
    if (options.images != "1" || options.image_tokens != "0") {
      throw Error(ErrorKind::kInvalidArgument,
                  "--images and --image-tokens are of the picture that --image FILE names");
    }
    return images;
  }
  images.counts = ParseNumbers(options.images, "--images", 1);
  images.budgets = NumbersOrNone(options.image_tokens, "--image-tokens");
  for (const std::int64_t count : images.counts) {
    if (count <= kMostImages) continue;
    throw Error(ErrorKind::kInvalidArgument, "--images has " + std::to_string(count) + "; " +
                                                 std::to_string(kMostImages) + " are the most");
  }
  OpenMedia(MediaKind::kImage, options.image, "--image");  // or say that it is not there
  return images;
}

void CheckProfile(const BenchOptions& options, const BenchPlan& plan) {
  if (!options.chart.empty() && !options.profile) {
    throw Error(ErrorKind::kInvalidArgument, "--chart is of what --profile measures; give both");
  }
  if (!options.profile) return;
  if (plan.prefill.empty() && plan.decode.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                "--profile measures prompts and decoding; --prefill 0 and --decode 0 leave none");
  }
  if (options.csv) {
    throw Error(ErrorKind::kInvalidArgument, "--profile has no form in --csv; use --json");
  }
}

int Run(const BenchOptions& options) {
  const std::filesystem::path named = ResolveModel(options.model.model);
  if (options.json && options.csv) {
    throw Error(ErrorKind::kInvalidArgument, "--json and --csv are two forms; choose one");
  }
  if (options.repeat < 1 || options.repeat > 1000) {
    throw Error(ErrorKind::kInvalidArgument,
                "--repeat is " + std::to_string(options.repeat) + "; it must be 1 to 1000");
  }
  BenchPlan plan;
  plan.prefill = NumbersOrNone(options.prefill, "--prefill");
  plan.decode = NumbersOrNone(options.decode, "--decode");
  plan.contexts = ParseNumbers(options.context, "--context", 0);
  plan.repeats = static_cast<int>(options.repeat);
  plan.seed = options.seed;
  plan.profile = options.profile;
  CheckProfile(options, plan);
  if (plan.prefill.empty() && plan.decode.empty() && options.image.empty()) {
    throw Error(ErrorKind::kInvalidArgument, "--prefill 0 and --decode 0 leave nothing to measure");
  }
  CheckLength(plan.prefill, "--prefill");
  CheckLength(plan.decode, "--decode");
  CheckLength(plan.contexts, "--context");
  const UsersPlan users_plan = PlanUsers(options, plan);
  const ImagesPlan images_plan = PlanImages(options, plan);
  LoadOptions load = options.model.ToLoadOptions();
  load.context = std::max(plan.LongestContext(), users_plan.LongestContext());
  load.sequences = static_cast<int>(users_plan.Sequences());
  load.pool_tokens = users_plan.PoolTokens();
  // A decode run goes back to where it began, and its window must still be there.
  if (!plan.decode.empty()) {
    load.rewind_tokens = *std::max_element(plan.decode.begin(), plan.decode.end());
  }
  const std::filesystem::path path = options.model.Quantized(named);
  const double load_start = MillisecondsSinceStart();
  const std::shared_ptr<Model> model = Model::Load(path, load);
  const double load_ms = MillisecondsSinceStart() - load_start;
  PrintWarnings(model->info());
  if (options.model.verbose) PrintPlan(model->info());
  const InterruptGuard interrupt;
  Progress progress("measuring");
  const auto on_step = [&](int done, int total) {
    progress.Show(done, total, fmt::format("run {} of {}", done + 1, total));
  };
  if (!images_plan.counts.empty()) WarmUpImages(model, images_plan);
  const BenchResult result = RunBench(model, plan, load_ms, on_step);
  std::vector<UsersResult> users;
  if (!users_plan.users.empty()) users = RunUsers(model, users_plan, on_step);
  std::vector<ImagesResult> images;
  if (!images_plan.counts.empty()) images = RunImages(model, images_plan, on_step);
  progress.Clear();
  if (options.json) {
    WriteJson(model->info(), result, users, images);
  } else if (options.csv) {
    WriteCsv(result, users, images);
  } else {
    WriteText(model->info(), result, users, images);
  }
  // Last: a name that cannot be written to loses no figures.
  if (!options.chart.empty()) {
    WriteProfileChart(options.chart, Heading(model->info()), result.profiles);
  }
  return 0;
}

}  // namespace

Command AddBench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = AddSubcommand(
      app, "bench", "Measure prefill and decode, beside what this machine could do at most",
      "  culet bench MODEL\n"
      "  culet bench MODEL --prefill 128,512,2048 --decode 64 --context 512,4096 --json\n"
      "  culet bench MODEL --prefill 0 --decode 32 --repeat 3 --csv\n"
      "  culet bench MODEL --repeat 3 --profile --chart profile.svg\n"
      "  culet bench MODEL --prefill 0 --context 128 --users 1,2,4,8\n"
      "  culet bench MODEL --prefill 0 --decode 0 --image cat.jpg --image-tokens 280,1120\n");
  options->model.AddModel(*command);
  AddText(*command, "--prefill", &options->prefill, "LIST",
          "Prompt lengths, with commas between; 0: none");
  AddText(*command, "--decode", &options->decode, "LIST", "Tokens of a decode run, list; 0: none");
  AddText(*command, "--context", &options->context, "LIST",
          "Tokens in the KV where decoding begins, list");
  AddText(*command, "--users", &options->users, "LIST",
          "Users who ask at once, each with a prompt of --context\nand an answer of --decode "
          "tokens, list; 0: none");
  AddText(*command, "--image", &options->image, "FILE",
          "A picture: measure each stage of its way into the\nmodel");
  AddText(*command, "--images", &options->images, "LIST", "So many of it at once, list");
  AddText(*command, "--image-tokens", &options->image_tokens, "LIST",
          "Most tokens of a picture, list; 0: as the model's\nprocessor config says");
  AddNumber(*command, "--repeat", &options->repeat, "Runs of each", "N", "5");
  AddNumber(*command, "--seed", &options->seed, "Seed of the random prompt", "N", "1");
  AddFlag(*command, "--profile", &options->profile,
          "Also what each op takes: time, bytes, multiply-adds,\nshare of its limit");
  AddText(*command, "--chart", &options->chart, "FILE", "Draw what --profile measures, as SVG");
  AddFlag(*command, "--json", &options->json, "Print one JSON object");
  AddFlag(*command, "--csv", &options->csv, "Print comma-separated values with a heading");
  options->model.AddThreads(*command);
  options->model.AddKv(*command);
  options->model.AddQuant(*command);
  options->model.AddTokenizer(*command);
  options->model.AddOverride(*command);
  options->model.AddVerbose(*command);
  return {command, [options] { return Run(*options); }};
}

}  // namespace culet::cli
