// A conversation as messages, with what has to be kept between its turns.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "culet/generate.h"
#include "culet/text.h"

namespace culet::cli {

class Conversation {
 public:
  // JSON text of an array in OpenAI's form, or empty.
  std::string tools;
  std::string system;  // empty: none
  bool think = false;

  // `media`: files, whose names are kept; they stand before the text, or where it has markers.
  // Throws Error(kInvalidArgument) as MessageContent does.
  void AddUser(const std::string& text, std::vector<Media> media = {});
  // With thinking and calls; a call gets an id, by which AddToolResponse names it.
  void AddAnswer(const GenerateResult& answer);
  void AddToolResponse(std::size_t call, const std::string& name, const std::string& response);
  // The last turn goes: the user's message and everything behind it. False where there is none.
  bool Undo();
  void Clear();
  bool empty() const { return messages_.empty(); }
  std::size_t turns() const;

  // What TextProcessor::Render takes.
  std::string RequestText() const;

  // The tokens that the model has seen and written so far, for RenderTokens: what a user sees as
  // the same text keeps its ids, and so its KV.
  const std::vector<TokenId>& known_tokens() const { return known_; }
  void SetKnownTokens(const Prompt& prompt, const GenerateResult& answer);

  // {"system": …, "think": …, "tools": …, "messages": […]}. Load also takes a bare array of
  // messages, and keeps the tools where the file has none. What `text` would refuse as a request is
  // refused, with the index that a message has in the file; on an error the conversation stays as
  // it is. Both throw Error.
  void Save(const std::filesystem::path& path) const;
  void Load(const std::filesystem::path& path, const TextProcessor& text);

 private:
  OrderedJson messages_ = OrderedJson::array();  // without the system prompt
  std::vector<TokenId> known_;
};

}  // namespace culet::cli
