// `culet bench --profile`: where the time of a prompt and of an answer's tokens goes, op by op.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "culet/tools.h"

namespace culet::cli {

// One prompt, or the tokens of one decode run.
struct ProfileResult {
  std::string kind;          // "prefill" or "decode"
  std::int64_t context = 0;  // tokens in the KV where it begins
  std::int64_t tokens = 0;
  double ms = 0;         // of the whole run
  double read_gb_s = 0;  // of the machine, around the run's slices
  std::vector<OpTime> ops;

  // Milliseconds between ops.
  double RestMs() const;
  // Those that the ops would take at their limits, one after the other.
  double LimitMs() const;
};

// Which limit an op is nearer to, and the milliseconds that it would take at it; 0 where it has
// neither bytes nor multiply-adds that are counted.
struct OpLimit {
  double ms = 0;
  bool reads = false;  // bound by bytes; else by multiply-adds
};
OpLimit LimitOf(const OpTime& op, double read_gb_s);

std::string ProfileText(const std::vector<ProfileResult>& profiles);
OrderedJson ProfileJson(const std::vector<ProfileResult>& profiles);
// A bar an op: its time, and within it the time that its limit would take. `heading`: the model and
// the machine. Throws Error(kIo).
void WriteProfileChart(const std::filesystem::path& path, const std::string& heading,
                       const std::vector<ProfileResult>& profiles);

}  // namespace culet::cli
