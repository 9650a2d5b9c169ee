#include "api/quality.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace culet {
namespace {

constexpr std::uint64_t kKeptBytes = 256 << 20;

// log Σ exp of logits.
double LogSum(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

std::size_t Likeliest(std::span<const float> logits) {
  return static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Sums over tokens.
struct Tally {
  std::vector<double> kl;
  std::int64_t agreed = 0;
  double loss = 0, source_loss = 0;

  void Add(std::span<const float> source, std::span<const float> other, TokenId next) {
    const double source_sum = LogSum(source), other_sum = LogSum(other);
    double divergence = 0;
    for (std::size_t i = 0; i < source.size(); ++i) {
      const double logprob = source[i] - source_sum;
      divergence += std::exp(logprob) * (logprob - (other[i] - other_sum));
    }
    // What is no number is as far away as can be.
    kl.push_back(std::isfinite(divergence) ? std::max(0.0, divergence)
                                           : std::numeric_limits<double>::infinity());
    agreed += Likeliest(source) == Likeliest(other) ? 1 : 0;
    source_loss += source_sum - source[static_cast<std::size_t>(next)];
    loss += other_sum - other[static_cast<std::size_t>(next)];
  }

  QuantizeQuality Quality() {
    QuantizeQuality quality;
    const auto count = static_cast<double>(kl.size());
    std::sort(kl.begin(), kl.end());
    for (const double value : kl) quality.mean_kl += value / count;
    quality.p99_kl = kl[std::min(kl.size() - 1, kl.size() * 99 / 100)];
    quality.top1_agreement = static_cast<double>(agreed) / count;
    quality.perplexity = std::exp(loss / count);
    quality.source_perplexity = std::exp(source_loss / count);
    return quality;
  }
};

}  // namespace

std::vector<std::vector<TokenId>> TextWindows(const TextProcessor& text, std::string_view passage,
                                              std::int64_t window, std::int64_t most) {
  const std::vector<TokenId> start = text.PlainTokens("", true);
  std::vector<std::vector<TokenId>> windows;
  std::int64_t left = most;
  for (const TokenId token : text.Encode(passage)) {
    if (left == 0) break;
    const bool begins = !start.empty() && token == start.front();
    if (windows.empty() || begins || static_cast<std::int64_t>(windows.back().size()) >= window) {
      windows.push_back(start);
    }
    if (begins) continue;
    windows.back().push_back(token);
    --left;
  }
  // One token alone predicts nothing.
  std::erase_if(windows, [](const auto& tokens) { return tokens.size() < 2; });
  return windows;
}

QualityMeter::QualityMeter(Model& source, const std::vector<std::vector<TokenId>>& windows)
    : source_(source), windows_(windows) {
  for (const auto& tokens : windows) tokens_ += static_cast<std::int64_t>(tokens.size()) - 1;
  const auto row_bytes = static_cast<std::uint64_t>(source.info().vocab) * sizeof(float);
  keep_ = static_cast<std::uint64_t>(tokens_) * row_bytes <= kKeptBytes;
  kept_.resize(keep_ ? windows.size() : 1);
}

const std::vector<float>& QualityMeter::SourceLogits(std::size_t window) {
  std::vector<float>& rows = kept_[keep_ ? window : 0];
  if (keep_ && !rows.empty()) return rows;
  rows.clear();
  const std::vector<TokenId>& tokens = windows_[window];
  source_.Logits(tokens, 0, [&](std::int64_t position, std::span<const float> logits) {
    if (position + 1 == static_cast<std::int64_t>(tokens.size())) return;
    rows.insert(rows.end(), logits.begin(), logits.end());
  });
  return rows;
}

QuantizeQuality QualityMeter::Measure(Model& other,
                                      const std::function<void(std::int64_t)>& on_row) {
  const auto vocab = static_cast<std::size_t>(source_.info().vocab);
  Tally tally;
  std::int64_t done = 0;
  for (std::size_t window = 0; window < windows_.size(); ++window) {
    const std::vector<TokenId>& tokens = windows_[window];
    const std::vector<float>& source = SourceLogits(window);
    other.Logits(tokens, 0, [&](std::int64_t position, std::span<const float> logits) {
      const auto row = static_cast<std::size_t>(position);
      if (row + 1 == tokens.size()) return;
      tally.Add(std::span(source).subspan(row * vocab, vocab), logits, tokens[row + 1]);
      on_row(++done);
    });
  }
  return tally.Quality();
}

}  // namespace culet
