#include "text/detokenizer.h"

#include "base/utf8.h"

namespace culet {
namespace {

std::string Replacements(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += kReplacementCharacter;
  return text;
}

}  // namespace

std::string Detokenizer::Push(TokenId id) {
  const std::string_view bytes = tokenizer_->TokenBytes(id);
  if (!tokenizer_->IsByte(id)) return Finish().append(bytes);
  if (run_broken_) return Replacements(1);
  run_ += bytes;
  const std::string_view open = std::string_view(run_).substr(whole_);
  const Utf8Step step = NextUtf8(open);
  if (step.state == Utf8State::kCutOff) return {};
  if (step.state == Utf8State::kWhole) {
    whole_ += step.bytes;
    return {};
  }
  // One wrong byte spoils the whole run, what came before it included.
  std::string text = Replacements(run_.size());
  run_.clear();
  whole_ = 0;
  run_broken_ = true;
  return text;
}

std::string Detokenizer::Finish() {
  std::string text = whole_ == run_.size() ? run_ : Replacements(run_.size());
  run_.clear();
  whole_ = 0;
  run_broken_ = false;
  return text;
}

}  // namespace culet
