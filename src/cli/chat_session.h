// A conversation with a model: the commands and the answers behind `culet chat`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/conversation.h"
#include "cli/dropped_files.h"
#include "cli/line_reader.h"
#include "culet/generate.h"

namespace culet::cli {

class ChatSession {
 public:
  ChatSession(std::shared_ptr<Model> model, const GenerateOptions& options,
              const MediaOptions& media_options, const Conversation& conversation);

  // Reads and answers until the input ends or /exit.
  void Run();

 private:
  // What the last turn took, over all of its answers (a tool call makes it several).
  struct Statistics {
    std::int64_t prompt_tokens = 0;    // of the last prompt
    std::int64_t kept_tokens = 0;      // of the first prompt, taken from the KV
    std::int64_t computed_tokens = 0;  // of all prompts
    std::int64_t recomputed_tokens = 0;
    std::int64_t generated_tokens = 0;
    std::int64_t decoded_tokens = 0;  // generated, the first of each answer left out
    std::int64_t context_tokens = 0;
    double prefill_ms = 0;
    double decode_ms = 0;
  };

  LineReader::Outcome ReadMessage(std::string* message);
  LineReader::Outcome ReadTripleQuoted(std::string first, std::string* message);
  bool Command(const std::string& line);  // false: leave
  // What the medium takes; refuses what the model does not take.
  std::int64_t CheckMedium(const Media& medium) const;
  void AddMedia(MediaKind kind, const std::string& path);
  void RemoveMedia(const std::string& which);
  // Takes media out of the message whose paths were dropped into it. False: nothing is left of it.
  bool TakeDropped(std::vector<DroppedFile> files, std::string* message, std::vector<Media>* media);
  void Turn(const std::string& message, const std::vector<Media>& media);
  GenerateResult Answer(Statistics* statistics);
  bool AskForResponses(const GenerateResult& answer);
  void ShowStatistics() const;
  void Say(const std::string& text) const;  // a line that is no answer

  std::shared_ptr<Model> model_;
  GenerateOptions options_;
  Session session_;
  MediaOptions media_options_;
  std::vector<Media> media_;  // of the next message
  Conversation conversation_;
  LineReader reader_;
  std::vector<Statistics> statistics_;  // of the turns that were answered here and not undone
};

}  // namespace culet::cli
