// The text side of a model, opened from a folder piece by piece.
#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "api/boundary.h"
#include "api/prompt_media.h"
#include "api/text_processor_impl.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "culet/text.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace culet {
namespace {

constexpr std::uint64_t kMostTemplateBytes = 16u << 20;
constexpr std::uint64_t kMostConfigBytes = 64u << 20;

// The template where tokenizer_config.json keeps it: one text, or a list of named ones.
std::optional<std::string> TemplateIn(const Json& config, const std::string& place) {
  if (!config.is_object() || !config.contains("chat_template")) return std::nullopt;
  const Json& value = config["chat_template"];
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    for (const Json& entry : value) {
      if (!entry.is_object()) continue;
      const auto name = entry.find("name");
      const auto text = entry.find("template");
      if (name == entry.end() || text == entry.end() || !text->is_string()) continue;
      if (IsString(*name, "default")) return text->get<std::string>();
    }
  }
  throw Error(ErrorKind::kUnsupported,
              place + ": chat_template is " + JsonTypeName(value) +
                  "; culet reads a text, or a list with an entry named \"default\"");
}

// Which published template stands in for an unknown one: config.json decides by what the large
// models lack, the per-layer embeddings. Without a config.json, or with one that does not say, the
// small one: its generation prompt adds nothing.
TemplateVariant VariantOf(FileSystem& files, const std::filesystem::path& config_json) {
  if (!files.Exists(config_json)) return TemplateVariant::kSmall;
  Json config = ParseJson(files.ReadFile(config_json, kMostConfigBytes), config_json.string());
  if (!config.is_object()) return TemplateVariant::kSmall;
  if (config.contains("text_config")) config = config["text_config"];
  if (!config.is_object() || !config.contains("hidden_size")) return TemplateVariant::kSmall;
  const auto ple = config.find("hidden_size_per_layer_input");
  // transformers' default for a missing width is 256: per-layer embeddings are there.
  const bool has_ple =
      ple == config.end() || !ple->is_number_integer() || ple->get<std::int64_t>() != 0;
  return has_ple ? TemplateVariant::kSmall : TemplateVariant::kLarge;
}

// Ids between control tokens, and the control token that ends them.
struct Run {
  std::span<const TokenId> ids;
  std::optional<TokenId> end;  // none at the end of the text
};

Run NextRun(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::size_t length = 0;
  while (length < ids.size() && !tokenizer.IsControl(ids[length])) ++length;
  Run run;
  run.ids = ids.first(length);
  if (length < ids.size()) run.end = ids[length];
  return run;
}

