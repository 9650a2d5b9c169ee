// culet_checkops: every kernel of every level that this machine has, against the plain one.
//
//   culet_checkops [--bench] [--cpu LEVEL] [--op NAME] [--seed N]
//
// For each level it runs the kernels that the level brings itself (others are the ones below,
// already checked) on random input, compares with plain within bounds derived in tests/bounds.h,
// and looks whether anything was written beyond the output. --bench times one input of real size,
// on one thread, and prints the ratio to plain. Exit status 1 if a kernel is wrong.
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "ops/checkops/cases.h"

namespace culet {
namespace {

struct Options {
  bool bench = false;
  std::optional<CpuLevel> level;
  std::string op;
  std::uint64_t seed = 1;
};

constexpr std::uint32_t kGuard = 0x7fc0cafe;  // a NaN
constexpr std::size_t kGuards = 32;

std::vector<float> RunGuarded(const Case& test, Context& ctx, bool& intact) {
  std::vector<float> out(test.bounds.size() + kGuards, std::bit_cast<float>(kGuard));
  test.Run(ctx, out);
  for (std::size_t i = test.bounds.size(); i < out.size(); ++i) {
    intact = intact && std::bit_cast<std::uint32_t>(out[i]) == kGuard;
  }
  out.resize(test.bounds.size());
  return out;
}

// True where all is right; prints what is not.
bool CheckCase(const std::string& name, const Case& test, Context& plain, Context& ctx) {
  bool intact = true;
  const std::vector<float> expected = RunGuarded(test, plain, intact);
  const std::vector<float> found = RunGuarded(test, ctx, intact);
  if (!intact) {
    std::printf("  %s, %s: wrote beyond its output\n", name.c_str(), test.Text().c_str());
    return false;
  }
  const double more = test.MoreAt(ctx.level());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(expected[i]) - found[i]);
    if (difference <= test.bounds[i] + more) continue;
    std::printf(
        "  %s, %s: output %zu is %.9g, plain has %.9g; they differ by %.3g, the bound is %.3g\n",
        name.c_str(), test.Text().c_str(), i, static_cast<double>(found[i]),
        static_cast<double>(expected[i]), difference, test.bounds[i] + more);
    return false;
  }
  return true;
}

double MillisecondsOf(const Case& test, Context& ctx) {
  std::vector<float> out(test.bounds.size());
  test.Run(ctx, out);
  double best = 1e300;
  double total = 0;
  for (int run = 0; run < 1000 && (run < 3 || total < 50); ++run) {
    const auto start = std::chrono::steady_clock::now();
    test.Run(ctx, out);
    const double time =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    best = std::min(best, time);
    total += time;
  }
  return best;
}

int Run(const Options& options) {
  std::vector<Check> checks = MatMulChecks();
  for (Check& check : AttentionChecks()) checks.push_back(std::move(check));
  for (Check& check : RowChecks()) checks.push_back(std::move(check));
  for (Check& check : EncoderChecks()) checks.push_back(std::move(check));
  std::printf("%s, seed %llu\n", CpuModelName().c_str(),
              static_cast<unsigned long long>(options.seed));
  Context plain(1, CpuLevel::kPlain);
  int wrong = 0;
  int kernels = 0;
  for (const CpuLevel level : AvailableLevels()) {
    if (level == CpuLevel::kPlain || (options.level && *options.level != level)) continue;
    Context ctx(1, level);
    for (const Check& check : checks) {
      if (check.level(ctx.kernels()) != level) continue;
      if (!options.op.empty() && check.name.find(options.op) == std::string::npos) continue;
      ++kernels;
      bool right = true;
      for (const auto& test : check.cases(options.seed)) {
        right = right && CheckCase(check.name, *test, plain, ctx);
      }
      wrong += right ? 0 : 1;
      std::printf("%-11s %-18s %s", std::string(CpuLevelName(level)).c_str(), check.name.c_str(),
                  right ? "ok" : "WRONG");
      if (options.bench) {
        const std::unique_ptr<Case> timed = check.timed(options.seed);
        const double base = MillisecondsOf(*timed, plain);
        const double fast = MillisecondsOf(*timed, ctx);
        std::printf("  %9.4f ms  plain %9.4f ms  %6.1f times", fast, base, base / fast);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
  std::printf("%d kernels checked, %d wrong\n", kernels, wrong);
  return wrong == 0 ? 0 : 1;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--bench") {
      options.bench = true;
      continue;
    }
    if (name != "--cpu" && name != "--op" && name != "--seed") {
      throw Error(ErrorKind::kInvalidArgument,
                  name + ": not an option; there are --bench, --cpu LEVEL, --op NAME and --seed N");
    }
    if (i + 1 == argc) throw Error(ErrorKind::kInvalidArgument, name + ": its value is missing");
    const std::string value = argv[++i];
    if (name == "--op") options.op = value;
    if (name == "--seed") options.seed = std::strtoull(value.c_str(), nullptr, 10);
    if (name != "--cpu") continue;
    options.level = CpuLevelFromName(value);
    if (!options.level) {
      throw Error(ErrorKind::kInvalidArgument,
                  "--cpu " + value + ": culet knows " + CpuLevelNames());
    }
    Context(1, *options.level);  // says it if this machine lacks the level
  }
  return options;
}

}  // namespace
}  // namespace culet

int main(int argc, char** argv) {
  try {
    return culet::Run(culet::Parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "culet_checkops: %s\n", error.what());
    return 2;
  }
}
