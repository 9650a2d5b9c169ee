// `culet bench --users`: what a model gives to several users at once, through the same interface
// that a server has.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "cli/bench_measure.h"
#include "culet/model.h"

namespace culet::cli {

struct UsersPlan {
  std::vector<std::int64_t> users;     // at once
  std::vector<std::int64_t> contexts;  // tokens of each user's prompt
  std::vector<std::int64_t> decode;    // tokens of each answer, for each prompt length
  int repeats = 5;
  std::uint64_t seed = 1;

  // What the model must be loaded with.
  std::int64_t Sequences() const;
  std::int64_t LongestContext() const;
  std::int64_t PoolTokens() const;
};

// Rates are of all users together. A ratio is taken to the run of one user that stands beside it.
struct UsersResult {
  std::int64_t users = 0;
  std::int64_t context = 0;  // tokens of each prompt
  std::int64_t tokens = 0;   // of each answer
  Spread tokens_per_s;       // decoded, from the first token of anybody to the last
  Spread ratio_to_one;
  double prompt_tokens_per_s = 0;  // until everybody has a first token
  double first_token_ms = 0;       // median over users and runs
  double whole_tokens_per_s = 0;   // decoded, reading the prompts included
  double whole_ratio_to_one = 0;
};

// `on_step(done, total)` is called between runs. Throws Interrupted after Ctrl-C.
std::vector<UsersResult> RunUsers(const std::shared_ptr<Model>& model, const UsersPlan& plan,
                                  const std::function<void(int, int)>& on_step);

}  // namespace culet::cli
