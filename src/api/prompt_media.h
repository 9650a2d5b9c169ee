// What a prompt has of media: decoded, brought to the model's size, and the text that stands for
// them. Needs a model's folder, not its weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/config.h"
#include "culet/media.h"
#include "culet/text.h"
#include "media/image_patches.h"
#include "media/processor_config.h"
#include "text/prompt_segment.h"
#include "text/tokenizer.h"

namespace culet {

// One run of soft tokens: a picture, a frame or a sound. Never changes.
struct PromptMedia {
  std::string name;  // of the medium, for messages
  std::string key;   // equal keys: equal soft tokens
  bool visual = false;
  TokenId placeholder = 0;
  std::int64_t count = 0;  // of soft tokens
  // Of a picture or frame: pixels in the size that the model sees, cut when they are needed.
  RgbImage image;
  ImageSettings settings;
  PatchKind patch_kind = PatchKind::kPatches;
  // Of a sound: mel frames or blocks of samples [rows, width].
  std::vector<float> sound;
  std::int64_t sound_width = 0;
};

// A medium in a prompt: the text in place of its placeholder, and what its soft tokens are made of,
// in the order in which they stand in the text.
struct PreparedMedia {
  MediaKind kind = MediaKind::kImage;
  std::string text;
  std::vector<std::shared_ptr<const PromptMedia>> blocks;
  std::vector<std::string> warnings;  // what was not used of it
};

// Prepares media for the model of one folder. Threads: const members may be called from several
// threads at once.
class MediaPreparer {
 public:
  // Reads config.json and processor_config.json. Keeps the pointer to the tokenizer; null: there is
  // none, and texts stay empty. Throws Error as they do.
  MediaPreparer(const std::filesystem::path& folder, const Tokenizer* tokenizer);

  // Throws Error: kUnsupported (the model takes no such medium), kInvalidArgument (options), and
  // what decoding throws. What was prepared with the same options before is taken from the medium.
  std::shared_ptr<const PreparedMedia> Prepare(const Media& medium,
                                               const MediaOptions& of_prompt) const;

  const ModelConfig& config() const { return config_; }

  // The steps of a picture, for measuring them: its pixels, how it is resized, and what stands for
  // it once it is. Throw as Prepare.
  RgbImage DecodeImage(const Media& medium) const;
  ImageSettings ImageSettingsOf(const MediaOptions& options) const;
  // `image` in the size that the model sees.
  std::shared_ptr<const PromptMedia> Picture(const Media& medium, RgbImage image,
                                             const ImageSettings& settings,
                                             std::int64_t placeholder) const;

 private:
  PreparedMedia PrepareImage(const Media& medium, const MediaOptions& options) const;
  PreparedMedia PrepareAudio(const Media& medium) const;
  PreparedMedia PrepareVideo(const Media& medium, const MediaOptions& options) const;
  // In pieces as long as the model hears.
  void AddSound(const std::string& name, std::span<const float> samples,
                PreparedMedia* prepared) const;
  std::shared_ptr<const PromptMedia> Sound(const std::string& name,
                                           std::span<const float> samples) const;
  std::string TokenText(std::int64_t id, const char* field) const;
  std::string Wrapped(const PromptMedia& block, std::int64_t begin, const char* begin_field,
                      std::int64_t end, const char* end_field) const;
  void NeedVision(const Media& medium) const;
  void NeedAudio(const Media& medium) const;

  std::filesystem::path folder_;
  const Tokenizer* tokenizer_;
  ModelConfig config_;
  ProcessorConfig processor_;
};

// Control text of `segments` with every placeholder of the template replaced by what `media` has
// for it, in their order. Throws Error(kInvalidArgument) where their numbers or kinds differ.
std::vector<PromptSegment> ExpandMedia(std::span<const PromptSegment> segments,
                                       std::span<const std::shared_ptr<const PreparedMedia>> media,
                                       const std::string& place);

// The media of a request's messages in their order: parts {"type": "image", "path": …}, and for
// parts without "path" the next of `given`; the parts are left bare, as the template knows them.
// Where no part is for them, `given` belong to the last user message (see ContentWithMedia). Throws
// Error(kInvalidArgument) naming the part, and where some of `given` are left.
std::vector<Media> TakeMedia(OrderedJson* messages, std::span<const Media> given,
                             const std::string& place);

// The content of a user's message with these media: a text, or parts. They stand where the text has
// a marker "<image>", "<audio>" or "<video>" of their kind, or else before the text, in order.
// Throws Error(kInvalidArgument) where a kind has markers, but not one for each of its media.
OrderedJson ContentWithMedia(const std::string& text, std::span<const Media> media,
                             const std::string& place);
// `media` in the order in which `content` has them: markers may stand in any order of kinds.
std::vector<Media> InOrderOf(const OrderedJson& content, std::span<const Media> media);

}  // namespace culet
