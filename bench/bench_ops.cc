// Times the ops at E2B's sizes and compares each with the machine's limit, measured between the
// runs of the same minute: reading for products of few rows, multiply-adds in registers for many.
//
//   bench_ops [--threads N] [--cpu LEVEL] [--op PART] [--reps N] [--clock wall|cpu]
//
// `--clock cpu` counts the time that the process was given, for machines that are busy with other
// work; waiting threads count too, so it is exact for one thread only. `ratio` is the median over
// repetitions of (speed / mean of the limits just before and after it).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "clock.h"
#include "ops/attention.h"
#include "ops/machine_limits.h"
#include "ops/matmul.h"
#include "ops/moe.h"
#include "ops/rows.h"

namespace culet {
namespace {

std::string Text(const char* format, std::int64_t a, std::int64_t b = 0, std::int64_t c = 0) {
  char text[96];
  std::snprintf(text, sizeof text, format, static_cast<long>(a), static_cast<long>(b),
                static_cast<long>(c));
  return text;
}

struct Options {
  int threads = DefaultThreads();
  std::string cpu;
  std::string op;
  int reps = 5;
  bool cpu_clock = false;
};

enum class Limit { kNone, kRead, kBf16, kF32, kInt8, kInt4 };

class Bench {
 public:
  Bench(const Options& options)
      : options_(options),
        ctx_(options.cpu.empty() ? std::make_unique<Context>(options.threads)
                                 : std::make_unique<Context>(options.threads, Level(options.cpu))) {
    // Random bits in the range of bf16 weights: 0x3c00 … 0x3cff and their negatives.
    weights_.resize(kWeightBytes / 2);
    std::uint32_t state = 1;
    for (std::uint16_t& weight : weights_) {
      state = state * 1664525u + 1013904223u;
      weight = static_cast<std::uint16_t>(0x3c00u | (state >> 24) | ((state >> 8) & 0x8000u));
    }
    scales_.assign(std::size_t{12288} * 1536 / 32, 0x3c00);
    x_.resize(std::size_t{512} * 12288);
    for (float& value : x_) {
      state = state * 1664525u + 1013904223u;
      value = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31f;
    }
    out_.resize(std::size_t{512} * 12288 * 2);
  }

