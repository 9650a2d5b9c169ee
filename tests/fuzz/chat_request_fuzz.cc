// A request as JSON, rendered by both templates: the pieces keep template and data apart, and no
// data acts as a control token.
#include "base/error.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_checks.h"
#include "text/chat_template.h"

namespace culet::fuzz {
namespace {

const Tokenizer& PebbleTokenizer() {
  static const Tokenizer tokenizer =
      Tokenizer::Load(FileSystem::Real(), CULET_SOURCE_DIR "/models/pebble/tokenizer.json");
  return tokenizer;
}

std::size_t ControlTokens(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::size_t count = 0;
  for (const TokenId id : ids) count += tokenizer.IsControl(id) ? 1 : 0;
  return count;
}

}  // namespace

void FuzzOne(std::string_view input) {
  const Tokenizer& tokenizer = PebbleTokenizer();
  try {
    const ChatRequest request = ParseChatRequest(input, "request");
    for (const TemplateVariant variant : {TemplateVariant::kSmall, TemplateVariant::kLarge}) {
      const std::vector<PromptSegment> segments = ChatTemplate::Published(variant).Render(request);
      std::size_t expected = 0;
      for (std::size_t i = 0; i < segments.size(); ++i) {
        Require(!segments[i].text.empty(), "no piece is empty");
        Require(IsUtf8(segments[i].text), "a piece is UTF-8");
        Require(i == 0 || segments[i].control != segments[i - 1].control, "neighbours differ");
        if (segments[i].control) {
          expected += ControlTokens(tokenizer, tokenizer.Encode(segments[i].text));
        }
      }
      const std::vector<TokenId> ids = tokenizer.Encode(segments);
      Require(ControlTokens(tokenizer, ids) == expected, "only the template makes control tokens");
      (void)EndsInsideThought(segments);
    }
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
