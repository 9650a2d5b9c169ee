// The measurements of `culet bench`.
//
// Shared machines move within seconds, so every run stands between two measurements of what the
// machine can do, pauses for more of them every few tokens of an answer or every 1,024 of a prompt,
// and its ratio is taken to what the machine could have done in its time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/bench_profile.h"
#include "culet/generate.h"
#include "culet/model.h"
#include "culet/tools.h"

namespace culet::cli {

struct Spread {
  double median = 0, min = 0, max = 0;
};
// Of at least one value.
Spread SpreadOf(std::vector<double> values);
// As members `name`, `name`_min and `name`_max.
void AddSpread(OrderedJson* object, const std::string& name, const Spread& spread);

struct PrefillResult {
  std::int64_t tokens = 0;
  Spread tokens_per_s;
  double median_ms = 0;
  double macs = 0;         // of the whole prompt: layers for each token, the head once
  double peak_gflops = 0;  // what the machine could do around the runs, median
  Spread ratio_to_peak;
};

struct DecodeResult {
  std::int64_t context = 0;  // tokens in the KV where the run begins
  std::int64_t tokens = 0;   // decoded in a run
  Spread tokens_per_s;
  double bytes_per_token = 0;  // weights, rows of tables, and KV in the middle of the run
  double read_gb_s = 0;        // what the machine read around the tokens of a run, median
  Spread ratio_to_bandwidth;
};

struct BenchPlan {
  std::vector<std::int64_t> prefill;   // prompt lengths
  std::vector<std::int64_t> contexts;  // where decoding begins
  std::vector<std::int64_t> decode;    // tokens of a decode run, at each of the contexts
  int repeats = 5;
  std::uint64_t seed = 1;
  bool profile = false;  // each prompt and each decode run once more, op by op

  std::int64_t LongestContext() const;
};

struct BenchResult {
  std::vector<PrefillResult> prefill;
  std::vector<DecodeResult> decode;
  std::vector<ProfileResult> profiles;
  Spread read_gb_s, peak_gflops;
  double load_ms = 0;
  double first_prompt_ms = 0;          // of the first run of the first prompt length
  double start_to_first_token_ms = 0;  // from the start of the program to the end of that run
  std::uint64_t peak_rss_bytes = 0;    // before the machine is measured, which takes memory too
};

// Bytes of KV that a token at `context` positions must read: each layer that owns KV once.
double KvBytesPerToken(const ModelInfo& info, std::int64_t context);

// `on_step(done, total)` is called between runs. Throws Interrupted after Ctrl-C.
BenchResult RunBench(const std::shared_ptr<Model>& model, const BenchPlan& plan, double load_ms,
                     const std::function<void(int, int)>& on_step);

}  // namespace culet::cli