bool SameIds(std::span<const TokenId> a, std::span<const TokenId> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// The beginning of `known` that stands for exactly `text`; none if there is none.
std::optional<std::size_t> PrefixWithText(const Tokenizer& tokenizer,
                                          std::span<const TokenId> known, const std::string& text) {
  std::size_t bytes = 0;
  std::size_t count = 0;
  while (count < known.size() && bytes < text.size()) {
    bytes += tokenizer.TokenBytes(known[count++]).size();
  }
  // Bytes that are no UTF-8 decode to longer text; such a run is not taken over.
  if (bytes != text.size() || tokenizer.Decode(known.first(count)) != text) return std::nullopt;
  return count;
}

// `fresh` with the ids of `known` as far as they say the same. A text has many tokenizations, and
// what a model wrote need not be the one that the tokenizer makes. BPE never joins over a control
// token, so the runs between control tokens can be exchanged one by one.
std::vector<TokenId> PreferKnown(const Tokenizer& tokenizer, std::vector<TokenId> fresh,
                                 std::span<const TokenId> known) {
  std::vector<TokenId> ids;
  std::span<const TokenId> rest = fresh;
  for (;;) {
    const Run run = NextRun(tokenizer, rest);
    const Run known_run = NextRun(tokenizer, known);
    std::optional<std::size_t> prefix = known_run.ids.size();
    if (!SameIds(run.ids, known_run.ids)) {
      prefix = PrefixWithText(tokenizer, known_run.ids, tokenizer.Decode(run.ids));
    }
    if (!prefix) break;
    ids.insert(ids.end(), known_run.ids.begin(),
               known_run.ids.begin() + static_cast<std::ptrdiff_t>(*prefix));
    rest = rest.subspan(run.ids.size());
    if (*prefix < known_run.ids.size() || !run.end || run.end != known_run.end) break;
    ids.push_back(*run.end);
    rest = rest.subspan(1);
    known = known.subspan(known_run.ids.size() + 1);
  }
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

void AddMedia(std::span<const std::shared_ptr<const PreparedMedia>> media, Prompt* prompt) {
  for (const auto& medium : media) {
    prompt->media.insert(prompt->media.end(), medium->blocks.begin(), medium->blocks.end());
    prompt->warnings.insert(prompt->warnings.end(), medium->warnings.begin(),
                            medium->warnings.end());
  }
}

}  // namespace

struct CULET_HIDDEN TextProcessor::Impl {
  std::filesystem::path folder;
  std::filesystem::path tokenizer_path;
  bool allow_control_tokens = false;
  std::optional<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  mutable std::once_flag preparer_once;
  mutable std::unique_ptr<const MediaPreparer> preparer;  // made for the first medium

  const Tokenizer& NeedTokenizer() const;
  const ChatTemplate& NeedTemplate() const;
  const MediaPreparer& Preparer() const;
  // `place` names the request in messages; `media` are those of its messages, in order.
  Prompt MakePrompt(const ChatRequest& request, const std::string& place,
                    std::span<const TokenId> known, std::span<const Media> media,
                    const MediaOptions& options) const;
  using Prepared = std::vector<std::shared_ptr<const PreparedMedia>>;
  Prepared Prepare(std::span<const Media> media, const MediaOptions& options) const;
  std::vector<TokenId> Tokens(std::span<const PromptSegment> segments) const;
  TokenId Bos() const;
};

const Tokenizer& TextProcessor::Impl::NeedTokenizer() const {
  if (tokenizer) return *tokenizer;
  throw Error(
      ErrorKind::kNotFound,
      tokenizer_path.string() +
          ": no such file; this needs the model's tokenizer. Copy its tokenizer.json there or "
          "name one in TextProcessor::Options::tokenizer");
}

const ChatTemplate& TextProcessor::Impl::NeedTemplate() const {
  if (chat_template) return *chat_template;
  throw Error(
      ErrorKind::kNotFound,
      (folder / "chat_template.jinja").string() +
          ": no such file, and tokenizer_config.json has no chat_template. Base models have "
          "none: complete plain text with them, or take the instruction-tuned model");
}

std::vector<TokenId> TextProcessor::Impl::Tokens(std::span<const PromptSegment> segments) const {
  const Tokenizer& text = NeedTokenizer();
  return allow_control_tokens ? text.Encode(JoinSegments(segments)) : text.Encode(segments);
}

const MediaPreparer& TextProcessor::Impl::Preparer() const {
  std::call_once(preparer_once, [&] {
    preparer = std::make_unique<const MediaPreparer>(folder, tokenizer ? &*tokenizer : nullptr);
  });
  return *preparer;
}

TextProcessor::Impl::Prepared TextProcessor::Impl::Prepare(std::span<const Media> media,
                                                           const MediaOptions& options) const {
  Prepared prepared;
  for (const Media& medium : media) prepared.push_back(Preparer().Prepare(medium, options));
  return prepared;
}

Prompt TextProcessor::Impl::MakePrompt(const ChatRequest& request, const std::string& place,
                                       std::span<const TokenId> known, std::span<const Media> media,
                                       const MediaOptions& options) const {
  const Prepared prepared = Prepare(media, options);
  const std::vector<PromptSegment> segments =
      ExpandMedia(NeedTemplate().Render(request), prepared, place);
  Prompt prompt;
  prompt.tokens = PreferKnown(NeedTokenizer(), Tokens(segments), known);
  prompt.starts_in_thought = EndsInsideThought(segments);
  AddMedia(prepared, &prompt);
  return prompt;
}

TokenId TextProcessor::Impl::Bos() const {
  const std::optional<TokenId> bos = NeedTokenizer().FindToken("<bos>");
  if (bos) return *bos;
  throw Error(ErrorKind::kCorrupt, tokenizer_path.string() +
                                       ": the vocabulary has no <bos>, which every Gemma 4 prompt "
                                       "begins with; this tokenizer is of another family");
}

std::optional<std::string> ReadChatTemplate(FileSystem& files,
                                            const std::filesystem::path& folder) {
  const std::filesystem::path jinja = folder / "chat_template.jinja";
  if (files.Exists(jinja)) return files.ReadFile(jinja, kMostTemplateBytes);
  // Where models kept it before it had a file of its own.
  const std::filesystem::path config = folder / "tokenizer_config.json";
  if (!files.Exists(config)) return std::nullopt;
  return TemplateIn(ParseJson(files.ReadFile(config, kMostConfigBytes), config.string()),
                    config.string());
}

TextProcessor::TextProcessor() : impl_(std::make_unique<Impl>()) {}
TextProcessor::~TextProcessor() = default;

std::shared_ptr<TextProcessor> TextProcessor::Open(const std::filesystem::path& path,
                                                   const Options& options) try {
  ReserveErrors();
  FileSystem& files = FileSystem::Real();
  if (!files.Exists(path)) {
    throw Error(ErrorKind::kNotFound, path.string() + ": no such file or folder");
  }
  std::shared_ptr<TextProcessor> text(new TextProcessor());
  Impl& impl = *text->impl_;
  impl.folder = files.IsDirectory(path) ? path : path.parent_path();
  impl.allow_control_tokens = options.allow_control_tokens;
  impl.tokenizer_path = impl.folder / "tokenizer.json";
  if (!options.tokenizer.empty()) {
    impl.tokenizer_path = options.tokenizer;
    if (files.IsDirectory(impl.tokenizer_path)) impl.tokenizer_path /= "tokenizer.json";
  }
  if (!options.tokenizer.empty() || files.Exists(impl.tokenizer_path)) {
    impl.tokenizer = Tokenizer::Load(files, impl.tokenizer_path);
  }
  const std::optional<std::string> template_text = ReadChatTemplate(files, impl.folder);
  if (template_text) {
    impl.chat_template =
        ChatTemplate::FromText(*template_text, VariantOf(files, impl.folder / "config.json"));
  }
  return text;
} catch (...) {
  RethrowAsError();
}

std::vector<TokenId> TextProcessor::Encode(std::string_view text) const try {
  return impl_->NeedTokenizer().Encode(text);
} catch (...) {
  RethrowAsError();
}

std::string TextProcessor::Decode(std::span<const TokenId> ids) const try {
  return impl_->NeedTokenizer().Decode(ids);
} catch (...) {
  RethrowAsError();
}

std::int64_t TextProcessor::vocab_size() const try {
  return impl_->NeedTokenizer().vocab_size();
} catch (...) {
  RethrowAsError();
}

std::string TextProcessor::Render(std::string_view request_json, const std::string& place) const
    try {
  return JoinSegments(impl_->NeedTemplate().Render(ParseChatRequest(request_json, place)));
} catch (...) {
  RethrowAsError();
}

Prompt TextProcessor::RenderTokens(std::string_view request_json, const std::string& place,
                                   std::span<const TokenId> known, std::span<const Media> media,
                                   const MediaOptions& options) const try {
  ChatRequest request = ParseChatRequest(request_json, place);
  const std::vector<Media> all = TakeMedia(&request.messages, media, place);
  return impl_->MakePrompt(request, place, known, all, options);
} catch (...) {
  RethrowAsError();
}

Prompt TextProcessor::ChatPrompt(const std::vector<Message>& messages, bool think,
                                 std::span<const TokenId> known, const MediaOptions& options) const
    try {
  ChatRequest request;
  request.messages = OrderedJson::array();
  std::vector<Media> media;
  for (const Message& message : messages) {
    if (!IsUtf8(message.role) || !IsUtf8(message.content)) {
      throw Error(ErrorKind::kInvalidArgument,
                  "messages[" + std::to_string(request.messages.size()) +
                      "]: is no UTF-8; the tokenizer reads UTF-8 text only, so decode it first");
    }
    const OrderedJson content =
        ContentWithMedia(message.content, message.media,
                         "messages[" + std::to_string(request.messages.size()) + "]");
    const std::vector<Media> own = InOrderOf(content, message.media);
    media.insert(media.end(), own.begin(), own.end());
    // Member by member: a list in braces loses memory where an allocation fails.
    OrderedJson turn = OrderedJson::object();
    turn["role"] = message.role;
    turn["content"] = content;
    request.messages.push_back(std::move(turn));
  }
  request.enable_thinking = think;
  request.add_generation_prompt = true;
  return impl_->MakePrompt(request, "the conversation", known, media, options);
} catch (...) {
  RethrowAsError();
}

Prompt TextProcessor::RawPrompt(std::string_view text, std::span<const Media> media,
                                const MediaOptions& options) const try {
  impl_->Bos();
  std::vector<PromptSegment> segments = {{"<bos>", true}};
  const OrderedJson content = ContentWithMedia(std::string(text), media, "the prompt");
  if (content.is_string()) {
    segments.push_back({std::string(text), false});
  } else {
    for (const OrderedJson& part : content) {
      const std::string type = part.at("type").get<std::string>();
      const bool is_text = type == "text";
      segments.push_back(
          {is_text ? part.at("text").get<std::string>() : "<|" + type + "|>", !is_text});
    }
  }
  const Impl::Prepared prepared = impl_->Prepare(InOrderOf(content, media), options);
  Prompt prompt;
  prompt.tokens = impl_->Tokens(ExpandMedia(segments, prepared, "the prompt"));
  AddMedia(prepared, &prompt);
  return prompt;
} catch (...) {
  RethrowAsError();
}

Prompt TextProcessor::TokensPrompt(std::span<const TokenId> tokens, std::span<const Media> media,
                                   const MediaOptions& options) const try {
  Prompt prompt;
  prompt.tokens.assign(tokens.begin(), tokens.end());
  AddMedia(impl_->Prepare(media, options), &prompt);
  return prompt;
} catch (...) {
  RethrowAsError();
}

std::vector<TokenId> TextProcessor::PlainTokens(std::string_view text,
                                                std::optional<bool> bos) const try {
  const Tokenizer& tokenizer = impl_->NeedTokenizer();
  std::vector<TokenId> tokens;
  if (!bos) {
    tokens.assign(tokenizer.front().begin(), tokenizer.front().end());
  } else if (*bos) {
    tokens.push_back(impl_->Bos());
  }
  const std::vector<TokenId> ids =
      impl_->allow_control_tokens ? tokenizer.Encode(text) : tokenizer.EncodeData(text);
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  if (!bos) tokens.insert(tokens.end(), tokenizer.back().begin(), tokenizer.back().end());
  return tokens;
} catch (...) {
  RethrowAsError();
}

bool TextProcessor::has_tokenizer() const { return impl_->tokenizer.has_value(); }

bool TextProcessor::has_chat_template() const { return impl_->chat_template.has_value(); }

std::vector<std::string> TextProcessor::warnings() const {
  std::vector<std::string> warnings;
  if (impl_->chat_template && !impl_->chat_template->known()) {
    warnings.push_back(impl_->chat_template->warning());
  }
  return warnings;
}

std::string MessageContent(std::string_view text, std::vector<Media>* media) try {
  const OrderedJson content = ContentWithMedia(std::string(text), *media, "the message");
  *media = InOrderOf(content, *media);
  return content.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
} catch (...) {
  RethrowAsError();
}

const Tokenizer& TokenizerOf(const TextProcessor& text) { return text.impl().NeedTokenizer(); }

}  // namespace culet
