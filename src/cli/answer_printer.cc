#include "cli/answer_printer.h"

#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "culet/json.h"

namespace culet::cli {

std::function<void(std::int64_t, std::int64_t)> PrefillProgress() {
  constexpr double kDelayMs = 1000;
  return [progress = std::make_shared<Progress>("prompt", kDelayMs),
          start_ms = MillisecondsSinceStart()](std::int64_t done, std::int64_t total) {
    if (done == total) {
      progress->Clear();
      return;
    }
    progress->Show(static_cast<double>(done), static_cast<double>(total),
                   fmt::format("({} of {} tokens, {:.1f} tokens/s)", done, total,
                               Rate(done, MillisecondsSinceStart() - start_ms)));
  };
}

std::function<bool(std::int64_t, std::int64_t)> MediaProgress() {
  constexpr double kDelayMs = 1000;
  return [progress = std::make_shared<Progress>("media", kDelayMs)](std::int64_t done,
                                                                    std::int64_t total) {
    if (done == total) {
      progress->Clear();
    } else {
      progress->Show(static_cast<double>(done), static_cast<double>(total),
                     "(pictures and sounds are encoded)");
    }
    return true;
  };
}

void AnswerPrinter::Print(const std::string& text) {
  if (text.empty()) return;
  Output::Standard().Write(text);
  line_open_ = text.back() != '\n';
}

void AnswerPrinter::EndThinking() {
  if (!in_thinking_) return;
  in_thinking_ = false;
  // A blank line between the thought and what follows.
  Print(line_open_ ? "\n\n" : "\n");
}

void AnswerPrinter::Show(const GenerateEvent& event) {
  Output& output = Output::Standard();
  switch (event.kind) {
    case GenerateEvent::Kind::kThinking:
      if (!output.is_terminal() || event.text.empty()) return;
      in_thinking_ = true;
      output.Write(Dimmed(event.text));
      line_open_ = event.text.back() != '\n';
      break;
    case GenerateEvent::Kind::kContent:
      if (event.text.empty()) return;
      EndThinking();
      Print(event.text);
      break;
    case GenerateEvent::Kind::kToolCall:
      EndThinking();
      if (line_open_) Print("\n");
      Print(ToJson(event.call) + "\n");
      break;
  }
  output.Flush();
}

void AnswerPrinter::Finish() {
  in_thinking_ = false;
  if (line_open_) Print("\n");
  Output::Standard().Flush();
}

}  // namespace culet::cli
