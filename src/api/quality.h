// How far one model's predictions are from another's, over the tokens of a text.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "culet/model.h"
#include "culet/quantize.h"

namespace culet {

// A text as sequences to be computed by themselves: each begins with `<bos>`, where the text has
// one or where it was cut, and has at most `window` tokens; at most `most` tokens in all. Control
// tokens in the text count as such.
std::vector<std::vector<TokenId>> TextWindows(const TextProcessor& text, std::string_view passage,
                                              std::int64_t window, std::int64_t most);

// Threads: one call at a time. Keeps references to its arguments.
class QualityMeter {
 public:
  // Logits of `source` are kept where they fit into 256 MB, else computed again for each model.
  QualityMeter(Model& source, const std::vector<std::vector<TokenId>>& windows);

  // Every token that follows another one is a sample. `on_row(done)` counts rows of `other`; what
  // it throws ends the measurement.
  QuantizeQuality Measure(Model& other, const std::function<void(std::int64_t done)>& on_row);

  std::int64_t tokens() const { return tokens_; }  // samples

 private:
  // Logits of every row of a window but the last, [rows, vocab].
  const std::vector<float>& SourceLogits(std::size_t window);

  Model& source_;
  const std::vector<std::vector<TokenId>>& windows_;
  std::int64_t tokens_ = 0;
  bool keep_ = false;
  std::vector<std::vector<float>> kept_;  // by window; of one window where they are not kept
};

}  // namespace culet
