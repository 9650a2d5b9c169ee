// Text to token ids and back, as a Gemma 4 tokenizer.json says.
// Source: docs/spec/03-tokenizer-and-chat.md, sections 2 and 3; equal to the `tokenizers` package,
// which tests/text/tokenizer_compare.py checks.
//
// Known: byte-fallback BPE with or without the normalizer " " -> "▁", the pre-tokenizer Split on "
// " or none, and the decoder of that family. Everything else in a file that would change ids or
// text is refused by the name of its field. Two fields are read past on purpose, because nothing is
// cut or filled up: truncation and padding. Encode adds nothing either: what post_processor puts
// around a text (base models: <bos>) is front() and back().
//
// Bytes that are not UTF-8 count as U+FFFD, one for each maximal subpart of a sequence, as Python's
// bytes.decode("utf-8", errors="replace") does. Control tokens are looked for in the bytes as
// given.
//
// Errors: Load throws Error with file, field, found and expected; ids outside the vocabulary throw
// Error(kInvalidArgument). Threads: const members may be called from any number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "text/bpe.h"
#include "text/control_tokens.h"
#include "text/prompt_segment.h"
#include "text/vocabulary.h"

namespace culet {

class Tokenizer {
 public:
  // Reads a tokenizer.json (its name is free). No cache is kept: reading the published file takes
  // about a quarter of a second.
  static Tokenizer Load(FileSystem& files, const std::filesystem::path& tokenizer_json);
  // The same from text that is at hand; `place` names it in messages.
  static Tokenizer Parse(std::string_view json, const std::string& place);

  // Ids exactly as tokenizer.json gives them, control tokens recognised, nothing added. Linear
  // memory; time n·log(n) in the longest stretch that has no place to cut.
  std::vector<TokenId> Encode(std::string_view text) const;
  // Control tokens off: `text` is data. The result holds no control token, whatever the text is.
  std::vector<TokenId> EncodeData(std::string_view text) const;
  // One prompt in pieces. Equal to Encode of the whole text, except that a control token counts
  // only where it lies wholly inside one control segment. BPE runs over the borders of pieces as if
  // the text were one.
  std::vector<TokenId> Encode(std::span<const PromptSegment> segments) const;

  // What the file's post_processor puts before and behind a text.
  std::span<const TokenId> front() const { return front_; }
  std::span<const TokenId> back() const { return back_; }

  // Control tokens are kept as text. A run of byte tokens that is not UTF-8 as a whole gives one
  // U+FFFD for each of its bytes.
  std::string Decode(std::span<const TokenId> ids) const;

  // Ids are 0 … vocab_size() − 1.
  std::int64_t vocab_size() const { return vocabulary_.size(); }
  // One of added_tokens.
  bool IsControl(TokenId id) const;
  // `<0x00>` … `<0xFF>`: TokenBytes is that one byte, which alone need not be UTF-8.
  bool IsByte(TokenId id) const;
  // The vocabulary's entry that is exactly `token`.
  std::optional<TokenId> FindToken(std::string_view token) const;
  // The entry as written in the file. Valid as long as the tokenizer.
  std::string_view TokenText(TokenId id) const;
  // The bytes that this token adds to the output: "▁" -> " ", byte tokens -> that byte.
  std::string_view TokenBytes(TokenId id) const;
  // Memory held, bytes.
  std::size_t memory_bytes() const;

 private:
  Tokenizer() = default;
  void CheckId(TokenId id) const;

  std::vector<TokenId> front_, back_;
  Vocabulary vocabulary_;
  ControlTokens controls_;
  Bpe bpe_;
  // Per id: what kind of token it is.
  std::vector<std::uint8_t> kinds_;  // [vocab]
  // TokenBytes, one after the other.
  std::string bytes_;
  std::vector<std::uint32_t> byte_offsets_;  // [vocab + 1]
};

}  // namespace culet
