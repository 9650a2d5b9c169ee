// The text side of a model: tokenizer, chat template, output parser. Works from a folder that has
// no weights. Messages, tools and calls are JSON in the form that OpenAI's and Hugging Face's tools
// use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culet/export.h"
#include "culet/media.h"

namespace culet {

using TokenId = std::int32_t;

// A tool that the model called. `arguments_json` is one JSON object, members in the order written.
struct CalledTool {
  std::string name;
  std::string arguments_json;
};

struct ParsedAnswer {
  std::string thinking;
  std::string content;
  std::vector<CalledTool> tool_calls;
};

// One turn of a plain conversation. `role`: "system", "user" or "assistant". UTF-8.
struct Message {
  std::string role;
  std::string content;
  // Pictures, sounds and videos of this turn. They stand before the text, in their order, or where
  // the text has a marker of their kind: "<image>", "<audio>", "<video>", one for each.
  std::vector<Media> media = {};
};

// A prompt as tokens, with what is needed to read the answer.
struct Prompt {
  std::vector<TokenId> tokens;
  bool starts_in_thought = false;  // the prompt ends inside the thinking channel
  // What its media's placeholders in `tokens` stand for, in their order. Every placeholder belongs
  // to one: without them it is an ordinary token, which no model was trained on.
  std::vector<std::shared_ptr<const PromptMedia>> media = {};
  std::vector<std::string> warnings = {};  // what of the media is not used, for the user
};

// Threads: const members may be called from several threads at once.
class CULET_EXPORT TextProcessor {
 public:
  struct Options {
    std::filesystem::path tokenizer;    // a tokenizer.json elsewhere; empty: the model's own
    bool allow_control_tokens = false;  // message content may contain control tokens
  };

  // `path`: a model folder, or a file beside tokenizer.json. What a call needs and the folder lacks
  // is named when it is called for, not before: a folder with only tokenizer.json will do for
  // Encode. Throws Error: kNotFound (no such path), kCorrupt, kUnsupported, kIo (a file that is
  // there and cannot be used). Any thread.
  static std::shared_ptr<TextProcessor> Open(const std::filesystem::path& path,
                                             const Options& options);
  static std::shared_ptr<TextProcessor> Open(const std::filesystem::path& path) {
    return Open(path, Options());
  }
  ~TextProcessor();

  // These throw Error(kNotFound) where there is no tokenizer.
  // Ids exactly as tokenizer.json gives them; control tokens recognised, nothing added. Bytes that
  // are no UTF-8 count as U+FFFD.
  std::vector<TokenId> Encode(std::string_view text) const;
  // The way back; control tokens are kept as text, bytes that are no UTF-8 become U+FFFD. Throws
  // Error(kInvalidArgument) for ids outside the vocabulary.
  std::string Decode(std::span<const TokenId> ids) const;
  std::int64_t vocab_size() const;  // ids run from 0 to here

  // `request_json`: {"messages": […], "tools": […], "enable_thinking", "preserve_thinking",
  // "add_generation_prompt"}. `place` names it in errors. Content is data: control tokens in it
  // stay text, unless allow_control_tokens. A part of a medium is one placeholder here. Throws
  // Error: kCorrupt (no JSON), kInvalidArgument (no such request or message), kNotFound (no
  // template, no tokenizer).
  std::string Render(std::string_view request_json, const std::string& place) const;
  Prompt RenderTokens(std::string_view request_json, const std::string& place) const {
    return RenderTokens(request_json, place, {});
  }
  // The same for a conversation that goes on: `known` are the tokens so far (the last prompt and
  // what the model wrote). A text has many tokenizations, and what a model wrote need not be the
  // one that the tokenizer makes; as far as the new prompt says the same as `known`, it has the ids
  // of `known`, so that a Session computes new tokens only.
  Prompt RenderTokens(std::string_view request_json, const std::string& place,
                      std::span<const TokenId> known) const {
    return RenderTokens(request_json, place, known, {}, {});
  }
  // With media: a message's content may have parts {"type": "image", "path": "a.jpg"}, "audio" and
  // "video" likewise; a part without "path" is the next of `media`. Each is decoded here and stands
  // in the prompt with as many placeholders as it has soft tokens. Throws besides: kUnsupported
  // where the model takes no such medium, kInvalidArgument where parts and `media` or the options
  // do not fit, and for files that are broken or too large, naming them, kCorrupt, kResource, kIo,
  // kNotFound.
  Prompt RenderTokens(std::string_view request_json, const std::string& place,
                      std::span<const TokenId> known, std::span<const Media> media,
                      const MediaOptions& options) const;
  // A conversation of plain turns, and the model's turn begun. `think`: it may think first. `known`
  // as above. Throws as RenderTokens, and Error(kInvalidArgument) where a message is no UTF-8.
  Prompt ChatPrompt(const std::vector<Message>& messages, bool think = false,
                    std::span<const TokenId> known = {}, const MediaOptions& options = {}) const;
  // Plain completion: `<bos>` and the text (control tokens in it only with allow_control_tokens).
  Prompt RawPrompt(std::string_view text) const { return RawPrompt(text, {}, {}); }
  // With media, placed as those of a Message.
  Prompt RawPrompt(std::string_view text, std::span<const Media> media,
                   const MediaOptions& options) const;
  // A prompt of ids in which the placeholders of `media` stand already, as many as each has soft
  // tokens.
  Prompt TokensPrompt(std::span<const TokenId> tokens, std::span<const Media> media,
                      const MediaOptions& options) const;
  // A text by itself, as transformers' tokenizer(text) gives it to the model: with what the file's
  // post_processor puts around it, which is nothing for the instruction-tuned models and `<bos>` in
  // front for base models. `bos`: with or without `<bos>` in front, whatever the file says. Control
  // tokens as in RawPrompt.
  std::vector<TokenId> PlainTokens(std::string_view text, std::optional<bool> bos = {}) const;

  // False where the folder has no tokenizer.json and none was named: then what needs one throws.
  bool has_tokenizer() const;
  // False for base models: then Render throws and plain completion is what the model is for.
  bool has_chat_template() const;
  // What a user should know: the template differs from the published ones, …
  std::vector<std::string> warnings() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  TextProcessor();
  std::unique_ptr<Impl> impl_;
};

// The content of a user's message with media, as JSON for TextProcessor::RenderTokens: parts
// without "path", placed as those of a Message. `media` are brought into the order of their parts,
// in which RenderTokens takes them. Throws Error(kInvalidArgument) where markers and media do not
// fit. Any thread.
CULET_EXPORT std::string MessageContent(std::string_view text, std::vector<Media>* media);

// What a model wrote, control tokens as text. Never fails on what it is given: text that no model
// would write is content. Any thread.
CULET_EXPORT ParsedAnswer ParseAnswer(std::string_view text, bool starts_in_thought);

}  // namespace culet
