#include "cli/bench_measure.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/sizes.h"

namespace culet::cli {
namespace {

using Clock = std::chrono::steady_clock;

// A run that can pause does so this often to measure the machine.
constexpr double kSliceMs = 150;
// A prompt pauses after so many tokens, a multiple of the engine's usual chunk: a row through all
// layers and the head more, less than 1%.
constexpr std::int64_t kSliceTokens = 1024;

double MillisecondsSince(Clock::time_point from) {
  return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

// How long a run took, and what the machine could do meanwhile.
class Measured {
 public:
  // A slice of the run between two measurements of the machine.
  void Add(double ms, const MachineLimits& before, const MachineLimits& after) {
    ms_ += ms;
    read_ += ms * (before.read_gb_s + after.read_gb_s) / 2;
    peak_ += ms * (before.peak_gflops + after.peak_gflops) / 2;
  }
  double ms() const { return ms_; }
  MachineLimits limits() const { return {read_ / ms_, peak_ / ms_}; }

 private:
  double ms_ = 0, read_ = 0, peak_ = 0;
};

class Bench {
 public:
  Bench(const std::shared_ptr<Model>& model, const BenchPlan& plan,
        const std::function<void(int, int)>& on_step)
      : model_(model), plan_(plan), on_step_(on_step), session_(model) {
    std::mt19937_64 random(plan.seed);
    const std::uint64_t vocab = static_cast<std::uint64_t>(model->info().vocab);
    for (std::int64_t i = 0; i < plan.LongestContext(); ++i) {
      tokens_.push_back(static_cast<TokenId>(random() % vocab));
    }
    const std::size_t kinds = plan.prefill.size() + plan.contexts.size() * plan.decode.size();
    total_ = static_cast<int>(kinds) * (plan.repeats + (plan.profile ? 2 : 1));
  }

  BenchResult Run(double load_ms);

 private:
  double PrefillMs(std::int64_t count);
  // The KV holds `context` tokens after it.
  void Seek(std::int64_t context);
  void DecodeToken(std::int64_t position);
  Measured Prefill(std::int64_t count);
  Measured Decode(std::int64_t context, std::int64_t count);
  void WarmUp();
  void MeasurePrefill(std::int64_t count);
  void MeasureDecode(std::int64_t context, std::int64_t count);
  // Fills in what `run` tells.
  void Profile(ProfileResult result, const std::function<Measured()>& run);
  MachineLimits Limits();
  void Step();

  std::shared_ptr<Model> model_;
  const BenchPlan& plan_;
  const std::function<void(int, int)>& on_step_;
  Session session_;
  std::vector<TokenId> tokens_;
  std::vector<double> read_gb_s_, peak_gflops_;
  BenchResult result_;
  int done_ = 0;
  int total_ = 0;
};

void Bench::Step() {
  if (InterruptGuard::Pending()) throw Interrupted();
  on_step_(done_++, total_);
}

double Bench::PrefillMs(std::int64_t count) {
  session_.Reset();
  const Clock::time_point start = Clock::now();
  session_.Append(std::span(tokens_).first(static_cast<std::size_t>(count)));
  return MillisecondsSince(start);
}

Measured Bench::Prefill(std::int64_t count) {
  session_.Reset();
  Measured measured;
  MachineLimits before = Limits();
  for (std::int64_t from = 0; from < count; from += kSliceTokens) {
    const std::span<const TokenId> slice =
        std::span(tokens_).subspan(static_cast<std::size_t>(from),
                                   static_cast<std::size_t>(std::min(kSliceTokens, count - from)));
    const Clock::time_point start = Clock::now();
    session_.Append(slice);
    const double ms = MillisecondsSince(start);
    const MachineLimits after = Limits();
    measured.Add(ms, before, after);
    before = after;
    if (InterruptGuard::Pending()) throw Interrupted();
  }
  return measured;
}

void Bench::Seek(std::int64_t context) {
  // Sliding layers hold what a run of tokens goes back, and no more.
  const std::int64_t longest = *std::ranges::max_element(plan_.decode);
  if (static_cast<std::int64_t>(session_.tokens().size()) > context + longest) session_.Reset();
  const std::size_t want = static_cast<std::size_t>(context);
  const std::size_t have = std::min(session_.tokens().size(), want);
  session_.Rewind(static_cast<std::int64_t>(have));
  if (have < want) session_.Append(std::span(tokens_).subspan(have, want - have));
}

void Bench::DecodeToken(std::int64_t position) {
  session_.Append(std::span(tokens_).subspan(static_cast<std::size_t>(position), 1));
  if (InterruptGuard::Pending()) throw Interrupted();
}

Measured Bench::Decode(std::int64_t context, std::int64_t count) {
  Seek(context);
  Measured measured;
  MachineLimits before = Limits();
  Clock::time_point start = Clock::now();
  for (std::int64_t step = 0; step < count; ++step) {
    DecodeToken(context + step);
    const double ms = MillisecondsSince(start);
    if (ms < kSliceMs && step + 1 < count) continue;
    const MachineLimits after = Limits();
    measured.Add(ms, before, after);
    before = after;
    start = Clock::now();
  }
  return measured;
}

// Everything once, so that pages are there and the peak of memory is that of the model alone.
void Bench::WarmUp() {
  for (const std::int64_t count : plan_.prefill) {
    Step();
    const double ms = PrefillMs(count);
    if (result_.first_prompt_ms == 0) {
      result_.first_prompt_ms = ms;
      result_.start_to_first_token_ms = MillisecondsSinceStart();
    }
  }
  for (const std::int64_t context : plan_.contexts) {
    for (const std::int64_t count : plan_.decode) {
      Step();
      Seek(context);
      for (std::int64_t step = 0; step < count; ++step) DecodeToken(context + step);
    }
  }
  result_.peak_rss_bytes = PeakResidentBytes();
}

MachineLimits Bench::Limits() {
  const MachineLimits limits = MeasureMachine(*model_);
  read_gb_s_.push_back(limits.read_gb_s);
  peak_gflops_.push_back(limits.peak_gflops);
  return limits;
}

void Bench::MeasurePrefill(std::int64_t count) {
  const ModelInfo& info = model_->info();
  PrefillResult prefill;
  prefill.tokens = count;
  prefill.macs = static_cast<double>(info.macs_per_prompt_token) * static_cast<double>(count - 1) +
                 static_cast<double>(info.macs_per_decoded_token);
  std::vector<double> rates, ratios, times, peaks;
  for (int repeat = 0; repeat < plan_.repeats; ++repeat) {
    Step();
    const Measured run = Prefill(count);
    rates.push_back(Rate(count, run.ms()));
    times.push_back(run.ms());
    peaks.push_back(run.limits().peak_gflops);
    ratios.push_back(2 * prefill.macs / (run.ms() / 1000) / (peaks.back() * 1e9));
  }
  prefill.tokens_per_s = SpreadOf(rates);
  prefill.peak_gflops = SpreadOf(peaks).median;
  prefill.ratio_to_peak = SpreadOf(ratios);
  prefill.median_ms = SpreadOf(times).median;
  result_.prefill.push_back(prefill);
}

void Bench::MeasureDecode(std::int64_t context, std::int64_t count) {
  const ModelInfo& info = model_->info();
  DecodeResult decode;
  decode.context = context;
  decode.tokens = count;
  decode.bytes_per_token = static_cast<double>(info.bytes_per_token + info.rows_read_bytes) +
                           KvBytesPerToken(info, context + count / 2);
  std::vector<double> rates, ratios, reads;
  for (int repeat = 0; repeat < plan_.repeats; ++repeat) {
    Step();
    const Measured run = Decode(context, count);
    const double rate = Rate(count, run.ms());
    rates.push_back(rate);
    reads.push_back(run.limits().read_gb_s);
    ratios.push_back(rate * decode.bytes_per_token / (reads.back() * 1e9));
  }
  decode.tokens_per_s = SpreadOf(rates);
  decode.read_gb_s = SpreadOf(reads).median;
  decode.ratio_to_bandwidth = SpreadOf(ratios);
  result_.decode.push_back(decode);
}

void Bench::Profile(ProfileResult result, const std::function<Measured()>& run) {
  Step();
  const MachineLimits before = Limits();
  MachineLimits during;
  result.ops = ProfileOps(*model_, [&] {
    const Measured measured = run();
    result.ms = measured.ms();
    during = measured.limits();
  });
  result.read_gb_s = during.read_gb_s;
  // The ops' peaks were measured around the run; a shared machine was another meanwhile.
  const double around = (before.peak_gflops + Limits().peak_gflops) / 2;
  for (OpTime& op : result.ops) {
    if (around > 0) op.peak_gflops *= during.peak_gflops / around;
  }
  result_.profiles.push_back(std::move(result));
}

BenchResult Bench::Run(double load_ms) {
  result_.load_ms = load_ms;
  WarmUp();
  for (const std::int64_t count : plan_.prefill) MeasurePrefill(count);
  for (const std::int64_t context : plan_.contexts) {
    for (const std::int64_t count : plan_.decode) MeasureDecode(context, count);
  }
  if (plan_.profile) {
    for (const std::int64_t count : plan_.prefill) {
      ProfileResult result;
      result.kind = "prefill";
      result.tokens = count;
      Profile(std::move(result), [&] { return Prefill(count); });
    }
    for (const std::int64_t context : plan_.contexts) {
      for (const std::int64_t count : plan_.decode) {
        Seek(context);  // which is not profiled
        ProfileResult result;
        result.kind = "decode";
        result.context = context;
        result.tokens = count;
        Profile(std::move(result), [&] { return Decode(context, count); });
      }
    }
  }
  if (read_gb_s_.empty()) Limits();
  result_.read_gb_s = SpreadOf(read_gb_s_);
  result_.peak_gflops = SpreadOf(peak_gflops_);
  return result_;
}

}  // namespace

Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  Spread spread;
  spread.median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  spread.min = values.front();
  spread.max = values.back();
  return spread;
}

void AddSpread(OrderedJson* object, const std::string& name, const Spread& spread) {
  (*object)[name] = spread.median;
  (*object)[name + "_min"] = spread.min;
  (*object)[name + "_max"] = spread.max;
}

std::int64_t BenchPlan::LongestContext() const {
  std::int64_t longest = 1;
  for (const std::int64_t count : prefill) longest = std::max(longest, count);
  for (const std::int64_t context : contexts) {
    for (const std::int64_t count : decode) longest = std::max(longest, context + count);
  }
  return longest;
}

double KvBytesPerToken(const ModelInfo& info, std::int64_t context) {
  return static_cast<double>(info.full_kv_bytes_per_token) * static_cast<double>(context) +
         static_cast<double>(info.sliding_kv_bytes_per_token) *
             static_cast<double>(std::min(context, info.window));
}

BenchResult RunBench(const std::shared_ptr<Model>& model, const BenchPlan& plan, double load_ms,
                     const std::function<void(int, int)>& on_step) {
  return Bench(model, plan, on_step).Run(load_ms);
}

}  // namespace culet::cli