  // `work`: bytes (kRead) or floating-point operations of one call of `body`.
  void Run(const std::string& name, Limit limit, double work, const std::function<void()>& body) {
    if (name.find(options_.op) == std::string::npos) return;
    body();
    // Enough calls for some 60 ms.
    const double once = Seconds(body);
    const int calls = std::max(1, static_cast<int>(0.06 / once));
    std::vector<double> times, ratios;
    double before = Measure(limit);
    double limit_sum = 0;
    for (int rep = 0; rep < options_.reps; ++rep) {
      const double seconds = Seconds([&] {
                               for (int call = 0; call < calls; ++call) body();
                             }) /
                             calls;
      const double after = Measure(limit);
      times.push_back(seconds);
      ratios.push_back(work / seconds * 1e-9 / ((before + after) / 2));
      limit_sum += (before + after) / 2;
      before = after;
    }
    const double time = Median(times);
    std::printf("%-44s %10.3f ms  %8.1f G/s", name.c_str(), time * 1e3, work / time * 1e-9);
    if (limit != Limit::kNone) {
      std::printf("  limit %7.1f  ratio %.2f", limit_sum / options_.reps, Median(ratios));
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  // [n, k] of `format` from byte `offset` of the weights on.
  Matrix Weight(WeightFormat format, std::int64_t n, std::int64_t k, std::size_t offset) const {
    const std::byte* data = std::as_bytes(std::span(weights_)).data() + offset;
    if (format == WeightFormat::kDense) return {DType::kBF16, data, n, k};
    const std::int64_t group = IsInt4(format) ? 32 : 128;
    return {DType::kBF16, data, n, k, format, scales_.data(), group};
  }

  void MatMuls(const char* name, WeightFormat format, Limit peak) {
    static constexpr std::int64_t kShapes[][2] = {{6144, 1536},  {12288, 1536}, {1536, 6144},
                                                  {1536, 12288}, {2048, 1536},  {1536, 2048},
                                                  {256, 1536}};
    for (const auto& [n, k] : kShapes) {
      const std::uint64_t bytes = Weight(format, n, k, 0).bytes();
      const std::size_t step = bytes / 64 * 64;
      const std::size_t matrices = (kWeightBytes - bytes) / step + 1;
      for (const std::int64_t rows : {1, 2, 4, 8, 16, 32}) {
        // One call is a pass over enough matrices to leave the caches.
        const std::size_t pass = std::min<std::size_t>(matrices, (std::size_t{200} << 20) / bytes);
        std::size_t next = 0;
        Run(name + Text(" gemv %ld x [%ld, %ld]", rows, n, k), Limit::kRead,
            static_cast<double>(pass) * static_cast<double>(bytes), [&, k = k, n = n] {
              for (std::size_t i = 0; i < pass; ++i) {
                MatMul(*ctx_, View<const float, 2>(x_.data(), {rows, k}),
                       Weight(format, n, k, next * step), View<float, 2>(out_.data(), {rows, n}));
                next = (next + 1) % matrices;
              }
            });
      }
      for (const std::int64_t rows : {64, 128, 512}) {
        Run(name + Text(" gemm %ld x [%ld, %ld]", rows, n, k), peak,
            2.0 * static_cast<double>(rows * n * k), [&, n = n, k = k] {
              MatMul(*ctx_, View<const float, 2>(x_.data(), {rows, k}), Weight(format, n, k, 0),
                     View<float, 2>(out_.data(), {rows, n}));
            });
      }
    }
  }

  void MatMuls() {
    MatMuls("bf16", WeightFormat::kDense, Limit::kBf16);
    MatMuls("int8", WeightFormat::kInt8Tiles, Limit::kInt8);
    MatMuls("int4", WeightFormat::kInt4Tiles, Limit::kInt4);
    const std::int64_t n = 2048, k = 512;
    Run("bf16 gemm 512 x [2048, 512] exact", Limit::kF32, 2.0 * 512 * n * k, [&] {
      MatMul(*ctx_, View<const float, 2>(x_.data(), {512, k}),
             Matrix{DType::kBF16, weights_.data(), n, k}, View<float, 2>(out_.data(), {512, n}));
    });
  }

  // `rows` rows at the end of `context` positions.
  void Attend(const std::string& name, std::int64_t rows, std::int64_t heads, std::int64_t kv_heads,
              std::int64_t head_dim, std::int64_t context, std::int64_t window) {
    const std::int64_t pages = (context + kPageTokens - 1) / kPageTokens;
    std::vector<std::int32_t> table(static_cast<std::size_t>(pages)), positions, sequences;
    for (std::int64_t page = 0; page < pages; ++page)
      table[static_cast<std::size_t>(page)] = static_cast<std::int32_t>(page);
    std::vector<KeyRange> visible;
    double keys = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto position = static_cast<std::int32_t>(context - rows + row);
      positions.push_back(position);
      sequences.push_back(0);
      visible.push_back(
          {static_cast<std::int32_t>(std::max<std::int64_t>(0, position + 1 - window)),
           position + 1});
      keys += visible.back().end - visible.back().begin;
    }
    BatchPlan plan;
    plan.rows = rows;
    plan.positions = positions;
    plan.sequences = sequences;
    plan.kinds[0] = {visible, table, pages, {}, {}};
    const std::size_t elements =
        static_cast<std::size_t>(pages * kv_heads * kPageTokens * head_dim);
    if (2 * elements > weights_.size()) return;
    const KvLayer cache{DType::kBF16, weights_.data(), weights_.data() + elements, kv_heads,
                        head_dim};
    const View<const float, 3> q(x_.data(), {rows, heads, head_dim});
    const View<float, 3> out(out_.data(), {rows, heads, head_dim});
    Run(name, Limit::kF32, 4.0 * static_cast<double>(heads * head_dim) * keys,
        [&] { Attention(*ctx_, q, cache, plan, 0, out); });
  }

  void Attentions() {
    Attend("attention decode E2B full 4096", 1, 8, 1, 512, 4096, 1 << 20);
    Attend("attention decode E2B full 32768", 1, 8, 1, 512, 32768, 1 << 20);
    Attend("attention decode E2B sliding", 1, 8, 1, 256, 4096, 512);
    Attend("attention decode 31B sliding", 1, 32, 16, 256, 4096, 1024);
    Attend("attention prefill 512 E2B sliding", 512, 8, 1, 256, 512, 512);
    Attend("attention prefill 512 E2B full", 512, 8, 1, 512, 512, 1 << 20);
    Attend("attention prefill 512 at 4096 E2B full", 512, 8, 1, 512, 4096, 1 << 20);
    Attend("attention prefill 512 31B sliding", 512, 32, 16, 256, 2048, 1024);
  }

  void Rows() {
    const std::vector<float> w(12288, 1.0f);
    for (const std::int64_t rows : {1, 512}) {
      const View<float, 2> wide(x_.data(), {rows, 12288});
      const View<float, 2> hidden(x_.data(), {rows, 1536});
      const View<float, 2> wide_out(out_.data(), {rows, 12288});
      const View<float, 2> hidden_out(out_.data(), {rows, 1536});
      const double wide_count = static_cast<double>(rows) * 12288;
      const double hidden_count = static_cast<double>(rows) * 1536;
      Run(Text("gelu_mul %ld x 12288", rows), Limit::kNone, wide_count,
          [&] { GeluMul(*ctx_, wide, wide, wide_out); });
      Run(Text("rms_norm %ld x 1536", rows), Limit::kNone, hidden_count, [&] {
        RmsNorm(*ctx_, hidden, {w.data(), 1536}, 1e-6f, hidden_out);
      });
      Run(Text("add_norm %ld x 1536", rows), Limit::kNone, hidden_count, [&] {
        AddNorm(*ctx_, hidden, {w.data(), 1536}, 1e-6f, 0.5f, hidden_out);
      });
      const View<float, 3> heads(out_.data(), {rows, 8, 512});
      const View<const float, 2> turn(x_.data(), {rows, 256});
      Run(Text("norm_rope %ld x 8 x 512", rows), Limit::kNone, static_cast<double>(rows) * 4096,
          [&] {
            NormRope(*ctx_, heads, {w.data(), 512}, 1e-6f, turn, turn);
          });
    }
    const View<float, 2> logits(out_.data(), {1, 262144});
    Run("soft_cap 262144", Limit::kNone, 262144, [&] { SoftCap(*ctx_, 30.0f, logits); });
  }

 private:
  double Seconds(const std::function<void()>& body) const {
    const clockid_t clock = options_.cpu_clock ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    const double start = Now(clock);
    body();
    return (Now(clock) - start) / (options_.cpu_clock ? options_.threads : 1);
  }

  static CpuLevel Level(const std::string& name) {
    const std::optional<CpuLevel> level = CpuLevelFromName(name);
    if (!level) throw Error(ErrorKind::kInvalidArgument, "--cpu: no level \"" + name + "\"");
    return *level;
  }

  double Measure(Limit limit) {
    double rate = 0;
    const double start = Now(CLOCK_MONOTONIC);
    const double seconds = Seconds([&] { rate = MeasureWall(limit); });
    return options_.cpu_clock && limit != Limit::kNone
               ? rate * (Now(CLOCK_MONOTONIC) - start) / seconds
               : rate;
  }

  double MeasureWall(Limit limit) {
    switch (limit) {
      case Limit::kRead:
        const std::span<const std::byte> all = std::as_bytes(std::span(weights_));
        return MeasureReadGbS(ctx_->pool(), {&all, 1}, 0.06);
      case Limit::kBf16: return MeasurePeakGflops(*ctx_, DType::kBF16);
      case Limit::kF32: return MeasurePeakGflops(*ctx_, DType::kF32);
      case Limit::kInt8: return MeasurePeakGflops(*ctx_, WeightFormat::kInt8Tiles);
      case Limit::kInt4: return MeasurePeakGflops(*ctx_, WeightFormat::kInt4Tiles);
      case Limit::kNone: return 1;
    }
    return 1;
  }

  static constexpr std::size_t kWeightBytes = std::size_t{400} << 20;
  Options options_;
  std::unique_ptr<Context> ctx_;
  std::vector<std::uint16_t> weights_;
  std::vector<std::uint16_t> scales_;  // bf16, as many as any weight here has
  std::vector<float> x_;
  std::vector<float> out_;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const char* value = i + 1 < argc ? argv[++i] : nullptr;
    if (value == nullptr) throw Error(ErrorKind::kInvalidArgument, name + ": its value is missing");
    if (name == "--threads") {
      options.threads = std::atoi(value);
    } else if (name == "--cpu") {
      options.cpu = value;
    } else if (name == "--op") {
      options.op = value;
    } else if (name == "--reps") {
      options.reps = std::max(1, std::atoi(value));
    } else if (name == "--clock") {
      options.cpu_clock = std::string(value) == "cpu";
    } else {
      throw Error(ErrorKind::kInvalidArgument,
                  name + ": not an option; there are --threads, --cpu, --op, --reps and --clock");
    }
  }
  return options;
}

}  // namespace
}  // namespace culet

int main(int argc, char** argv) {
  try {
    const culet::Options options = culet::Parse(argc, argv);
    std::printf("%s, %d threads\n", culet::CpuModelName().c_str(), options.threads);
    culet::Bench bench(options);
    bench.MatMuls();
    bench.Attentions();
    bench.Rows();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_ops: %s\n", error.what());
    return 2;
  }
}
