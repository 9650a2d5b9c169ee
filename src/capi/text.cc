// Tokenizer, prompts, parser.
#include <utility>
#include <vector>

#include "capi/boundary.h"
#include "culet/json.h"

using culet::capi::Copy;
using culet::capi::Guard;
using culet::capi::Need;
using culet::capi::OptionsText;
using culet::capi::Set;
using culet::capi::Span;

namespace {

// How messages name a request: it comes from a program, not from a file.
constexpr const char* kRequest = "the request";

std::string_view TextOf(const char* utf8, std::size_t bytes, const char* name) {
  const std::span<const char> text = Span(utf8, bytes, name);
  return {text.data(), text.size()};
}

}  // namespace

culet_status culet_text_open(const char* path, const char* options, culet_text** text,
                             culet_error** error) {
  Set(text, nullptr);
  return Guard(error, [&] {
    Need(text, "culet_text_open: text");
    const culet::TextProcessor::Options parsed =
        culet::ParseTextOptions(OptionsText(options), "the options");
    *text =
        new culet_text{culet::TextProcessor::Open(&Need(path, "culet_text_open: path"), parsed)};
  });
}

void culet_text_free(culet_text* text) { delete text; }

culet_status culet_text_encode(const culet_text* text, const char* utf8, size_t bytes,
                               int32_t** tokens, size_t* count, culet_error** error) {
  Set(tokens, nullptr);
  Set(count, 0);
  return Guard(error, [&] {
    Need(tokens, "culet_text_encode: tokens");
    Need(count, "culet_text_encode: count");
    const std::vector<culet::TokenId> ids =
        Need(text, "culet_text_encode: text")
            .text->Encode(TextOf(utf8, bytes, "culet_text_encode: utf8"));
    *tokens = Copy(std::span(ids));
    *count = ids.size();
  });
}

culet_status culet_text_decode(const culet_text* text, const int32_t* tokens, size_t count,
                               char** utf8, size_t* bytes, culet_error** error) {
  Set(utf8, nullptr);
  Set(bytes, 0);
  return Guard(error, [&] {
    Need(utf8, "culet_text_decode: utf8");
    const std::string decoded = Need(text, "culet_text_decode: text")
                                    .text->Decode(Span(tokens, count, "culet_text_decode: tokens"));
    *utf8 = Copy(decoded);
    Set(bytes, decoded.size());
  });
}

culet_status culet_text_prompt(const culet_text* text, const char* request, const int32_t* known,
                               size_t known_count, culet_prompt** prompt, culet_error** error) {
  Set(prompt, nullptr);
  return Guard(error, [&] {
    Need(prompt, "culet_text_prompt: prompt");
    *prompt = new culet_prompt{
        Need(text, "culet_text_prompt: text")
            .text->RenderTokens(&Need(request, "culet_text_prompt: request"), kRequest,
                                Span(known, known_count, "culet_text_prompt: known"))};
  });
}

culet_status culet_text_chat(const culet_text* text, const culet_message* messages, size_t count,
                             bool think, culet_prompt** prompt, culet_error** error) {
  Set(prompt, nullptr);
  return Guard(error, [&] {
    Need(prompt, "culet_text_chat: prompt");
    std::vector<culet::Message> turns;
    for (const culet_message& message : Span(messages, count, "culet_text_chat: messages")) {
      turns.push_back({&Need(message.role, "culet_text_chat: role"),
                       &Need(message.content, "culet_text_chat: content")});
    }
    *prompt = new culet_prompt{Need(text, "culet_text_chat: text").text->ChatPrompt(turns, think)};
  });
}

culet_status culet_text_render(const culet_text* text, const char* request, char** utf8,
                               size_t* bytes, culet_error** error) {
  Set(utf8, nullptr);
  Set(bytes, 0);
  return Guard(error, [&] {
    Need(utf8, "culet_text_render: utf8");
    const std::string rendered =
        Need(text, "culet_text_render: text")
            .text->Render(&Need(request, "culet_text_render: request"), kRequest);
    *utf8 = Copy(rendered);
    Set(bytes, rendered.size());
  });
}

culet_status culet_text_raw_prompt(const culet_text* text, const char* utf8, size_t bytes,
                                   culet_prompt** prompt, culet_error** error) {
  Set(prompt, nullptr);
  return Guard(error, [&] {
    Need(prompt, "culet_text_raw_prompt: prompt");
    *prompt =
        new culet_prompt{Need(text, "culet_text_raw_prompt: text")
                             .text->RawPrompt(TextOf(utf8, bytes, "culet_text_raw_prompt: utf8"))};
  });
}

culet_status culet_prompt_new(const int32_t* tokens, size_t count, bool starts_in_thought,
                              culet_prompt** prompt, culet_error** error) {
  Set(prompt, nullptr);
  return Guard(error, [&] {
    Need(prompt, "culet_prompt_new: prompt");
    const std::span<const int32_t> given = Span(tokens, count, "culet_prompt_new: tokens");
    culet::Prompt made;
    made.tokens.assign(given.begin(), given.end());
    made.starts_in_thought = starts_in_thought;
    *prompt = new culet_prompt{std::move(made)};
  });
}

const int32_t* culet_prompt_tokens(const culet_prompt* prompt, size_t* count) {
  Set(count, prompt == nullptr ? 0 : prompt->prompt.tokens.size());
  return prompt == nullptr ? nullptr : prompt->prompt.tokens.data();
}

bool culet_prompt_starts_in_thought(const culet_prompt* prompt) {
  return prompt != nullptr && prompt->prompt.starts_in_thought;
}

void culet_prompt_free(culet_prompt* prompt) { delete prompt; }

culet_status culet_parse(const char* utf8, size_t bytes, bool starts_in_thought, char** json,
                         culet_error** error) {
  Set(json, nullptr);
  return Guard(error, [&] {
    Need(json, "culet_parse: json");
    *json = Copy(culet::ToJson(
        culet::ParseAnswer(TextOf(utf8, bytes, "culet_parse: utf8"), starts_in_thought)));
  });
}
